import assert from "node:assert/strict";
import { test } from "node:test";

import { Replica, apply, handsOf, isLive, memberOf, micOf, moderates } from "../static/state.js";

const settings = { maxMembers: 10, maxMics: 2, access: "Public", micPolicy: "Auto" };
const ann = { id: 1, name: "Ann", role: "host", status: "entered" };
const bob = { id: 3, name: "Bob", role: "speaker", status: "entered" };
const room = () => ({
  epoch: 2, seq: 7, phase: "Open", emptySince: "2026-01-01T00:00:00Z", settings,
  members: [ann, bob], mics: [{ index: 1, member: 1, grant: 4 }],
});

const table = [
  {
    name: "a member in between is inserted by id",
    event: { type: "member", member: { id: 2, role: "audience", status: "entered" } },
    want: { members: [ann, { id: 2, role: "audience", status: "entered" }, bob] },
  },
  {
    name: "a member's new value replaces the old one",
    event: { type: "member", member: { ...bob, chatMuted: true } },
    want: { members: [ann, { ...bob, chatMuted: true }] },
  },
  { name: "who left is removed", event: { type: "left", member: ann, reason: "left" }, want: { members: [bob] } },
  { name: "who left unseen changes nothing", event: { type: "left", member: { ...bob, id: 9 } }, want: {} },
  { name: "an event about somebody hidden only counts", event: { type: "member" }, want: {} },
  { name: "what is remembered of somebody only counts", event: { type: "record" }, want: {} },
  { name: "the use of an invitation only counts", event: { type: "invite" }, want: {} },
  {
    name: "a microphone is inserted by index",
    event: { type: "mic", mic: { index: 0, member: 3, grant: 5 } },
    want: { mics: [{ index: 0, member: 3, grant: 5 }, { index: 1, member: 1, grant: 4 }] },
  },
  {
    name: "a microphone's new value replaces the old one",
    event: { type: "mic", mic: { index: 1, member: 1, grant: 4, muted: true } },
    want: { mics: [{ index: 1, member: 1, grant: 4, muted: true }] },
  },
  { name: "a microphone without a holder is gone", event: { type: "mic", mic: { index: 1, member: 0, grant: 4 } }, want: { mics: [] } },
  {
    name: "settings are replaced whole",
    event: { type: "settings", settings: { ...settings, maxMics: 1 } },
    want: { settings: { ...settings, maxMics: 1 } },
  },
  {
    name: "what a room event leaves out is unset",
    event: { type: "room", room: { phase: "Sealed" } },
    want: { phase: "Sealed", emptySince: undefined, activatedAt: undefined },
  },
  {
    name: "nobody is in a room that closed",
    event: { type: "room", room: { phase: "Closed", closeReason: "done", closeMessage: "Good night!" } },
    want: { phase: "Closed", closeReason: "done", closeMessage: "Good night!", emptySince: undefined, members: [], mics: [] },
  },
];

for (const { name, event, want } of table) {
  test(`apply: ${name}`, () => {
    const before = room();
    const after = apply(before, { epoch: 2, seq: 8, ...event });
    assert.deepEqual(normal(after), normal({ ...room(), seq: 8, ...want }));
    assert.deepEqual(before, room(), "the old state is left alone");
  });
}

const normal = (state) => JSON.parse(JSON.stringify(state));

test("apply: only the next event of the epoch is one", () => {
  for (const [epoch, seq] of [[2, 7], [2, 9], [1, 8], [3, 1]]) {
    assert.equal(apply(room(), { epoch, seq, type: "member" }), null, `epoch ${epoch}, seq ${seq}`);
  }
});

test("a replica asks once for what it missed, and goes on from the snapshot", () => {
  const replica = new Replica();
  const event = (seq, member) => ({ epoch: 2, seq, type: "member", member });
  assert.equal(replica.events([event(8, bob)]), true, "before the first snapshot there is nothing to miss");
  replica.snapshot(room());
  assert.equal(replica.events([event(6), event(7), event(8, { ...bob, name: "Rob" })]), true, "old ones are skipped");
  assert.equal(replica.state.seq, 8);
  assert.equal(replica.events([event(9), event(11)]), false, "10 is missing");
  assert.equal(replica.state.seq, 9);
  assert.equal(replica.events([event(12)]), true, "it has been asked for");
  assert.equal(replica.state.seq, 9);
  replica.snapshot({ ...room(), seq: 12 });
  assert.equal(replica.events([event(13, { ...bob, name: "Rob" })]), true);
  assert.equal(memberOf(replica.state, 3).name, "Rob");
});

test("a heartbeat tells of a lost event, once", () => {
  const replica = new Replica();
  assert.equal(replica.isAt(3), true, "before the first snapshot there is nothing to miss");
  replica.snapshot(room());
  assert.equal(replica.isAt(7), true);
  assert.equal(replica.isAt(8), false);
  assert.equal(replica.isAt(9), true, "it has been asked for");
});

test("a new connection begins with a snapshot, and shows the old state until then", () => {
  const replica = new Replica();
  replica.snapshot(room(), 40);
  replica.begin();
  assert.equal(replica.events([{ epoch: 3, seq: 1, type: "member" }]), true);
  assert.equal(replica.isAt(1), true);
  assert.equal(replica.state.seq, 7);
  assert.equal(replica.omitted, 40);
  replica.snapshot({ ...room(), epoch: 3, seq: 2 });
  assert.equal(replica.state.epoch, 3);
  assert.equal(replica.omitted, 0);
});

test("an event of another epoch is a gap, also with a small number", () => {
  const replica = new Replica();
  replica.snapshot(room());
  assert.equal(replica.events([{ epoch: 3, seq: 1, type: "member" }]), false);
});

test("empty lists come as null", () => {
  const replica = new Replica();
  replica.snapshot({ ...room(), members: null, mics: null });
  assert.equal(replica.events([{ epoch: 2, seq: 8, type: "mic", mic: { index: 0, member: 1, grant: 1 } }]), true);
  assert.deepEqual(replica.state.members, []);
  assert.equal(micOf(replica.state, 1).index, 0);
});

test("hands queue by falling priority, and by age within one", () => {
  const raised = (id, at, priority) => ({ ...bob, id, hand: { at, priority, until: "2026-01-01T00:10:00Z" } });
  const members = [
    raised(1, "2026-01-01T00:00:02Z"), raised(2, "2026-01-01T00:00:01.000000002Z"), raised(3, "2026-01-01T00:00:01.000000001Z"),
    { ...bob, id: 4 }, raised(5, "2026-01-01T00:00:03Z", 1), raised(6, "2026-01-01T00:00:01.5Z", 0),
  ];
  assert.deepEqual(handsOf({ ...room(), members }).map(({ id }) => id), [5, 3, 2, 6, 1]);
});

test("members that the snapshot left out are counted until they are known or gone", () => {
  const replica = new Replica();
  replica.snapshot(room(), 3);
  const then = "2026-01-01T00:00:00Z";
  const time = "2026-01-01T00:05:00Z";
  const old = (id) => ({ ...bob, id, enteredAt: then });
  const event = (seq, type, member) => ({ epoch: 2, seq, time, type, member });
  replica.events([event(8, "member", old(20))]);
  assert.equal(replica.omitted, 2, "it raised its hand, say");
  replica.events([event(9, "left", old(21))]);
  assert.equal(replica.omitted, 1);
  replica.events([event(10, "left", old(20)), event(11, "member", { ...bob, id: 22, enteredAt: time }), event(12, "member")]);
  assert.equal(replica.omitted, 1, "one that was known, one that comes in, one that is hidden");
});

test("a microphone is live when held and muted by nobody", () => {
  assert.equal(isLive(undefined), false);
  assert.equal(isLive({ index: 0, member: 1, grant: 1 }), true);
  assert.equal(isLive({ index: 0, member: 0, grant: 1 }), false);
  assert.equal(isLive({ index: 0, member: 1, grant: 1, muted: true }), false);
  assert.equal(isLive({ index: 0, member: 1, grant: 1, modMuted: true }), false);
});

test("hosts and co-hosts moderate", () => {
  assert.deepEqual(["host", "co-host", "speaker", "audience"].map((role) => moderates({ ...ann, role })), [true, true, false, false]);
  assert.equal(moderates(undefined), false);
});
