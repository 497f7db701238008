// The page: two phases, the lobby and the call. Renders what a Call says and nothing else.

import { byId, child, renderList, setData, setText } from "./dom.js";
import { People } from "./people.js";
import { Refusal, sentence } from "./refusal.js";
import { Sound } from "./sound.js";
import { isLive } from "./state.js";

/**
 * @typedef {import("./api.js").RoomSummary} RoomSummary
 * @typedef {import("./call.js").Call} Call
 *
 * @typedef {object} Actions  what the user can ask for
 * @property {(name: string) => void} join
 * @property {() => void} leave
 * @property {(type: string, body: object) => void} command
 * @property {(muted: boolean) => void} mute
 * @property {(text: string) => Promise<boolean>} say  false if it could not be said
 * @property {() => void} earlier
 * @property {() => void} invite
 */

const noticeTime = 6000; // ms

const connections = { joining: "Joining…", connected: "Connected", reconnecting: "Reconnecting…", ended: "Left" };

export class View {
  #body = document.body;
  #name = byId("name", HTMLInputElement);
  #text = byId("text", HTMLInputElement);
  #take = byId("take", HTMLButtonElement);
  #mute = byId("mute", HTMLButtonElement);
  #stepDown = byId("step-down", HTMLButtonElement);
  #hand = byId("hand", HTMLButtonElement);
  #messages = byId("messages", HTMLOListElement);
  #messagesBox = byId("messages-box", HTMLElement);
  #notice = byId("notice", HTMLElement);
  #noticeTimer = 0;
  #title = "";
  /** @type {import("./api.js").Message[] | null} */
  #shown = null;
  #people;

  /** @param {Actions} actions */
  constructor(actions) {
    this.#people = new People(actions.command);
    this.sound = new Sound(byId("sound", HTMLElement), () => (byId("blocked", HTMLElement).hidden = false));
    this.#listen(actions);
  }

  /** @param {Actions} actions */
  #listen(actions) {
    byId("join", HTMLFormElement).onsubmit = (event) => {
      event.preventDefault();
      if (this.#body.dataset.phase === "joining") actions.leave();
      else actions.join(this.#name.value.trim());
    };
    byId("say", HTMLFormElement).onsubmit = async (event) => {
      event.preventDefault();
      const text = this.#text.value.trim();
      if (text && (await actions.say(text)) && this.#text.value.trim() === text) this.#text.value = "";
    };
    byId("unlock", HTMLButtonElement).onclick = () => {
      byId("blocked", HTMLElement).hidden = true;
      this.sound.unlock();
    };
    this.#take.onclick = () => actions.command("take-mic", { index: -1 });
    this.#stepDown.onclick = () => actions.command("leave-mic", {});
    this.#mute.onclick = () => actions.mute(!isOn(this.#mute));
    this.#hand.onclick = () => actions.command("hand", { raised: !isOn(this.#hand) });
    byId("leave", HTMLButtonElement).onclick = actions.leave;
    byId("earlier", HTMLButtonElement).onclick = actions.earlier;
    byId("invite", HTMLButtonElement).onclick = actions.invite;
  }

  /**
   * Says which room this is, before there is a call.
   *
   * @param {string} title
   * @param {string} about
   * @param {string} name  the user's, as last time
   */
  lobby(title, about, name) {
    this.#setTitle(title);
    setText(byId("lobby-about", HTMLElement), about);
    this.#name.value ||= name;
  }

  /** @param {string} text  why nobody can join from here */
  refuse(text) {
    this.#lobbyNotice(text, false);
    for (const control of byId("join", HTMLFormElement).elements) control.setAttribute("disabled", "");
  }

  /** @param {Call} call */
  render(call) {
    const phase = { joining: "joining", connected: "call", reconnecting: "call", ended: "lobby" }[call.status];
    if (this.#body.dataset.phase !== phase) this.#enter(phase);
    this.#body.dataset.connection = call.status;
    if (phase !== "call") return this.#renderLobby(call);
    setText(byId("connection", HTMLElement), connections[call.status]);
    this.#renderMessages(call);
    const { state } = call.replica;
    if (!state) return;
    this.#setTitle(state.settings.displayName || this.#title);
    setText(byId("count", HTMLElement), ` · ${state.members.length + call.replica.omitted} here`);
    this.#people.render(call, state);
    this.#renderTools(call);
  }

  /** @param {Call} call */
  renderLevels(call) {
    this.#people.renderLevels(call);
  }

  /**
   * Tells the user for a while.
   *
   * @param {string} text
   */
  tell(text) {
    clearTimeout(this.#noticeTimer);
    setText(this.#notice, text);
    this.#notice.hidden = false;
    this.#noticeTimer = setTimeout(() => (this.#notice.hidden = true), noticeTime);
  }

  /** @param {string} phase */
  #enter(phase) {
    this.#body.dataset.phase = phase;
    const inCall = phase === "call";
    byId("lobby", HTMLElement).hidden = inCall;
    byId("call", HTMLElement).hidden = !inCall;
    this.#name.readOnly = phase === "joining";
    setText(byId("join-button", HTMLElement), phase === "joining" ? "Cancel" : "Join");
    if (inCall) byId("room-title", HTMLElement).focus();
    if (phase === "lobby") this.sound.stop();
  }

  /** @param {Call} call */
  #renderLobby(call) {
    const calm = call.status === "joining" || (call.trouble instanceof Refusal && call.trouble.code === "left");
    this.#lobbyNotice(call.trouble ? sentence(call.trouble) : connections[call.status], calm);
  }

  /**
   * @param {string} text
   * @param {boolean} calm  whether it is news rather than a failure
   */
  #lobbyNotice(text, calm) {
    const notice = byId("lobby-notice", HTMLElement);
    setText(notice, text);
    setData(notice, { calm });
    notice.hidden = false;
  }

  /** @param {Call} call */
  #renderTools(call) {
    const mic = call.mic();
    const me = call.me();
    const off = call.status !== "connected";
    this.#take.hidden = mic !== undefined;
    this.#mute.hidden = this.#stepDown.hidden = mic === undefined;
    this.#hand.hidden = mic !== undefined;
    for (const button of [this.#take, this.#mute, this.#stepDown, this.#hand]) button.disabled = off;
    this.#mute.disabled ||= Boolean(mic?.modMuted);
    setSwitch(this.#mute, mic?.muted, mic?.modMuted ? "Muted by a host" : mic?.muted ? "Unmute" : "Mute");
    setSwitch(this.#hand, me?.handAt !== undefined, me?.handAt ? "Lower hand" : "Raise hand");
    this.#mute.querySelector("use")?.setAttribute("href", isLive(mic) ? "#icon-mic" : "#icon-mic-off");
  }

  /** @param {Call} call */
  #renderMessages(call) {
    const box = this.#messagesBox;
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    const { messages, earlier } = call.chat;
    if (messages === this.#shown) return;
    this.#shown = messages;
    byId("earlier", HTMLElement).hidden = !earlier;
    byId("no-messages", HTMLElement).hidden = messages.length > 0;
    const template = byId("message-template", HTMLTemplateElement);
    renderList(this.#messages, messages, (m) => String(m.seq), template, (element, message) => {
      setText(child(element, ".author"), message.name || "Someone");
      setText(child(element, "p"), message.text);
      const time = child(element, "time");
      time.setAttribute("datetime", message.time);
      setText(time, new Date(message.time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
    });
    if (atEnd) box.scrollTop = box.scrollHeight;
  }

  /** @param {string} title */
  #setTitle(title) {
    this.#title = title;
    setText(byId("lobby-title", HTMLElement), title);
    setText(byId("room-title", HTMLElement), title);
    document.title = `${title} – Voiceroom`;
  }
}

/** @param {HTMLButtonElement} button */
function isOn(button) {
  return button.dataset.on !== undefined;
}

/**
 * A button whose label says what it will do next; data-on is what it has done.
 *
 * @param {HTMLButtonElement} button
 * @param {boolean | undefined} on
 * @param {string} label
 */
function setSwitch(button, on, label) {
  setData(button, { on });
  setText(child(button, "span"), label);
}
