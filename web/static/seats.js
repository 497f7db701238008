// The room's seats: one for each microphone that may exist, by index.

import { memberOf } from "./state.js";

/**
 * @typedef {import("./state.js").Member} Member
 * @typedef {import("./state.js").Mic} Mic
 * @typedef {import("./state.js").RoomState} RoomState
 *
 * @typedef {object} Seat        held, locked or free
 * @property {number} index
 * @property {boolean} locked    nobody can be put on it
 * @property {Mic} [mic]         the microphone that is on it
 * @property {Member} [member]   its holder
 */

const mostFree = 5; // that are shown: the rest of a large room's are as good

/**
 * @param {RoomState} state
 * @returns {{seats: Seat[], more: number}} the seats to show, by index, and how many more are free
 */
export function seatsOf(state) {
  const { mics, settings } = state;
  const held = new Map(mics.map((mic) => [mic.index, mic]));
  const locked = new Set(settings.lockedMics);
  // Caps can be lowered below what is held, and what is locked.
  const last = Math.max(settings.maxMics - 1, ...held.keys());
  // As many as may exist at once may be held above a lowered cap, which leaves none free.
  const spare = Math.max(0, settings.maxMics - mics.length);
  /** @type {Seat[]} */
  const seats = [];
  let free = 0;
  for (let index = 0; index <= last; index++) {
    const mic = held.get(index);
    const isLocked = locked.has(index);
    if (mic) seats.push({ index, locked: isLocked, mic, member: memberOf(state, mic.member) });
    else if (index >= settings.maxMics) continue;
    else if (isLocked) seats.push({ index, locked: true });
    else if (free++ < Math.min(spare, mostFree)) seats.push({ index, locked: false });
  }
  return { seats, more: Math.max(0, Math.min(free, spare) - mostFree) };
}

/**
 * @param {number} index  from 0
 * @returns {string} what people call it
 */
export function seatName(index) {
  return `Seat ${index + 1}`;
}
