// The dialog in which moderators set the room up, let people in again and end it.

import { byId, child, renderList, setText } from "./dom.js";
import { moderates } from "./state.js";

/**
 * @typedef {import("./call.js").Call} Call
 * @typedef {import("./powers.js").Offer} Offer
 * @typedef {import("./powers.js").Question} Question
 * @typedef {import("./state.js").Settings} Settings
 *
 * @typedef {object} Removed     somebody who may not come in
 * @property {number} [member]   as whom it can be let in again; none: it was never here
 * @property {string} [name]
 * @property {boolean} banned
 *
 * @typedef {Required<Pick<Settings, "displayName" | "access" | "micPolicy" | "muteOnEntry" | "speakingSeconds" | "announcement">>} Choices
 */

/**
 * @param {Settings} settings
 * @returns {Choices} what moderators can choose of them
 */
export function choicesOf({ displayName = "", access, micPolicy, muteOnEntry = false, speakingSeconds = 0, announcement = "" }) {
  return { displayName, access, micPolicy, muteOnEntry, speakingSeconds, announcement };
}

/**
 * Returns what was changed in the dialog, so that what others change meanwhile stays.
 *
 * @param {Choices} before
 * @param {Choices} after
 * @returns {Partial<Choices>}
 */
export function changesOf(before, after) {
  const entries = Object.entries(after).filter(([name, value]) => value !== before[/** @type {keyof Choices} */ (name)]);
  return Object.fromEntries(entries);
}

/** @type {Question} */
const closing = {
  title: "End the room for everyone?", text: "Everybody leaves, and nobody can come back.", yes: "End the room", danger: true,
  field: { label: "A word of goodbye (if you like)", value: "", name: "message", lines: 2, max: 300 },
};

export class SettingsDialog {
  #dialog = byId("settings", HTMLDialogElement);
  #form = byId("settings-form", HTMLFormElement);
  #removed = byId("removed", HTMLElement);
  #perform;
  #listRemoved;
  /** As of when the dialog was opened. @type {Choices | null} */
  #before = null;

  /**
   * @param {(offer: Offer) => Promise<boolean>} perform
   * @param {() => Promise<Removed[]>} listRemoved
   */
  constructor(perform, listRemoved) {
    this.#perform = perform;
    this.#listRemoved = listRemoved;
    this.#form.onsubmit = async (event) => {
      event.preventDefault();
      if (await this.#save()) this.#dialog.close();
    };
    byId("settings-cancel", HTMLButtonElement).onclick = () => this.#dialog.close();
    byId("close-room", HTMLButtonElement).onclick = () => this.#perform({ label: "", type: "close", body: {}, question: closing });
  }

  /** @param {Call} call */
  open(call) {
    const { state } = call.replica;
    if (!state) return;
    this.#before = choicesOf(state.settings);
    this.#fill(this.#before);
    this.follow(call);
    this.#dialog.showModal();
    this.#showRemoved();
  }

  /**
   * Closes when the user moderates no more.
   *
   * @param {Call} call
   */
  follow(call) {
    const me = call.me();
    byId("closing", HTMLElement).hidden = me?.role !== "host";
    if (this.#dialog.open && !(call.status === "connected" && moderates(me))) this.#dialog.close();
  }

  /** @param {Choices} choices */
  #fill(choices) {
    for (const [name, value] of Object.entries(choices)) {
      const field = this.#field(name);
      if (field instanceof HTMLInputElement && field.type === "checkbox") field.checked = Boolean(value);
      else field.value = String(value);
    }
    // Whoever made the room may have chosen a time that the list does not have.
    const seconds = /** @type {HTMLSelectElement} */ (this.#field("speakingSeconds"));
    if (seconds.value === "") {
      seconds.add(new Option(`${choices.speakingSeconds} seconds`, String(choices.speakingSeconds)));
      seconds.value = String(choices.speakingSeconds);
    }
  }

  /**
   * @param {string} name
   * @returns {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement}
   */
  #field(name) {
    return /** @type {any} */ (this.#form.elements.namedItem(name));
  }

  async #save() {
    const value = (/** @type {string} */ name) => this.#field(name).value.trim();
    const after = /** @type {Choices} */ ({
      displayName: value("displayName"),
      access: value("access"),
      micPolicy: value("micPolicy"),
      muteOnEntry: /** @type {HTMLInputElement} */ (this.#field("muteOnEntry")).checked,
      speakingSeconds: Number(value("speakingSeconds")),
      announcement: value("announcement"),
    });
    const body = changesOf(this.#before ?? after, after);
    return Object.keys(body).length === 0 || this.#perform({ label: "", type: "configure", body });
  }

  async #showRemoved() {
    const people = await this.#listRemoved();
    byId("removed-box", HTMLElement).hidden = people.length === 0;
    const template = byId("removed-template", HTMLTemplateElement);
    renderList(this.#removed, people, ({ member, name }) => `${member} ${name}`, template, (element, { member, name, banned }) => {
      setText(child(element, ".name"), name || (member ? `Guest ${member}` : "Somebody who was never here"));
      setText(child(element, ".state"), banned ? "Banned" : "Removed");
      const again = child(element, "button");
      again.hidden = !member; // the room's owner lists and strikes out those
      again.onclick = async () => {
        if (await this.#perform({ label: "", type: "unban", body: { member } })) await this.#showRemoved();
      };
    });
  }
}
