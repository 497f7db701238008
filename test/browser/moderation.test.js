// What hosts and co-hosts do, as those see it to whom they do it. The tests follow each other in one
// room, which the last one closes.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Participant } from "./participant.js";
import { hostLink, link, picture, openStage } from "./stage.js";

let stage, ann, bob, eve;

before(async () => {
  stage = await openStage();
  ann = await Participant.open(stage.browser, hostLink, "Ann");
  await ann.join();
  bob = await Participant.open(stage.browser, link, "Bob");
  eve = await Participant.open(stage.browser, link, "Eve");
  for (const guest of [bob, eve]) {
    await guest.join();
    await guest.leaveMic();
  }
  await ann.listen();
});
after(() => stage?.close());

const of = ({ member }) => `[data-member="${member}"]`;
const queue = ({ page }) => page.$$eval("#hands .name", (names) => names.map((name) => name.textContent));

test("settings and the announcement are everybody's", async () => {
  await ann.configure({ displayName: "The salon", announcement: "Tonight: seats", micPolicy: "OnRequest" });
  await eve.read("#announcement", "Tonight: seats");
  await eve.read("#room-title", "The salon");
  await eve.seeGone("#take"); // microphones are given on request now
});

test("raised hands queue; who is accepted speaks, who is refused is told", async () => {
  await eve.click("#hand");
  await ann.see(`#hands ${of(eve)}`);
  await bob.click("#hand");
  await ann.see(`#hands ${of(bob)}`);
  assert.deepEqual(await queue(ann), ["Eve", "Bob"]);
  await picture(ann, "host");
  await picture(bob, "audience");

  await ann.choose(`#hands ${of(bob)}`, "Move up the queue");
  await eve.read(`#hands ${of(bob)} .state`, "Priority 1");
  assert.deepEqual(await queue(eve), ["Bob", "Eve (you)"]);
  await ann.click(`#hands ${of(bob)} [data-command=give-mic]`);
  await bob.see("#mics [data-self]");
  await ann.hearsVoice();
  await ann.click(`#hands ${of(eve)} [data-command=lower-hand]`);
  await eve.read("#notice", "A host lowered your hand.");
});

test("when all are muted nobody unmutes itself", async () => {
  await ann.click("#mute-all");
  await bob.read("#notice", "A host muted you.");
  await bob.see("#mute:disabled");
  await ann.hearsSilence();
  await ann.see("#mics [data-self]:not([data-mod-muted])");
  await ann.read("#mute-all", "Lift all mutes");
  await ann.click("#mute-all");
  await bob.see("#mute:not(:disabled)");
  await ann.hearsVoice();
});

test("who is moved to another seat speaks on; locking the seat evicts", async () => {
  await ann.choose(`#mics ${of(bob)}`, "Move to seat…", "Seat 3");
  await bob.see('[data-seat="2"][data-self]');
  await ann.hearsVoice();
  await ann.choose(`#mics ${of(bob)}`, "Lock this seat");
  await bob.read("#notice", "A host locked your seat.");
  await eve.see('[data-seat="2"][data-locked]');
  await ann.hearsSilence();
  await ann.click('[data-seat="2"] [data-command=lock-mic]');
  await eve.see('[data-seat="2"][data-free]');
});

test("who is asked to speak decides itself, and can be taken off the mic again", async () => {
  await ann.choose(`#listeners ${of(eve)}`, "Ask to speak");
  await ann.read(`#listeners ${of(eve)} .state`, "Asked to speak");
  await eve.read("#asked-left", " s");
  await eve.click("#asked-no");
  await ann.seeGone(`#listeners ${of(eve)} .state:not(:empty)`);
  await ann.choose(`#listeners ${of(eve)}`, "Ask to speak");
  await eve.click("#asked-yes");
  await eve.see("#mics [data-self]");
  await ann.hearsVoice();
  await ann.choose(`#mics ${of(eve)}`, "Take off the mic");
  await eve.read("#notice", "A host took your microphone back.");
  await ann.hearsSilence();
});

test("who is muted in the chat cannot write", async () => {
  await ann.choose(`#listeners ${of(eve)}`, "Mute in the chat");
  await eve.see("#text:disabled");
  await ann.choose(`#listeners ${of(eve)}`, "Let write in the chat");
  await eve.say("Thank you");
  await ann.read("#messages li", "Thank you");
});

test("the menu is worked by keyboard", async () => {
  const { page } = ann;
  const focus = () => page.evaluate(() => document.activeElement?.textContent);
  await page.focus(`#listeners ${of(eve)} .more`);
  await page.keyboard.press("Enter");
  await ann.see("#menu [role=menuitem]:focus");
  assert.equal(await focus(), "Give a microphone");
  await page.keyboard.press("ArrowUp");
  assert.equal(await focus(), "Ban…");
  await page.keyboard.press("ArrowDown");
  assert.equal(await focus(), "Give a microphone");
  await page.keyboard.press("Escape");
  await ann.seeGone("#menu");
  assert.ok(await page.$(`#listeners ${of(eve)} .more:focus`), "the focus is back where it was");
});

test("a co-host moderates, but not the host", async () => {
  assert.equal(await bob.page.$(`#listeners ${of(eve)} .more:not([hidden])`), null, "before, nothing is offered");
  await ann.choose(`#listeners ${of(bob)}`, "Make co-host");
  await bob.read("#notice", "You are a co-host now");
  await bob.configure({ announcement: "Bob is here, too" });
  await ann.read("#announcement", "Bob is here, too");
  await bob.seeGone(`#mics ${of(ann)} .more`);
});

test("who is removed does not come back by the link, until let in again", async () => {
  await bob.choose(`#listeners ${of(eve)}`, "Remove…");
  await bob.answer("#question-no");
  await ann.see(`#listeners ${of(eve)}`);
  await bob.choose(`#listeners ${of(eve)}`, "Remove…");
  await bob.answer("#question-yes");
  await eve.read("#lobby-notice", "You were removed from this room.");
  await eve.ask();
  await eve.read("#lobby-notice", "Ask its host to let you in again.");
  assert.equal(await eve.page.$eval("body", ({ dataset }) => dataset.phase), "lobby");

  await ann.click("#setup");
  await ann.read("#removed", "Eve");
  await picture(ann, "settings");
  await ann.click("#removed button");
  await ann.seeGone("#removed-box");
  await ann.click("#settings-cancel");
  await eve.join();
});

test("links let in as many as they may, until they are reset", async () => {
  await ann.configure({ access: "InviteOnly" });
  const makeLink = async (uses) => {
    await ann.page.select("#invites [name=uses]", uses);
    await ann.click("#invites-form .primary");
    await ann.see("#made");
    return ann.page.$eval("#made-url", (field) => field.value);
  };
  await ann.click("#invite");
  const [once, often] = [await makeLink("1"), await makeLink("0")];
  const arrive = async (url) => {
    const guest = await Participant.open(stage.browser, url, "Gil");
    await guest.ask();
    return guest;
  };
  await (await arrive(link)).read("#lobby-notice", "This room needs an invitation.");
  const gil = await arrive(once);
  await gil.see("body[data-connection=connected]");
  await (await arrive(once)).read("#lobby-notice", "as often as it may");
  await gil.leave();
  await ann.click("#invites-reset");
  await ann.answer("#question-yes");
  await ann.seeGone("#made");
  await (await arrive(often)).read("#lobby-notice", "This invite link works no longer.");
  await ann.click("#invites-done");
});

test("the owner hands the room over and takes it back", async () => {
  await ann.choose(`#listeners ${of(bob)}`, "Make host");
  await ann.answer("#question-yes");
  await bob.read("#notice", "You are the host now.");
  await ann.read("#mics [data-self] .role", "Co-host");
  await ann.choose("#mics [data-self]", "Be host again");
  await bob.read("#listeners [data-self] .role", "Co-host");
});

test("whoever closes the room says goodbye to everyone", async () => {
  await ann.click("#setup");
  await ann.click("#close-room");
  await ann.answer("#question-yes", "Good night!");
  for (const somebody of [ann, bob, eve]) {
    await somebody.read("#lobby-notice", "This room has ended. “Good night!”");
    somebody.isSound();
  }
});
