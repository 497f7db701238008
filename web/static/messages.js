// The chat beside the people.

import { byId, child, renderList, setText } from "./dom.js";

/**
 * @typedef {import("./api.js").Message} Message
 * @typedef {import("./call.js").Call} Call
 */

const nearEnd = 40; // px from the end of the list within which the newest message is followed

export class Messages {
  #list = byId("messages", HTMLOListElement);
  #box = byId("messages-box", HTMLElement);
  #text = byId("text", HTMLInputElement);
  #send = byId("send", HTMLButtonElement);
  /** @type {Message[] | null} */
  #shown = null;

  /**
   * @param {(text: string) => Promise<boolean>} say  false if it could not be said
   * @param {() => void} earlier
   */
  constructor(say, earlier) {
    byId("say", HTMLFormElement).onsubmit = async (event) => {
      event.preventDefault();
      const text = this.#text.value.trim();
      if (text && (await say(text)) && this.#text.value.trim() === text) this.#text.value = "";
    };
    byId("earlier", HTMLButtonElement).onclick = earlier;
  }

  /** @param {Call} call */
  render(call) {
    this.#renderForm(call.me()?.chatMuted ?? false);
    const { messages, earlier } = call.chat;
    if (messages === this.#shown) return;
    this.#shown = messages;
    const box = this.#box;
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < nearEnd;
    byId("earlier", HTMLElement).hidden = !earlier;
    byId("no-messages", HTMLElement).hidden = messages.length > 0;
    const template = byId("message-template", HTMLTemplateElement);
    renderList(this.#list, messages, (m) => String(m.seq), template, (element, message) => {
      setText(child(element, ".author"), message.name || "Someone");
      setText(child(element, "p"), message.text);
      const time = child(element, "time");
      time.setAttribute("datetime", message.time);
      setText(time, new Date(message.time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
    });
    if (atEnd) box.scrollTop = box.scrollHeight;
  }

  /** @param {boolean} muted */
  #renderForm(muted) {
    this.#text.disabled = this.#send.disabled = muted;
    this.#text.placeholder = muted ? "A host muted you here" : "Write a message";
  }
}
