// The web page in real browsers, against a whole running system. The environment says where:
//
//   VOICEROOM_URL          the gateway, http://127.0.0.1:8080
//   VOICEROOM_ROOM         namespace/name of a room in which guests get microphones while there are any
//   VOICEROOM_HOST_TICKET  the ticket of its owner
//   CHROMIUM, FIREFOX      the browsers' executables, if not Debian's
//   BROWSER_SHOTS          where pictures of the page go, if not dist/browser

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { chromium, firefox } from "./browsers.js";
import { Participant } from "./participant.js";
import { writeSpeech } from "./speech.js";

const env = (name) => process.env[name] ?? assert.fail(`${name} is not set; make test-browser sets it`);
const link = `${env("VOICEROOM_URL")}/r/${env("VOICEROOM_ROOM")}`;
const hostLink = `${link}#ticket=${env("VOICEROOM_HOST_TICKET")}`;
const shots = process.env.BROWSER_SHOTS || fileURLToPath(new URL("../../dist/browser", import.meta.url));

let scratch, chrome, host;

before(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), "voiceroom-browser-"));
  const wav = path.join(scratch, "speech.wav");
  await writeSpeech(wav);
  await mkdir(shots, { recursive: true });
  chrome = await chromium(wav);
});

after(async () => {
  await chrome?.close();
  await rm(scratch, { recursive: true, force: true });
});

/** Pictures of one page as two devices show it, in both colour schemes. */
async function picture({ page }, name) {
  const devices = { desktop: { width: 1200, height: 800 }, phone: { width: 390, height: 844 } };
  for (const [device, viewport] of Object.entries(devices)) {
    await page.setViewport(viewport);
    for (const scheme of ["light", "dark"]) {
      await page.emulateMediaFeatures([
        { name: "prefers-color-scheme", value: scheme },
        { name: "prefers-reduced-motion", value: "reduce" }, // no picture of a transition
      ]);
      await page.screenshot({ path: path.join(shots, `${name}-${device}-${scheme}.png`) });
    }
  }
  await page.setViewport(devices.desktop);
}

const micCount = ({ page }) => page.$eval("#mics-count", (element) => Number(element.textContent.split(" of ")[1]));

test("the owner opens the room and gets the first microphone", async () => {
  host = await Participant.open(chrome, hostLink, "Ann");
  assert.ok(!host.page.url().includes("ticket"), "the ticket is gone from the address, which people copy");
  await picture(host, "lobby");
  await host.join();
  await host.see("#mics [data-self][data-role=host]");
});

test("a guest hears the owner, but not once she is muted", async () => {
  const guest = await Participant.open(chrome, link, "Bob");
  await guest.join();
  await guest.leaveMic();
  await guest.listen();
  const seat = `#mics [data-member="${host.member}"]`;

  await guest.hearsVoice();
  await guest.see(`${seat}[data-speaking]`);
  await guest.page.waitForSelector(`audio[data-member="${host.member}"]`);

  await host.click("#mute");
  await host.read("#mute", "Unmute");
  await guest.see(`${seat}[data-muted]:not([data-speaking])`);
  await guest.hearsSilence();

  await host.click("#mute");
  await guest.see(`${seat}:not([data-muted])`);
  await guest.hearsVoice();

  await guest.leave();
  guest.isSound();
});

test("what one writes the others read, as text", async () => {
  const guest = await Participant.open(chrome, link, "Chloé");
  await guest.join();
  const markup = "<b>Good</b> evening & welcome 👋";
  await host.say(markup);
  await guest.read("#messages li", markup);
  await guest.say("Thank you!");
  await host.read("#messages li", "Thank you!");
  await host.read("#messages .author", "Chloé");

  const late = await Participant.open(chrome, link, "Dmitri");
  await late.join();
  await late.read("#messages li", markup); // what was said before
  await picture(late, "call");
  for (const somebody of [guest, late]) {
    await somebody.leave();
    somebody.isSound();
  }
});

test("a raised hand is answered with a microphone, which can be taken back", async () => {
  const guest = await Participant.open(chrome, link, "Eve");
  await guest.join();
  await guest.leaveMic();
  await guest.click("#hand");
  const listener = `#listeners [data-member="${guest.member}"]`;
  await host.see(`${listener}[data-hand]`);
  await picture(host, "host");
  await host.click(`${listener} .actions button`);
  await guest.see("#mics [data-self]");
  await host.listen();
  await host.hearsVoice();

  await host.click(`#mics [data-member="${guest.member}"] .actions button:last-child`);
  await guest.read("#notice", "A host took your microphone back.");
  await host.hearsSilence();
  await guest.leave();
  await host.seeGone(`[data-member="${guest.member}"]`);
  guest.isSound();
});

test("when all microphones are held another is refused, until one is left", async () => {
  await host.click("#mute"); // and everybody else: nine pages that play voices keep a machine busy
  const crowd = [];
  for (let i = 1; i < (await micCount(host)); i++) {
    const guest = await Participant.open(chrome, link, `Guest ${i}`);
    await guest.join();
    await guest.takeMic();
    await guest.click("#mute");
    crowd.push(guest);
  }
  const waiting = await Participant.open(chrome, link, "Fay");
  await waiting.join();
  await waiting.click("#take");
  await waiting.read("#notice", "All microphones are taken.");
  await crowd[0].click("#step-down");
  await waiting.seeGone(`#mics [data-member="${crowd[0].member}"]`);
  await waiting.takeMic();
  await crowd[0].see(`#mics [data-member="${waiting.member}"]`);
  for (const somebody of [waiting, ...crowd]) {
    await somebody.leave();
    somebody.isSound();
  }
  await host.click("#mute");
});

test("Firefox hears Chromium, and Chromium hears Firefox", async (t) => {
  const browser = await firefox();
  t.after(() => browser.close());
  const fox = await Participant.open(browser, link, "Farid");
  await fox.join();
  await fox.leaveMic();
  await fox.listen();
  await fox.hearsVoice();
  await host.click("#mute");
  await fox.hearsSilence();

  await fox.takeMic();
  await host.hearsVoice();
  await host.see(`#mics [data-member="${fox.member}"][data-speaking]`);
  await fox.leaveMic();
  await host.hearsSilence();
  await fox.leave();
  fox.isSound();
});

test("a page that is closed leaves the room", async () => {
  const guest = await Participant.open(chrome, link, "Gil");
  await guest.join();
  await host.see(`[data-member="${guest.member}"]`);
  await guest.page.close();
  await host.seeGone(`[data-member="${guest.member}"]`);
  await host.leave();
  host.isSound();
});
