// The page's entry: reads the link, and wires the call to the view.

import { Api } from "./api.js";
import { Call } from "./call.js";
import { Identity } from "./identity.js";
import { parseLink } from "./link.js";
import { Refusal, sentence } from "./refusal.js";
import { View } from "./view.js";

/** @typedef {import("./link.js").Link} Link */

const nameKey = "voiceroom.name";
const tick = 100; // ms

/** @type {Call | null} */
let call = null;

const link = parseLink(location);
const identity = link && new Identity(link, sessionStorage);
const view = new View({
  join: (name) => link && identity && join(link, identity, name),
  leave: () => call?.leave(),
  command: async (type, body) => (await call?.command(type, body)) ?? false,
  mute: (muted) => call?.mute(muted),
  say: async (text) => (await attempt(call?.say(text).then(() => true))) ?? false,
  earlier: () => attempt(call?.earlier()),
  copyLink: () => copy(location.href),
  copy,
  invite: async (wish) => (await attempt(call?.invite(wish)))?.url ?? "",
  removed: async () => (await attempt(call?.removed()))?.removed ?? [],
});

if (link && identity) await showLobby(link, identity);
else view.refuse("This is not the link of a room.");

/**
 * @param {Link} link
 * @param {Identity} identity
 */
async function showLobby(link, identity) {
  // People copy the address to others, for whom the ticket is not; an invitation is.
  if (link.ticket) history.replaceState(null, "", location.pathname);
  const name = localStorage.getItem(nameKey) ?? "";
  view.lobby(link.room, "", name);
  try {
    const room = await new Api(link).summary(identity.ticket);
    view.lobby(room.displayName || room.name, `Up to ${room.maxMembers} people, ${room.maxMics} on the mic`, name);
  } catch (error) {
    // The name from the link will do; joining says what is wrong, unless there is nothing to join.
    if (error instanceof Refusal && error.status === 404) view.refuse(sentence(error));
  }
}

/**
 * @param {Link} link
 * @param {Identity} identity
 * @param {string} name
 */
async function join(link, identity, name) {
  localStorage.setItem(nameKey, name);
  const current = new Call(new Api(link), identity, name, {
    changed: () => view.render(current),
    refused: (error) => view.tell(sentence(error)),
    news: (text) => view.tell(text, true),
    track: (slot, track) => view.sound.play(slot, track),
    slots: (slots) => view.sound.label(slots),
  });
  call = current;
  view.render(current);
  const ticking = setInterval(() => {
    current.listen();
    view.renderTime(current);
  }, tick);
  await current.run().finally(() => clearInterval(ticking));
}

/**
 * Tells the user if something did not work.
 *
 * @template T
 * @param {Promise<T> | undefined} doing
 * @returns {Promise<T | null>} null if it did not
 */
async function attempt(doing) {
  try {
    return (await doing) ?? null;
  } catch (error) {
    view.tell(sentence(error));
    return null;
  }
}

/** @param {string} url */
async function copy(url) {
  try {
    await navigator.clipboard.writeText(url);
    view.tell("The link is copied.", true);
  } catch {
    view.showLink(url); // no clipboard here, or no leave to use it
  }
}

addEventListener("pagehide", () => call?.leave());
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload(); // the call ended when the page was hidden
});
