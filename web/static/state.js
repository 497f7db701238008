// The room as the server sends it: a snapshot, then numbered events. The same as room.State and
// its Apply in Go; docs/protocol.md describes both.

/**
 * @typedef {"host" | "co-host" | "speaker" | "audience"} Role
 *
 * @typedef {object} Settings
 * @property {string} [displayName]
 * @property {number} maxMembers
 * @property {number} maxMics
 * @property {"Public" | "InviteOnly" | "Locked"} access
 * @property {"Auto" | "OnRequest" | "Appointed"} micPolicy
 * @property {boolean} [muteOnEntry]      who comes in with a microphone comes in muted
 * @property {number} [speakingSeconds]   of a turn; none: it has no end
 * @property {number[]} [lockedMics]      indexes, rising
 * @property {string} [announcement]
 * @property {Record<string, string>} [metadata]
 *
 * @typedef {object} Hand         a raised one
 * @property {string} at
 * @property {number} [priority]  0 to maxHandPriority, given by a moderator
 * @property {string} until       it is lowered then
 *
 * @typedef {object} Member
 * @property {number} id          the CSRC of its audio
 * @property {string} [name]
 * @property {Role} role
 * @property {string} status      "entered"; "away" or "held" while its connection is lost
 * @property {Hand} [hand]
 * @property {string} [askedUntil] a moderator asks it to speak, until then
 * @property {boolean} [priority]  it is heard before all others
 * @property {boolean} [chatMuted] it may not post to the chat
 * @property {string} [enteredAt]
 *
 * @typedef {object} Mic
 * @property {number} index
 * @property {number} member      0: the microphone is gone
 * @property {number} grant
 * @property {boolean} [muted]    by its holder
 * @property {boolean} [modMuted] by a moderator, who alone can lift it
 * @property {string} [until]     its holder's turn ends then
 *
 * @typedef {object} Summary
 * @property {string} phase       "Prepared", "Open", "Sealed" or "Closed"
 * @property {string} [activatedAt]
 * @property {string} [emptySince]
 * @property {string} [closeReason]
 * @property {string} [closeMessage] a sentence of who closed it
 *
 * @typedef {object} RoomFields
 * @property {number} epoch
 * @property {number} seq         of the last event within the epoch
 * @property {Settings} settings
 * @property {Member[]} members   by id
 * @property {Mic[]} mics         by index, held ones only
 * @typedef {RoomFields & Summary} RoomState
 *
 * @typedef {object} RoomEvent    sets at most one of settings, member, mic and room; about what
 *                                clients are not shown (record, invite) it sets none
 * @property {number} epoch
 * @property {number} seq
 * @property {string} time
 * @property {string} type
 * @property {Settings} [settings]
 * @property {Member} [member]
 * @property {Mic} [mic]
 * @property {Summary} [room]
 * @property {string} [reason]    why somebody left, or lost a microphone or its place in the queue
 */

export const maxHandPriority = 9;

/**
 * Returns the state after an event, or null if it is not the next one. The given state is left
 * alone; what did not change is shared.
 *
 * @param {RoomState} state
 * @param {RoomEvent} event
 * @returns {RoomState | null}
 */
export function apply(state, event) {
  if (event.epoch !== state.epoch || event.seq !== state.seq + 1) return null;
  const next = { ...state, seq: event.seq };
  if (event.settings) {
    next.settings = event.settings;
  } else if (event.member) {
    const { member } = event;
    next.members = replace(state.members, (m) => m.id - member.id, event.type === "left" ? null : member);
  } else if (event.mic) {
    const { mic } = event;
    next.mics = replace(state.mics, (m) => m.index - mic.index, mic.member === 0 ? null : mic);
  } else if (event.room) {
    const { phase, activatedAt, emptySince, closeReason, closeMessage } = event.room;
    Object.assign(next, { phase, activatedAt, emptySince, closeReason, closeMessage });
    if (phase === "Closed") next.members = next.mics = [];
  }
  return next;
}

/**
 * Returns a copy of a sorted list in which the item that compares equal is replaced, removed
 * (null) or, where there is none, inserted.
 *
 * @template T
 * @param {T[]} list
 * @param {(item: T) => number} compare  negative for items that come before
 * @param {T | null} item
 * @returns {T[]}
 */
function replace(list, compare, item) {
  let at = list.findIndex((other) => compare(other) >= 0);
  if (at < 0) at = list.length;
  const found = at < list.length && compare(list[at]) === 0;
  return list.toSpliced(at, found ? 1 : 0, ...(item === null ? [] : [item]));
}

/** A client's copy of the room, which knows when it has missed something. */
export class Replica {
  /** @type {RoomState | null} */
  state = null;
  /** How many members that only listen the snapshot left out, as there were so many. */
  omitted = 0;
  #waiting = true; // for a snapshot

  /** What comes next is a snapshot: a connection begins. The state stays to be shown meanwhile. */
  begin() {
    this.#waiting = true;
  }

  /**
   * Takes a snapshot; the server sends empty lists as null.
   *
   * @param {Omit<RoomState, "members" | "mics"> & {members: Member[] | null, mics: Mic[] | null}} state
   * @param {number} [omitted]
   */
  snapshot(state, omitted = 0) {
    this.state = { ...state, members: state.members ?? [], mics: state.mics ?? [] };
    this.omitted = omitted;
    this.#waiting = false;
  }

  /**
   * Applies events in their order. Those that the snapshot already holds are skipped; after a gap
   * all are, until the next snapshot.
   *
   * @param {RoomEvent[]} events
   * @returns {boolean} false if there is a gap: ask for a snapshot, once
   */
  events(events) {
    for (const event of events) {
      if (this.#waiting || !this.state) return true;
      if (event.epoch === this.state.epoch && event.seq <= this.state.seq) continue;
      const next = apply(this.state, event);
      if (!next) return this.#gap();
      if (event.member && wasOmitted(this.state, event)) this.omitted = Math.max(0, this.omitted - 1);
      this.state = next;
    }
    return true;
  }

  /**
   * Compares with the number of the last event that was sent.
   *
   * @param {number} seq
   * @returns {boolean} false as in events
   */
  isAt(seq) {
    return this.#waiting || !this.state || seq <= this.state.seq || this.#gap();
  }

  #gap() {
    this.#waiting = true;
    return false;
  }
}

/**
 * Says whether an event is about somebody whom the snapshot left out: it is not known here, but
 * was in the room before.
 *
 * @param {RoomState} state  before the event
 * @param {RoomEvent} event
 */
function wasOmitted(state, { type, time, member }) {
  if (!member || memberOf(state, member.id)) return false;
  return type === "left" || Date.parse(member.enteredAt ?? time) < Date.parse(time);
}

/**
 * @param {RoomState} state
 * @param {number} member
 * @returns {Member | undefined}
 */
export function memberOf(state, member) {
  return state.members.find((m) => m.id === member);
}

/**
 * @param {RoomState} state
 * @param {number} member
 * @returns {Mic | undefined} the microphone that a member holds
 */
export function micOf(state, member) {
  return state.mics.find((m) => m.member === member);
}

/**
 * @param {RoomState} state
 * @returns {Member[]} whose hands are raised, in the order of the queue, which is room.State.Hands
 */
export function handsOf(state) {
  /** @type {{member: Member, hand: Hand}[]} */
  const raised = state.members.flatMap((member) => (member.hand ? [{ member, hand: member.hand }] : []));
  raised.sort((a, b) => (b.hand.priority ?? 0) - (a.hand.priority ?? 0) || compareTimes(a.hand.at, b.hand.at));
  return raised.map(({ member }) => member);
}

/**
 * Compares RFC 3339 times in UTC to the nanosecond, of which Date keeps a millisecond.
 *
 * @param {string} a
 * @param {string} b
 */
function compareTimes(a, b) {
  const fraction = (/** @type {string} */ time) => Number(/\.\d+/.exec(time)?.[0] ?? 0);
  const second = (/** @type {string} */ time) => Math.floor(Date.parse(time) / 1000);
  return second(a) - second(b) || fraction(a) - fraction(b);
}

/**
 * @param {Mic | undefined} mic
 * @returns {boolean} whether its holder's audio is forwarded
 */
export function isLive(mic) {
  return mic !== undefined && mic.member !== 0 && !mic.muted && !mic.modMuted;
}

/**
 * @param {Member | undefined} member
 * @returns {boolean} whether it may command others
 */
export function moderates(member) {
  return member?.role === "host" || member?.role === "co-host";
}
