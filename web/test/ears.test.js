import assert from "node:assert/strict";
import { test } from "node:test";

import { Ears } from "../static/ears.js";

/** A connection that brings audio when told. */
function connection(name) {
  const c = { name, over: false, slots: [], end: () => {}, speak: () => {} };
  c.ended = new Promise((resolve) => (c.end = resolve)).then(() => (c.over = true));
  const spoken = new Promise((resolve) => (c.speak = resolve));
  c.heard = () => Promise.race([spoken, c.ended]);
  c.tracks = () => [`${name} 0`, `${name} 1`];
  return c;
}

function listener() {
  const heard = [];
  const ears = new Ears({ track: (slot, track) => heard.push(`${slot}: ${track}`), slots: (slots) => heard.push(slots) });
  return { ears, heard };
}

const { signal } = new AbortController();

test("one connection is heard at a time, the next from when somebody speaks there", async () => {
  const { ears, heard } = listener();
  const [old, next] = [connection("old"), connection("next")];
  ears.begin(old);
  ears.begin(next); // the first is listened to
  ears.track(old, 0, "old 0");
  ears.track(next, 0, "next 0");
  const changed = ears.changeOver(old, next, signal);
  ears.slots(next, ["of next"]);
  ears.slots(old, ["of old"]);
  assert.deepEqual(heard.splice(0), ["0: old 0", ["of old"]]);
  next.speak();
  await changed;
  ears.slots(old, ["of old"]);
  assert.deepEqual(heard, ["0: next 0", "1: next 1", ["of next"]]);
});

test("where nobody speaks the next connection is heard after a while", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { ears, heard } = listener();
  const [old, next] = [connection("old"), connection("next")];
  ears.begin(old);
  const changed = ears.changeOver(old, next, signal);
  t.mock.timers.tick(1499);
  await Promise.resolve();
  assert.deepEqual(heard, []);
  t.mock.timers.tick(1);
  await changed;
  assert.deepEqual(heard, ["0: next 0", "1: next 1", []]);
});

test("a next connection that is lost is not listened to, nor one that comes late", async () => {
  const { ears, heard } = listener();
  const [old, lost, third] = [connection("old"), connection("lost"), connection("third")];
  ears.begin(old);
  const changed = ears.changeOver(old, lost, signal);
  lost.end();
  await changed;
  ears.end(); // and the call begins anew
  ears.begin(third);
  const late = connection("late");
  late.speak();
  await ears.changeOver(old, late, signal);
  assert.deepEqual(heard, []);
});
