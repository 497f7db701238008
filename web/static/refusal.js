// What the server refuses, in a form that code can compare and people can read.

/**
 * A typed refusal: an RFC 9457 problem of the HTTP API, an error of the data channel, or what keeps
 * us from asking. Whatever else is thrown is a mistake in this page.
 */
export class Refusal extends Error {
  /**
   * @param {string} code        stable and machine-readable, like "room-full"
   * @param {string} [detail]    the server's own sentence
   * @param {number} [status]    of the HTTP answer; 0 over the data channel
   * @param {number} [retryAfter] seconds that the server asks to wait; 0 if it does not
   */
  constructor(code, detail = "", status = 0, retryAfter = 0) {
    super(detail || code);
    this.name = "Refusal";
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** What is clearer from here than the server's own sentence. @type {Readonly<Record<string, string>>} */
const sentences = {
  "room-full": "The room is full. Try again when someone has left.",
  "room-closed": "This room has ended.",
  "unknown-room": "There is no such room.",
  "room-locked": "The host has locked the room. Nobody new can join.",
  "room-waking": "The room is starting up…",
  "room-not-ready": "The room is starting up…",
  "not-open-yet": "Waiting for the host to open the room…",
  "frozen": "The room is not taking newcomers at the moment. Trying again…",
  "moving": "The room is moving to another server…",
  "stale-epoch": "The room is moving to another server…",
  "banned": "You were banned from this room.",
  "kicked": "You were removed from this room. Ask its host to let you in again.",
  "already-joined": "You are in this room already, in another window or on another device. Leave there first.",
  "invite-required": "This room needs an invitation. Ask its host for an invite link.",
  "invite-void": "This invite link works no longer. Ask for a new one.",
  "invite-used": "This invite link has been used as often as it may. Ask for a new one.",
  "invite-for-another": "This invite link was made for somebody else.",
  "key-revoked": "What let you in is not trusted any more. Open the link that you were sent again.",
  "expired": "Coming in took too long. Try again.",
  "guests-not-allowed": "This deployment lets in nobody without an account. Open the link that you were sent.",
  "token-expired": "This link has expired. Ask for a new one.",
  "token-unknown-key": "This link is not valid any more. Ask for a new one.",
  "token-signature": "This link is not valid.",
  "token-malformed": "This link is not complete. Copy the whole of it.",
  "token-audience": "This link is for another room.",
  "rate-limited": "That was too fast. Wait a moment.",
  "too-many-reservations": "Too many people are joining from your network. Trying again…",
  // What a command is refused for the server says itself, but it counts seats from 0.
  "mic-taken": "Someone else was faster: that seat is taken.",
  "mic-locked": "That seat is locked.",
  "chat-unavailable": "The chat cannot be reached at the moment.",
  "replaced": "You joined from somewhere else, so this page left the room.",
  "left": "You left the room.",
  "unreachable": "The server cannot be reached. Check your connection.",
  "connection-lost": "The connection is lost. Try again.",
  "connection-failed": "No audio connection could be made. A firewall may be in the way.",
  "mic-denied": "The browser may not use your microphone. Allow it in the site's settings, then take the mic again.",
  "mic-missing": "No microphone was found.",
};

// What the pod says of a room that was closed without a word of whoever closed it.
const noFarewell = "the room has ended";

/**
 * One sentence for people.
 *
 * @param {unknown} error
 * @returns {string}
 */
export function sentence(error) {
  if (!(error instanceof Refusal)) return "Something went wrong in this page. Reload it to try again.";
  const farewell = error.code === "room-closed" && error.status === 0 && ![noFarewell, error.code].includes(error.message);
  if (farewell) return `${sentences["room-closed"]} “${error.message}”`;
  const known = Object.hasOwn(sentences, error.code) ? sentences[error.code] : "";
  if (known) return known;
  const text = error.message;
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");
}

const passing = new Set([
  "room-waking", "room-not-ready", "not-open-yet", "frozen", "moving", "stale-epoch",
  "unknown-session", "too-many-reservations", "unreachable", "connection-failed", "connection-lost",
]);

/**
 * Whether trying again later can succeed: the cause is of the moment, not of the caller.
 *
 * @param {unknown} error
 * @returns {boolean}
 */
export function isPassing(error) {
  if (!(error instanceof Refusal)) return false;
  return passing.has(error.code) || error.status >= 500 || error.status === 429;
}

/**
 * How long to wait before the attempt after `attempt` failed ones, in milliseconds: doubling from
 * 250 to 8000, less up to half of it by chance, so that a room's clients do not come back as one.
 *
 * @param {number} attempt  failed attempts so far, from 1
 * @param {unknown} error   the last failure; a Retry-After in it is the least
 * @param {number} chance   in [0, 1)
 * @returns {number}
 */
export function backoff(attempt, error, chance) {
  const least = error instanceof Refusal ? error.retryAfter * 1000 : 0;
  const most = Math.min(250 * 2 ** (attempt - 1), 8000);
  return Math.max(least, most * (1 - chance / 2));
}
