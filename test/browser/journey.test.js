// A room that moves from one media pod to another while people talk.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { firefox } from "./browsers.js";
import { evict, whereabouts } from "./cluster.js";
import { Participant } from "./participant.js";
import { hostLink, link, openStage } from "./stage.js";

let stage, foxes;

before(async () => {
  stage = await openStage();
  foxes = await firefox();
});
after(async () => {
  await foxes?.close();
  await stage?.close();
});

/** Remembers how the call was shown, from now on. */
const watchStatus = ({ page }) =>
  page.evaluate(() => {
    window.statuses = [document.body.dataset.connection];
    new MutationObserver(() => window.statuses.push(document.body.dataset.connection)).observe(document.body, { attributeFilter: ["data-connection"] });
  });

/** Measures the longest time in which nothing is heard, from now on: heardLevels has one level each 20 ms. */
const watchSilence = ({ page }) =>
  page.evaluate(() => {
    let since = performance.now();
    window.longestSilence = 0;
    setInterval(() => {
      const now = performance.now();
      if (window.heardLevels().some((levels) => levels.at(-1) > 0.001)) since = now;
      window.longestSilence = Math.max(window.longestSilence, now - since);
    }, 20);
  });

test("a pod that is deleted gives its room to the next one while Chromium and Firefox talk", async (t) => {
  const ann = await Participant.open(stage.browser, hostLink, "Ann");
  await ann.join();
  await ann.takeMic();
  const fox = await Participant.open(foxes, link, "Farid");
  await fox.join();
  await fox.takeMic();
  for (const somebody of [ann, fox]) {
    await somebody.listen();
    await somebody.hearsVoice();
    await watchStatus(somebody);
  }
  await watchSilence(ann); // Firefox's microphone is a tone that never pauses

  const before = await whereabouts();
  await evict(before.pod);
  await fox.page.waitForFunction(() => window.connections.length === 2 && window.connections[0].connectionState === "closed", { polling: 50 });
  const now = await whereabouts();
  assert.equal(now.epoch, before.epoch + 1);
  assert.notEqual(now.pod, before.pod);
  for (const somebody of [ann, fox]) {
    await somebody.hearsVoice();
    await somebody.see("#mics [data-self]");
    const statuses = await somebody.page.evaluate(() => window.statuses);
    assert.deepEqual([...new Set(statuses)], ["connected"], `how ${somebody.name}'s page showed the call`);
  }
  t.diagnostic(`Chromium heard nothing for ${Math.round(await ann.page.evaluate(() => window.longestSilence))} ms at the longest`);

  await fox.click("#mute"); // commands reach the new pod
  await ann.see(`#mics [data-member="${fox.member}"][data-muted]`);
  await ann.say("Still here");
  await fox.read("#messages li", "Still here");
  for (const somebody of [fox, ann]) {
    await somebody.leave();
    somebody.isSound();
  }
});
