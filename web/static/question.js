// What is asked before something is done that cannot simply be undone, or that needs a text.

import { byId, setData, setText } from "./dom.js";

/** @typedef {import("./powers.js").Question} Question */

export class Questions {
  #dialog = byId("question", HTMLDialogElement);
  #form = byId("question-form", HTMLFormElement);
  #yes = byId("question-yes", HTMLButtonElement);
  /** @type {(answer: Record<string, string> | null) => void} */
  #answer = () => {};

  constructor() {
    this.#form.onsubmit = (event) => {
      event.preventDefault();
      this.#answer(this.#values());
      this.#dialog.close();
    };
    byId("question-no", HTMLButtonElement).onclick = () => this.#dialog.close();
    this.#dialog.onclose = () => this.#answer(null); // unless it was answered
  }

  /**
   * @param {Question} question
   * @returns {Promise<Record<string, string> | null>} the field's value by its name, if there is one; null: no
   */
  ask({ title, text = "", yes, danger = false, field }) {
    this.#answer(null);
    setText(byId("question-title", HTMLElement), title);
    setText(byId("question-text", HTMLElement), text);
    byId("question-text", HTMLElement).hidden = text === "";
    setText(this.#yes, yes);
    setData(this.#yes, { danger });
    const box = byId("question-field", HTMLElement);
    box.replaceChildren();
    if (field) {
      const label = document.createElement("label");
      label.append(field.label);
      const input = document.createElement(field.lines ? "textarea" : "input");
      Object.assign(input, { name: field.name, value: field.value, maxLength: field.max, required: field.required ?? false });
      if (input instanceof HTMLTextAreaElement) input.rows = field.lines ?? 1;
      label.append(input);
      box.append(label);
    }
    this.#dialog.showModal();
    return new Promise((resolve) => (this.#answer = resolve));
  }

  /** @returns {Record<string, string>} */
  #values() {
    return Object.fromEntries([...new FormData(this.#form)].map(([name, value]) => [name, String(value).trim()]));
  }
}
