// Who asks to join: the bearer of the link's ticket, or a guest whom the gateway gives a name.

/**
 * @typedef {import("./api.js").Api} Api
 * @typedef {import("./api.js").Guest} Guest
 * @typedef {import("./link.js").Link} Link
 */

const guestKey = "voiceroom.guest";
const margin = 60_000; // ms before a guest's ticket expires in which it is not used any more

/**
 * Returns the ticket that came with the link. It is moved from the address, which people copy to
 * others, to the tab's own storage, so that a reload finds it.
 *
 * @param {Link} link
 * @returns {string} "" if there is none
 */
export function keepTicket(link) {
  const key = `voiceroom.ticket:${link.namespace}/${link.room}`;
  if (link.ticket) {
    sessionStorage.setItem(key, link.ticket);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return link.ticket || sessionStorage.getItem(key) || "";
}

/**
 * Returns a guest's ticket: the tab's, as a subject that comes back keeps its place, or a new one.
 *
 * @param {Api} api
 * @param {string} name
 * @returns {Promise<string>}
 */
export async function guestTicket(api, name) {
  /** @type {Guest | null} */
  let guest = JSON.parse(sessionStorage.getItem(guestKey) ?? "null");
  if (!guest || Date.parse(guest.expiresAt) - margin < Date.now()) {
    guest = await api.guest(name);
    sessionStorage.setItem(guestKey, JSON.stringify(guest));
  }
  return guest.ticket;
}
