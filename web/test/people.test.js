// Seats, the queue and what is offered to whom.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Clock, duration } from "../static/clock.js";
import { avatarOf, nameOf, roleOf } from "../static/names.js";
import { newsOf } from "../static/news.js";
import { listenersOf } from "../static/people.js";
import { answersTo, mayActOn, mayRaiseHand, mayTake, offerToAll, offersOfSeat, offersTo } from "../static/powers.js";
import { seatsOf } from "../static/seats.js";
import { changesOf, choicesOf } from "../static/settings.js";

const member = (id, role = "speaker", more = {}) => ({ id, name: `m${id}`, role, status: "entered", ...more });
const mic = (index, id, more = {}) => ({ index, member: id, grant: index + 10, ...more });
const hand = { at: "2026-01-01T00:00:00Z", until: "2026-01-01T00:10:00Z" };
const room = (settings, mics, members) => ({ epoch: 1, seq: 1, phase: "Open", settings: { maxMics: 3, maxMembers: 99, micPolicy: "Auto", access: "Public", ...settings }, mics, members });

test("every seat is held, locked or free", () => {
  const { seats, more } = seatsOf(room({ maxMics: 4, lockedMics: [1] }, [mic(0, 2), mic(2, 7)], [member(2)]));
  assert.deepEqual(seats.map(({ index, mic, member, locked }) => [index, mic?.member, member?.name, locked]),
    [[0, 2, "m2", false], [1, undefined, undefined, true], [2, 7, undefined, false], [3, undefined, undefined, false]]);
  assert.equal(more, 0);
});

test("seats above a lowered cap are there while they are held, and none is free then", () => {
  const { seats, more } = seatsOf(room({ maxMics: 2, lockedMics: [7] }, [mic(0, 1), mic(3, 2), mic(5, 3)], []));
  assert.deepEqual(seats.map(({ index }) => index), [0, 3, 5]);
  assert.equal(more, 0);
  assert.deepEqual(seatsOf(room({ maxMics: 0 }, [], [])), { seats: [], more: 0 });
});

test("of the free seats of a large room some are shown", () => {
  const { seats, more } = seatsOf(room({ maxMics: 1000, lockedMics: [3] }, [mic(999, 1)], [member(1)]));
  assert.deepEqual(seats.map(({ index }) => index), [0, 1, 2, 3, 4, 5, 999]);
  assert.equal(more, 993);
});

test("listeners are who is on no microphone and raises no hand", () => {
  const members = [member(1), member(2), member(3, "speaker", { hand })];
  assert.deepEqual(listenersOf(room({}, [mic(0, 1)], members)).map(({ id }) => id), [2]);
});

test("nobody is without a name", () => {
  assert.equal(nameOf(member(3)), "m3");
  assert.equal(nameOf(member(3, "speaker", { name: "" })), "Guest 3");
  assert.equal(nameOf(undefined), "Someone");
  assert.equal(avatarOf(member(9, "speaker", { name: "é" })).letter, "É");
  assert.equal(roleOf(member(1, "co-host", { priority: true })), "Co-host · Priority");
  assert.equal(roleOf(member(1)), "");
});

test("the policy and the role say who may take a microphone, and who raises a hand", () => {
  const table = [
    // policy, role, on a microphone, take, hand
    ["Auto", "speaker", false, true, true],
    ["Auto", "audience", false, false, true],
    ["Auto", "speaker", true, true, false],
    ["OnRequest", "speaker", false, false, true],
    ["OnRequest", "speaker", true, true, false],
    ["OnRequest", "co-host", false, true, false],
    ["Appointed", "speaker", false, false, false],
    ["Appointed", "host", false, true, false],
  ];
  for (const [micPolicy, role, on, take, raise] of table) {
    const me = member(1, role);
    const state = room({ micPolicy }, on ? [mic(0, 1)] : [], [me]);
    assert.deepEqual([mayTake(state, me), mayRaiseHand(state, me)], [take, raise], `${micPolicy} ${role} ${on}`);
  }
  assert.equal(mayTake(room({}, [], []), undefined), false);
});

test("a co-host acts on itself and on no other moderator", () => {
  const may = (role, other) => mayActOn(member(1, role), member(2, other));
  assert.deepEqual(["host", "co-host", "speaker", "audience"].map((other) => [may("host", other), may("co-host", other), may("speaker", other)]),
    [[true, false, false], [true, false, false], [true, true, false], [true, true, false]]);
  assert.equal(mayActOn(member(1, "co-host"), member(1, "co-host")), true);
});

const labels = (offers) => offers.map(({ label }) => label);

test("who moderates nobody is offered nothing but its own name", () => {
  const me = member(1);
  const state = room({}, [], [me, member(2)]);
  assert.deepEqual(offersTo(state, { me, owner: false }, member(2)), []);
  assert.deepEqual(labels(offersTo(state, { me, owner: false }, me)), ["Change your name"]);
  assert.deepEqual(offersTo(state, { me: undefined, owner: false }, member(2)), []);
});

test("a host is offered everything about a listener", () => {
  const me = member(1, "host");
  const state = room({}, [mic(0, 1)], [me, member(2)]);
  assert.deepEqual(labels(offersTo(state, { me, owner: true }, member(2))), [
    "Give a microphone", "Put on seat…", "Ask to speak", "Make priority speaker", "Mute in the chat",
    "Move to the audience", "Make co-host", "Make host", "Remove…", "Ban…",
  ]);
  const asked = member(2, "audience", { askedUntil: hand.until, priority: true, chatMuted: true, hand: { ...hand, priority: 9 } });
  assert.deepEqual(labels(offersTo(state, { me, owner: true }, asked)), [
    "Give a microphone", "Put on seat…", "No longer a priority speaker", "Move down the queue", "Let write in the chat",
    "Make speaker", "Make co-host", "Make host", "Remove…", "Ban…",
  ]);
  const away = member(2, "co-host", { status: "away" });
  assert.deepEqual(labels(offersTo(state, { me, owner: true }, away)), ["Make priority speaker", "Mute in the chat", "No longer co-host", "Remove…", "Ban…"]);
});

test("a co-host makes no co-hosts and no hosts", () => {
  const me = member(1, "co-host");
  const state = room({}, [mic(2, 2, { modMuted: true })], [me, member(2)]);
  assert.deepEqual(labels(offersTo(state, { me, owner: false }, member(2))), [
    "Lift the mute", "Move to seat…", "Take off the mic", "Lock this seat", "Make priority speaker", "Mute in the chat", "Remove…", "Ban…",
  ]);
});

test("somebody on a seat moves to a free one, or swaps with who is on another", () => {
  const me = member(1, "host");
  const state = room({ maxMics: 4, lockedMics: [1] }, [mic(0, 2), mic(3, 3)], [me, member(2), member(3)]);
  const { more } = offersTo(state, { me, owner: true }, member(2)).find(({ label }) => label === "Move to seat…");
  assert.deepEqual(more, [
    { label: "Seat 3", type: "swap-mics", body: { a: 0, b: 2 } },
    { label: "Seat 4, swap with m3", type: "swap-mics", body: { a: 0, b: 3 } },
  ]);
  const lowered = { ...state, settings: { ...state.settings, maxMics: 2, lockedMics: [] } };
  assert.ok(!labels(offersTo(lowered, { me, owner: true }, member(3))).includes("Move to seat…"), "from a seat above the cap nothing swaps");
});

test("the owner who is no host can be it again", () => {
  const me = member(1, "co-host");
  const offers = offersTo(room({}, [], [me]), { me, owner: true }, me);
  assert.deepEqual(offers.find(({ label }) => label === "Be host again"), { label: "Be host again", type: "transfer-host", body: { member: 1 } });
  assert.ok(!labels(offersTo(room({}, [], [me]), { me: member(1, "host"), owner: true }, member(1, "host"))).includes("Be host again"));
  assert.ok(labels(offersTo(room({}, [], [me]), { me: member(1, "speaker"), owner: true }, member(1, "speaker"))).includes("Be host again"));
});

test("a seat that nobody is on can be taken, locked and unlocked by who may", () => {
  const [free, locked, held] = [{ index: 1, locked: false }, { index: 2, locked: true }, { index: 0, locked: false, mic: mic(0, 1) }];
  const seats = (role, on, policy = "Auto") => {
    const me = member(1, role);
    const state = room({ micPolicy: policy, lockedMics: [2] }, on ? [mic(0, 1)] : [], [me]);
    return [free, locked, held].map((seat) => labels(offersOfSeat(state, me, seat)));
  };
  assert.deepEqual(seats("speaker", false), [["Take"], [], []]);
  assert.deepEqual(seats("speaker", true, "OnRequest"), [["Move here"], [], []]);
  assert.deepEqual(seats("speaker", false, "OnRequest"), [[], [], []]);
  assert.deepEqual(seats("host", false, "Appointed"), [["Take", "Lock"], ["Unlock"], []]);
});

test("a raised hand is accepted while its owner is there", () => {
  assert.deepEqual(answersTo(member(5, "audience", { hand })), [
    { label: "Accept", type: "give-mic", body: { member: 5, index: -1 } },
    { label: "Refuse", type: "lower-hand", body: { member: 5 } },
  ]);
  assert.deepEqual(labels(answersTo(member(5, "audience", { hand, status: "away" }))), ["Refuse"]);
});

test("all are muted but moderators, and all mutes are lifted", () => {
  const members = [member(1, "host"), member(2), member(3)];
  const all = (...mics) => offerToAll(room({}, mics, members));
  assert.equal(all(mic(0, 1)), null);
  assert.deepEqual(all(mic(0, 1), mic(1, 2, { modMuted: true }), mic(2, 3)), { label: "Mute all", type: "mute-all", body: { muted: true } });
  assert.deepEqual(all(mic(0, 1), mic(1, 2, { modMuted: true })), { label: "Lift all mutes", type: "mute-all", body: { muted: false } });
});

test("only what was changed in the settings is sent", () => {
  const before = choicesOf({ maxMembers: 9, maxMics: 2, access: "Public", micPolicy: "Auto" });
  assert.deepEqual(changesOf(before, before), {});
  assert.deepEqual(changesOf(before, { ...before, announcement: "Hello", muteOnEntry: true, speakingSeconds: 60 }), { announcement: "Hello", muteOnEntry: true, speakingSeconds: 60 });
});

test("deadlines are of the server's clock", () => {
  const clock = new Clock();
  const until = "2026-01-01T00:01:00Z";
  const here = Date.parse("2026-01-01T05:00:00Z");
  assert.equal(clock.left(until, Date.parse("2026-01-01T00:00:10Z")), 50, "until it is heard");
  clock.hear("Thu, 01 Jan 2026 00:00:30 GMT", here);
  clock.hear(null, here + 9999);
  assert.equal(clock.left(until, here), 30);
  assert.equal(clock.left(until, here + 12_000), 18);
  assert.equal(clock.left(until, here + 60_000), 0);
  assert.deepEqual([0, 9, 65, 3600, 3725].map(duration), ["0:00", "0:09", "1:05", "1:00:00", "1:02:05"]);
});

test("the user is told what others do to it, and nothing that it did itself", () => {
  const state = room({}, [mic(1, 5)], [member(1, "host"), member(5), member(6, "speaker", { hand })]);
  const told = (self, ...events) => newsOf(state, self, events.map((event, i) => ({ epoch: 1, seq: i + 2, ...event })));
  const lost = (reason) => ({ type: "mic", mic: { index: 1, member: 0, grant: 11 }, reason });
  const me = (id, more, reason) => ({ type: "member", member: member(id, "speaker", more), reason });
  const table = [
    [5, [lost("time-up")], "Your turn is over."],
    [5, [lost("mic-locked")], "A host locked your seat."],
    [5, [lost("pulled-down"), me(5, { role: "audience" })], "A host took your microphone back."],
    [5, [lost()], ""],
    [5, [lost(), { type: "mic", mic: mic(2, 5) }], ""], // moved
    [5, [lost(), { type: "mic", mic: { index: 0, member: 0, grant: 3 } }, { type: "mic", mic: mic(0, 5) }, { type: "mic", mic: mic(1, 6) }], ""], // swapped
    [6, [lost("pulled-down")], ""],
    [5, [{ type: "mic", mic: mic(1, 5, { modMuted: true }) }], "A host muted you."],
    [5, [{ type: "mic", mic: mic(1, 5, { muted: true }) }], ""],
    [5, [{ type: "mic", mic: mic(1, 5, { modMuted: true }) }, { type: "mic", mic: mic(1, 5) }], "A host muted you. A host lifted your mute: you are heard again."],
    [6, [{ type: "mic", mic: mic(0, 6) }], "You are on the mic."],
    [6, [{ type: "mic", mic: mic(0, 6, { muted: true }) }], "You are on the mic, muted."],
    [6, [me(6, {}, "hand-refused")], "A host lowered your hand."],
    [6, [me(6, {}, "expired")], "Nobody answered your raised hand, so it was lowered."],
    [6, [me(6, {})], ""],
    [5, [me(5, { askedUntil: hand.until }), me(5, {}, "expired")], ""],
    [5, [me(5, { role: "co-host" })], "You are a co-host now, and can moderate."],
    [5, [me(5, { role: "audience" })], "A host moved you to the audience."],
    [5, [me(5, { chatMuted: true })], "A host muted you in the chat."],
    [5, [me(6, { role: "host" })], ""],
  ];
  for (const [self, events, want] of table) assert.equal(told(self, ...events), want, JSON.stringify(events));
  assert.equal(newsOf(state, 5, [{ epoch: 1, seq: 1, ...lost("time-up") }, { epoch: 2, seq: 2, ...lost("time-up") }]), "", "old, or of another epoch");
  assert.equal(newsOf(null, 5, [lost("time-up")]), "");
});
