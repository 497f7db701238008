import assert from "node:assert/strict";
import { test } from "node:test";

import { listenersOf, nameOf, seatsOf } from "../static/people.js";

const member = (id, handAt) => ({ id, name: `m${id}`, role: "speaker", status: "entered", ...(handAt && { handAt }) });
const room = (maxMics, mics, members) => ({ epoch: 1, seq: 1, phase: "Open", settings: { maxMics, maxMembers: 99 }, mics, members });
const mic = (index, id) => ({ index, member: id, grant: index + 10 });

test("seats are the held microphones and one for all that are free", () => {
  const seats = seatsOf(room(4, [mic(0, 2), mic(2, 7)], [member(2)]));
  assert.deepEqual(seats.map(({ mic, member, free }) => [mic?.index, member?.name, free]), [[0, "m2", 0], [2, undefined, 0], [undefined, undefined, 2]]);
  assert.equal(seatsOf(room(1, [mic(0, 2)], [member(2)])).length, 1);
  assert.equal(seatsOf(room(0, [mic(0, 2)], [member(2)])).length, 1, "caps can be lowered below what is held");
});

test("listeners are who is on no microphone, the longest raised hand first", () => {
  const early = "2026-01-01T00:00:00Z";
  const late = "2026-01-01T00:00:00.5Z";
  const members = [member(1), member(2), member(3, late), member(4, early), member(5, early)];
  assert.deepEqual(listenersOf(room(1, [mic(0, 1)], members)).map(({ id }) => id), [4, 5, 3, 2]);
});

test("nobody is without a name", () => {
  assert.equal(nameOf(member(3)), "m3");
  assert.equal(nameOf({ ...member(3), name: "" }), "Guest 3");
  assert.equal(nameOf(undefined), "Someone");
});
