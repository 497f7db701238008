// Who asks to join: the bearer of the link's ticket, or a guest whom the gateway gives a name.

/**
 * @typedef {import("./api.js").Api} Api
 * @typedef {import("./link.js").Link} Link
 */

const guestKey = "voiceroom.guest";
const margin = 60_000; // ms before a guest's ticket expires in which it is not used any more

export class Identity {
  #link;
  #storage;
  #ticketKey;

  /**
   * @param {Link} link        its ticket is kept, so that a reload without it finds it
   * @param {Storage} storage  the tab's
   */
  constructor(link, storage) {
    this.#link = link;
    this.#storage = storage;
    this.#ticketKey = `voiceroom.ticket:${link.namespace}/${link.room}`;
    if (link.ticket) storage.setItem(this.#ticketKey, link.ticket);
  }

  /** @returns {string} the ticket for this room, "" if there is none */
  get ticket() {
    return this.#storage.getItem(this.#ticketKey) ?? "";
  }

  /** @returns {string} an invitation, "" if there is none */
  get invite() {
    return this.#link.invite;
  }

  /** @returns {boolean} whether the ticket is that of the room's owner; the server judges that anew */
  get owner() {
    try {
      const claims = this.ticket.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
      return JSON.parse(atob(claims)).pur === "host";
    } catch {
      return false; // there is none, or it is no token of ours
    }
  }

  /**
   * Returns the ticket for this room, else a guest's: the one that the tab has, as a subject that
   * comes back keeps its place, or a new one.
   *
   * @param {Pick<Api, "guest">} api
   * @param {string} name
   * @returns {Promise<string>}
   */
  async credential(api, name) {
    if (this.ticket) return this.ticket;
    let guest = JSON.parse(this.#storage.getItem(guestKey) ?? "null");
    if (!guest || Date.parse(guest.expiresAt) - margin < Date.now()) {
      guest = await api.guest(name);
      this.#storage.setItem(guestKey, JSON.stringify(guest));
    }
    return guest.ticket;
  }

  /**
   * Forgets what the gateway does not take, or no longer.
   *
   * @returns {boolean} whether asking for another can help: it was a guest's
   */
  forget() {
    const guest = this.ticket === "";
    this.#storage.removeItem(guest ? guestKey : this.#ticketKey);
    return guest;
  }
}
