// What others did to the user, told in sentences.

import { memberOf, micOf } from "./state.js";

/**
 * @typedef {import("./state.js").Member} Member
 * @typedef {import("./state.js").Mic} Mic
 * @typedef {import("./state.js").RoomEvent} RoomEvent
 * @typedef {import("./state.js").RoomState} RoomState
 */

/** Why a microphone is gone. @type {Readonly<Record<string, string>>} */
const lostMic = {
  "pulled-down": "A host took your microphone back.",
  "time-up": "Your turn is over.",
  "mic-locked": "A host locked your seat.",
};

/** @type {Readonly<Record<import("./state.js").Role, string>>} */
const newRole = {
  "host": "You are the host now.",
  "co-host": "You are a co-host now, and can moderate.",
  "speaker": "You may speak in this room now.",
  "audience": "A host moved you to the audience.",
};

/**
 * @param {RoomState | null} state  before the events
 * @param {number} self
 * @param {RoomEvent[]} events
 * @returns {string} what they mean for the user, "" if nothing that it does not see
 */
export function newsOf(state, self, events) {
  if (!state) return "";
  const told = [];
  let me = memberOf(state, self);
  let mic = micOf(state, self);
  let pulled = false; // which tells of the audience, too
  for (const event of events) {
    if (event.epoch !== state.epoch || event.seq <= state.seq) continue;
    if (event.mic && (event.mic.member === self || (event.mic.member === 0 && event.mic.index === mic?.index))) {
      told.push(ofMic(mic, event.mic, event.reason));
      pulled ||= event.reason === "pulled-down";
      if (event.mic.member !== 0 || event.reason) mic = event.mic.member === 0 ? undefined : event.mic;
    } else if (event.member?.id === self) {
      if (!(pulled && event.member.role === "audience")) told.push(ofMember(me, event.member, event.reason));
      me = event.member;
    }
  }
  return told.filter(Boolean).join(" ");
}

/**
 * @param {Mic | undefined} old
 * @param {Mic} mic
 * @param {string} [reason]
 */
function ofMic(old, mic, reason) {
  if (mic.member === 0) return reason ? (lostMic[reason] ?? "Your microphone is gone.") : "";
  if (!old) return mic.modMuted ? "You are on the mic, muted by a host." : mic.muted ? "You are on the mic, muted." : "You are on the mic.";
  if (Boolean(old.modMuted) === Boolean(mic.modMuted)) return "";
  return mic.modMuted ? "A host muted you." : mic.muted ? "A host lifted your mute. You can unmute now." : "A host lifted your mute: you are heard again.";
}

/**
 * @param {Member | undefined} old
 * @param {Member} member
 * @param {string} [reason]
 */
function ofMember(old, member, reason) {
  if (!old) return "";
  const told = [];
  if (old.hand && !member.hand && reason === "hand-refused") told.push("A host lowered your hand.");
  if (old.hand && !member.hand && reason === "expired") told.push("Nobody answered your raised hand, so it was lowered.");
  if (old.role !== member.role) told.push(newRole[member.role]);
  if (Boolean(old.chatMuted) !== Boolean(member.chatMuted)) {
    told.push(member.chatMuted ? "A host muted you in the chat." : "You can write in the chat again.");
  }
  return told.join(" ");
}
