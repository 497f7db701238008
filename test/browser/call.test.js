// A call as its members have it, in real browsers against a whole running system.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { firefox } from "./browsers.js";
import { Participant } from "./participant.js";
import { hostLink, link, picture, openStage } from "./stage.js";

let stage, host;

before(async () => {
  stage = await openStage();
});
after(() => stage?.close());

const micCount = ({ page }) => page.$eval("#mics-count", (element) => Number(element.textContent.split(" of ")[1]));

test("the owner opens the room and gets the first microphone", async () => {
  host = await Participant.open(stage.browser, hostLink, "Ann");
  assert.ok(!host.page.url().includes("ticket"), "the ticket is gone from the address, which people copy");
  await picture(host, "lobby");
  await host.join();
  await host.see("#mics [data-self][data-role=host]");
});

test("a guest hears the owner, but not once she is muted", async () => {
  const guest = await Participant.open(stage.browser, link, "Bob");
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
  const guest = await Participant.open(stage.browser, link, "Chloé");
  await guest.join();
  const markup = "<b>Good</b> evening & welcome 👋";
  await host.say(markup);
  await guest.read("#messages li", markup);
  await guest.say("Thank you!");
  await host.read("#messages li", "Thank you!");
  await host.read("#messages .author", "Chloé");

  const late = await Participant.open(stage.browser, link, "Dmitri");
  await late.join();
  await late.read("#messages li", markup); // what was said before
  await picture(late, "call");
  for (const somebody of [guest, late]) {
    await somebody.leave();
    somebody.isSound();
  }
});

test("when all microphones are held another is refused, until one is left", async () => {
  await host.click("#mute"); // and everybody else: nine pages that play voices keep a machine busy
  const crowd = [];
  for (let i = 1; i < (await micCount(host)); i++) {
    const guest = await Participant.open(stage.browser, link, `Guest ${i}`);
    await guest.join();
    await guest.takeMic();
    await guest.click("#mute");
    crowd.push(guest);
  }
  const waiting = await Participant.open(stage.browser, link, "Fay");
  await waiting.join();
  await waiting.click("#take");
  await waiting.read("#notice", "microphones are taken.");
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

  await host.listen();
  await fox.takeMic();
  await host.hearsVoice();
  await host.see(`#mics [data-member="${fox.member}"][data-speaking]`);
  await fox.leaveMic();
  await host.hearsSilence();
  await fox.choose("#listeners [data-self]", "Change your name");
  await fox.answer("#question-yes", "Farah");
  await host.read(`#listeners [data-member="${fox.member}"] .name`, "Farah");
  await fox.leave();
  fox.isSound();
});

test("a page that is closed leaves the room", async () => {
  const guest = await Participant.open(stage.browser, link, "Gil");
  await guest.join();
  await host.see(`[data-member="${guest.member}"]`);
  await guest.page.close();
  await host.seeGone(`[data-member="${guest.member}"]`);
  await host.leave();
  host.isSound();
});
