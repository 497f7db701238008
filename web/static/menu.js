// The page's one menu: what the user can do to somebody. It follows the room while it is open.

import { byId, renderList, setData, setText } from "./dom.js";

/**
 * @typedef {import("./powers.js").Offer} Offer
 *
 * @typedef {object} Subject    what a menu is about
 * @property {string} title
 * @property {Offer[]} offers
 */

export class Menu {
  #box = byId("menu", HTMLElement);
  #list = byId("menu-list", HTMLElement);
  #perform;
  /** @type {HTMLElement | null} */
  #button = null;
  /** Asked again whenever the room changes. @type {() => Subject | null} */
  #subject = () => null;
  #inner = ""; // the label of the offer whose choice is shown

  /** @param {(offer: Offer) => void} perform */
  constructor(perform) {
    this.#perform = perform;
    this.#box.addEventListener("toggle", (event) => {
      if (/** @type {ToggleEvent} */ (event).newState === "open") this.#items()[0]?.focus();
      else this.#button = null;
    });
    this.#box.onkeydown = (event) => this.#key(event);
  }

  /**
   * Makes a button open the menu; the browser opens and closes it, and says so to screen readers.
   *
   * @param {HTMLButtonElement} button
   * @param {() => Subject | null} subject  null: there is nobody any more
   */
  attach(button, subject) {
    button.popoverTargetElement = this.#box;
    button.setAttribute("aria-haspopup", "menu");
    button.onclick = () => {
      this.#button = button;
      this.#subject = subject;
      this.#inner = "";
      this.refresh();
    };
  }

  /** Shows what can be done now. */
  refresh() {
    if (!this.#button) return;
    const subject = this.#button.isConnected ? this.#subject() : null;
    if (!subject || subject.offers.length === 0) return this.#box.hidePopover();
    const inner = subject.offers.find(({ label, more }) => more && label === this.#inner);
    setText(byId("menu-title", HTMLElement), subject.title);
    const back = { label: "Back", more: subject.offers };
    this.#render(inner?.more ? [back, ...inner.more] : subject.offers);
  }

  /** @param {Offer[]} offers */
  #render(offers) {
    const template = byId("menu-item-template", HTMLTemplateElement);
    renderList(this.#list, offers, ({ label }) => label, template, (element, offer) => {
      setText(element, offer.label);
      setData(element, { danger: offer.danger, more: offer.more !== undefined && offer.label !== "Back", back: offer.label === "Back" });
      element.onclick = () => this.#choose(offer);
      element.onpointerenter = () => element.focus();
    });
  }

  /** @param {Offer} offer */
  #choose(offer) {
    if (!offer.more) {
      this.#box.hidePopover();
      this.#perform(offer);
      return;
    }
    this.#inner = offer.label;
    this.refresh();
    this.#items()[0]?.focus();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const items = this.#items();
    const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      items.at(to % items.length)?.focus();
    } else if (event.key === "Tab") {
      this.#box.hidePopover();
    }
  }

  #items() {
    return /** @type {HTMLElement[]} */ ([...this.#list.children]);
  }
}
