// Who may do what to whom, as the room will judge it: the page offers nothing that is refused.

import { maxHandPriority, micOf, moderates } from "./state.js";
import { nameOf } from "./names.js";
import { seatName, seatsOf } from "./seats.js";

/**
 * @typedef {import("./state.js").Member} Member
 * @typedef {import("./state.js").RoomState} RoomState
 * @typedef {import("./seats.js").Seat} Seat
 *
 * @typedef {object} Question    what is asked before something is done
 * @property {string} title
 * @property {string} [text]
 * @property {string} yes        what the button says that does it
 * @property {boolean} [danger]
 * @property {{label: string, value: string, name: string, lines?: number, max: number, required?: boolean}} [field]
 *           whose value goes into the command's body under this name
 *
 * @typedef {object} Offer       what the user can do: a command, or a choice of more
 * @property {string} label
 * @property {string} [type]     of the command
 * @property {object} [body]
 * @property {Question} [question]
 * @property {boolean} [danger]
 * @property {Offer[]} [more]
 *
 * @typedef {object} Viewer      who looks at the page
 * @property {Member | undefined} me
 * @property {boolean} owner     of the room, who may always be its host again
 */

/**
 * @param {RoomState} state
 * @param {Member | undefined} me
 * @returns {boolean} whether it may take a microphone, or another one, by itself
 */
export function mayTake(state, me) {
  if (!me || me.role === "audience") return false;
  return micOf(state, me.id) !== undefined || state.settings.micPolicy === "Auto" || moderates(me);
}

/**
 * @param {RoomState} state
 * @param {Member | undefined} me
 * @returns {boolean} whether raising its hand can get it a microphone
 */
export function mayRaiseHand(state, me) {
  return me !== undefined && !moderates(me) && state.settings.micPolicy !== "Appointed" && micOf(state, me.id) === undefined;
}

/**
 * @param {Member | undefined} me
 * @param {Member} other
 * @returns {boolean} whether it may moderate the other one: a co-host no other moderator
 */
export function mayActOn(me, other) {
  return me !== undefined && moderates(me) && (me.role === "host" || me.id === other.id || !moderates(other));
}

/**
 * @param {RoomState} state
 * @param {Viewer} viewer
 * @param {Member} other
 * @returns {Offer[]} what the viewer can do to a member, or for itself
 */
export function offersTo(state, { me, owner }, other) {
  if (!me) return [];
  const own = me.id === other.id ? offersToSelf(me, owner) : [];
  if (!mayActOn(me, other)) return own;
  return [...own, ...seating(state, me, other), ...handling(other), ...rights(state, me, other), ...removing(me, other)];
}

/**
 * @param {Member} me
 * @param {boolean} owner
 * @returns {Offer[]}
 */
function offersToSelf(me, owner) {
  const field = { label: "Your name", value: me.name ?? "", name: "name", max: 40, required: true };
  /** @type {Offer[]} */
  const offers = [{ label: "Change your name", type: "rename", question: { title: "Change your name", yes: "Change", field } }];
  if (owner && me.role !== "host") offers.push({ label: "Be host again", type: "transfer-host", body: { member: me.id } });
  return offers;
}

/**
 * Microphones.
 *
 * @param {RoomState} state
 * @param {Member} me
 * @param {Member} other
 * @returns {Offer[]}
 */
function seating(state, me, other) {
  const member = other.id;
  const mic = micOf(state, member);
  const self = me.id === member;
  /** @type {Offer[]} */
  const offers = [];
  if (mic) {
    if (!self || mic.modMuted) offers.push({ label: mic.modMuted ? "Lift the mute" : "Mute", type: "mute-member", body: { member, muted: !mic.modMuted } });
    const places = moves(state, mic.index);
    if (places.length > 0) offers.push({ label: "Move to seat…", more: places });
    if (!self) offers.push({ label: "Take off the mic", type: "pull-mic", body: { member } });
    if (!self) offers.push({ label: "Lock this seat", type: "lock-mic", body: { index: mic.index, locked: true } });
  } else if (other.status === "entered" && !self) {
    offers.push({ label: "Give a microphone", type: "give-mic", body: { member, index: -1 } });
    const free = seatsOf(state).seats.filter(isFree);
    const more = free.map(({ index }) => ({ label: seatName(index), type: "give-mic", body: { member, index } }));
    if (more.length > 1) offers.push({ label: "Put on seat…", more });
    if (!other.askedUntil) offers.push({ label: "Ask to speak", type: "ask-to-speak", body: { member } });
  }
  offers.push({ label: other.priority ? "No longer a priority speaker" : "Make priority speaker", type: "set-priority", body: { member, priority: !other.priority } });
  return offers;
}

/** @param {Seat} seat */
function isFree(seat) {
  return !seat.mic && !seat.locked;
}

/**
 * Moving keeps the turn, and swaps with who is on the other seat.
 *
 * @param {RoomState} state
 * @param {number} from
 * @returns {Offer[]}
 */
function moves(state, from) {
  const within = (/** @type {Seat} */ seat) => seat.index < state.settings.maxMics && !seat.locked;
  const { seats } = seatsOf(state);
  if (!seats.some((seat) => seat.index === from && within(seat))) return [];
  return seats.filter((seat) => seat.index !== from && within(seat)).map(({ index, mic, member }) => ({
    label: mic ? `${seatName(index)}, swap with ${nameOf(member)}` : seatName(index),
    type: "swap-mics",
    body: { a: from, b: index },
  }));
}

/**
 * A raised hand; accepting and refusing have buttons of their own.
 *
 * @param {Member} other
 * @returns {Offer[]}
 */
function handling({ id: member, hand }) {
  if (!hand) return [];
  const priority = hand.priority ?? 0;
  /** @type {Offer[]} */
  const offers = [];
  if (priority < maxHandPriority) offers.push({ label: "Move up the queue", type: "hand-priority", body: { member, priority: priority + 1 } });
  if (priority > 0) offers.push({ label: "Move down the queue", type: "hand-priority", body: { member, priority: priority - 1 } });
  return offers;
}

/**
 * Roles, and the chat.
 *
 * @param {RoomState} state
 * @param {Member} me
 * @param {Member} other
 * @returns {Offer[]}
 */
function rights(state, me, other) {
  if (me.id === other.id) return [];
  const { id: member, role } = other;
  const become = (/** @type {string} */ label, /** @type {string} */ role) => ({ label, type: "set-role", body: { member, role } });
  /** @type {Offer[]} */
  const offers = [{ label: other.chatMuted ? "Let write in the chat" : "Mute in the chat", type: "chat-mute", body: { member, muted: !other.chatMuted } }];
  if (role === "audience") offers.push(become("Make speaker", "speaker"));
  // Taking a speaker off the mic is just that.
  if (role === "speaker" && !micOf(state, member)) offers.push(become("Move to the audience", "audience"));
  if (me.role !== "host") return offers;
  if (role === "co-host") offers.push(become("No longer co-host", "speaker"));
  else offers.push(become("Make co-host", "co-host"));
  if (other.status !== "entered") return offers;
  const question = { title: `Make ${nameOf(other)} the host?`, text: "You will be a co-host, and cannot take it back by yourself unless the room is yours.", yes: "Make host" };
  return [...offers, { label: "Make host", type: "transfer-host", body: { member }, question }];
}

/**
 * @param {Member} me
 * @param {Member} other
 * @returns {Offer[]}
 */
function removing(me, other) {
  if (me.id === other.id) return [];
  const name = nameOf(other);
  const member = other.id;
  return [
    {
      label: "Remove…", type: "kick", body: { member }, danger: true,
      question: { title: `Remove ${name}?`, text: "They leave at once, and can come back only when they are invited again.", yes: "Remove", danger: true },
    },
    {
      label: "Ban…", type: "kick", body: { member, ban: true }, danger: true,
      question: { title: `Ban ${name}?`, text: "They leave at once, and cannot come back until a host lets them in again.", yes: "Ban", danger: true },
    },
  ];
}

/**
 * @param {RoomState} state
 * @param {Member | undefined} me
 * @param {Seat} seat
 * @returns {Offer[]} what can be done with a seat that nobody is on
 */
export function offersOfSeat(state, me, seat) {
  const { index, locked } = seat;
  /** @type {Offer[]} */
  const offers = [];
  if (seat.mic || !me) return offers;
  if (!locked && mayTake(state, me)) {
    offers.push({ label: micOf(state, me.id) ? "Move here" : "Take", type: "take-mic", body: { index } });
  }
  if (moderates(me)) offers.push({ label: locked ? "Unlock" : "Lock", type: "lock-mic", body: { index, locked: !locked } });
  return offers;
}

/**
 * @param {Member} other  whose hand is raised
 * @returns {Offer[]} a moderator's two answers
 */
export function answersTo({ id: member, status }) {
  const refuse = { label: "Refuse", type: "lower-hand", body: { member } };
  return status === "entered" ? [{ label: "Accept", type: "give-mic", body: { member, index: -1 } }, refuse] : [refuse];
}

/**
 * @param {RoomState} state
 * @returns {Offer | null} to mute everybody but the moderators, or to lift that; null if there is nobody
 */
export function offerToAll(state) {
  const mics = state.mics.filter((mic) => !moderates(state.members.find((m) => m.id === mic.member)));
  if (mics.length === 0) return null;
  const muted = !mics.every((mic) => mic.modMuted);
  return { label: muted ? "Mute all" : "Lift all mutes", type: "mute-all", body: { muted } };
}
