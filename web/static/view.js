// The page: two phases, the lobby and the call. Renders what a Call says and nothing else.

import { byId, setData, setText } from "./dom.js";
import { InviteDialog } from "./invites.js";
import { Messages } from "./messages.js";
import { People } from "./people.js";
import { Questions } from "./question.js";
import { Refusal, sentence } from "./refusal.js";
import { SettingsDialog } from "./settings.js";
import { Sound } from "./sound.js";
import { moderates } from "./state.js";
import { Tools } from "./tools.js";

/**
 * @typedef {import("./call.js").Call} Call
 *
 * @typedef {object} Actions  what the user can ask for
 * @property {(name: string) => void} join
 * @property {() => void} leave
 * @property {(type: string, body: object) => Promise<boolean>} command  false if it was refused
 * @property {(muted: boolean) => void} mute
 * @property {(text: string) => Promise<boolean>} say  false if it could not be said
 * @property {() => void} earlier
 * @property {() => void} copyLink    the room's
 * @property {(url: string) => Promise<void>} copy
 * @property {(wish: import("./invites.js").InviteWish) => Promise<string>} invite  a link, "" if it was refused
 * @property {() => Promise<import("./settings.js").Removed[]>} removed
 */

const noticeTime = 6000; // ms

const connections = { joining: "Joining…", connected: "Connected", reconnecting: "Reconnecting…", ended: "Left" };

export class View {
  #body = document.body;
  #name = byId("name", HTMLInputElement);
  #notice = byId("notice", HTMLElement);
  #noticeTimer = 0;
  #title = "";
  #actions;
  #people;
  #tools;
  #messages;
  #questions = new Questions();
  #settings;
  #invites;
  /** What is rendered. @type {Call | null} */
  #call = null;

  /** @param {Actions} actions */
  constructor(actions) {
    const perform = (/** @type {import("./powers.js").Offer} */ offer) => this.#perform(offer);
    this.#actions = actions;
    this.#people = new People(perform);
    this.#tools = new Tools(actions);
    this.#messages = new Messages(actions.say, actions.earlier);
    this.#settings = new SettingsDialog(perform, actions.removed);
    this.#invites = new InviteDialog(actions.invite, actions.copy, perform);
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
    byId("unlock", HTMLButtonElement).onclick = () => {
      byId("blocked", HTMLElement).hidden = true;
      this.sound.unlock();
    };
    byId("copy-link", HTMLButtonElement).onclick = actions.copyLink;
    byId("invite", HTMLButtonElement).onclick = () => this.#invites.open();
    byId("setup", HTMLButtonElement).onclick = () => this.#call && this.#settings.open(this.#call);
  }

  /**
   * Does what an offer says, once the user has answered its question.
   *
   * @param {import("./powers.js").Offer} offer
   * @returns {Promise<boolean>} whether it was done
   */
  async #perform({ type = "", body = {}, question }) {
    const answer = question ? await this.#questions.ask(question) : {};
    return answer !== null && this.#actions.command(type, { ...body, ...answer });
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
    this.#call = call;
    const phase = { joining: "joining", connected: "call", reconnecting: "call", ended: "lobby" }[call.status];
    if (this.#body.dataset.phase !== phase) this.#enter(phase);
    this.#body.dataset.connection = call.status;
    if (phase !== "call") return this.#renderLobby(call);
    setText(byId("connection", HTMLElement), connections[call.status]);
    this.#messages.render(call);
    const { state } = call.replica;
    if (!state) return;
    this.#renderHead(call, state);
    this.#people.render(call, state);
    this.#tools.render(call, state);
    this.#settings.follow(call);
    this.#invites.follow(call);
  }

  /**
   * @param {Call} call
   * @param {import("./state.js").RoomState} state
   */
  #renderHead(call, state) {
    const { displayName, announcement = "" } = state.settings;
    this.#setTitle(displayName || this.#title);
    setText(byId("count", HTMLElement), ` · ${state.members.length + call.replica.omitted} here`);
    setText(byId("announcement-text", HTMLElement), announcement);
    byId("announcement", HTMLElement).hidden = announcement === "";
    const moderator = moderates(call.me());
    byId("invite", HTMLElement).hidden = byId("setup", HTMLElement).hidden = !moderator;
    byId("copy-link", HTMLElement).hidden = moderator;
  }

  /**
   * Shows what time alone changes; runs many times a second.
   *
   * @param {Call} call
   */
  renderTime(call) {
    byId("unsaved", HTMLElement).hidden = !(call.copy.late && moderates(call.me()));
    this.#people.renderTime(call);
    this.#tools.renderTime(call);
  }

  /**
   * Tells the user for a while.
   *
   * @param {string} text
   * @param {boolean} [calm]  whether it is news rather than a failure
   */
  tell(text, calm = false) {
    clearTimeout(this.#noticeTimer);
    setText(this.#notice, text);
    setData(this.#notice, { calm });
    // What is outside of an open dialog can be neither seen nor heard.
    (document.querySelector("dialog:modal") ?? this.#body).append(this.#notice);
    this.#notice.hidden = false;
    this.#noticeTimer = setTimeout(() => (this.#notice.hidden = true), noticeTime);
  }

  /** @param {string} url  which the user copies by hand */
  showLink(url) {
    this.#questions.ask({ title: "Copy this link", yes: "Done", field: { label: "The link", value: url, name: "url", max: url.length } });
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
    if (phase !== "lobby") return;
    this.sound.stop();
    for (const dialog of document.querySelectorAll("dialog")) dialog.close();
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

  /** @param {string} title */
  #setTitle(title) {
    this.#title = title;
    setText(byId("lobby-title", HTMLElement), title);
    setText(byId("room-title", HTMLElement), title);
    document.title = `${title} – Voiceroom`;
  }
}
