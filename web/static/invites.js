// The dialog in which moderators make links for others.

import { byId } from "./dom.js";
import { moderates } from "./state.js";

/**
 * @typedef {import("./call.js").Call} Call
 * @typedef {import("./powers.js").Offer} Offer
 *
 * @typedef {object} InviteWish
 * @property {string} role       "speaker" or "audience"
 * @property {number} uses       how many it lets in; 0: no limit
 * @property {number} expiresIn  seconds
 */

/** @type {Offer} */
const reset = {
  label: "", type: "reset-invites", body: {},
  question: { title: "Reset all links?", text: "Every invite link that was made until now stops working. Who is in the room stays.", yes: "Reset links", danger: true },
};

export class InviteDialog {
  #dialog = byId("invites", HTMLDialogElement);
  #form = byId("invites-form", HTMLFormElement);
  #made = byId("made", HTMLElement);
  #url = byId("made-url", HTMLInputElement);

  /**
   * @param {(wish: InviteWish) => Promise<string>} make  a link; "" if that was refused
   * @param {(url: string) => Promise<void>} copy
   * @param {(offer: Offer) => Promise<boolean>} perform
   */
  constructor(make, copy, perform) {
    this.#form.onsubmit = async (event) => {
      event.preventDefault();
      const url = await make(this.#wish());
      this.#made.hidden = url === "";
      this.#url.value = url;
      if (url) this.#url.select();
    };
    // A link as others are made from here on is no longer what is shown.
    this.#form.onchange = () => (this.#made.hidden = true);
    byId("made-copy", HTMLButtonElement).onclick = () => copy(this.#url.value);
    byId("invites-done", HTMLButtonElement).onclick = () => this.#dialog.close();
    byId("invites-reset", HTMLButtonElement).onclick = async () => {
      if (await perform(reset)) this.#made.hidden = true;
    };
  }

  open() {
    this.#made.hidden = true;
    this.#dialog.showModal();
  }

  /**
   * Closes when the user moderates no more.
   *
   * @param {Call} call
   */
  follow(call) {
    if (this.#dialog.open && !(call.status === "connected" && moderates(call.me()))) this.#dialog.close();
  }

  /** @returns {InviteWish} */
  #wish() {
    const form = new FormData(this.#form);
    return { role: String(form.get("role")), uses: Number(form.get("uses")), expiresIn: Number(form.get("expiresIn")) };
  }
}
