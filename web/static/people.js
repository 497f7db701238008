// Who is on a microphone, who listens, and who is speaking.

import { byId, child, renderList, setData, setText } from "./dom.js";
import { memberOf, moderates } from "./state.js";

/**
 * @typedef {import("./call.js").Call} Call
 * @typedef {import("./state.js").Member} Member
 * @typedef {import("./state.js").Mic} Mic
 * @typedef {import("./state.js").RoomState} RoomState
 *
 * @typedef {object} Seat  a held microphone, or those that are free
 * @property {Mic} [mic]
 * @property {Member} [member]
 * @property {number} free
 *
 * @typedef {object} Offer  what a moderator can do to somebody
 * @property {string} label
 * @property {string} type
 * @property {object} body
 */

const shownListeners = 200;
const colours = 8; // that style.css knows

/** @param {Member | undefined} member */
export function nameOf(member) {
  return member?.name || (member ? `Guest ${member.id}` : "Someone");
}

/**
 * @param {RoomState} state
 * @returns {Seat[]} the held microphones by index, and the free ones as one seat
 */
export function seatsOf(state) {
  const { members, mics, settings } = state;
  /** @type {Seat[]} */
  const seats = mics.map((mic) => ({ mic, member: members.find((m) => m.id === mic.member), free: 0 }));
  const free = settings.maxMics - mics.length;
  return free > 0 ? [...seats, { free }] : seats;
}

/**
 * @param {RoomState} state
 * @returns {Member[]} who is on no microphone: raised hands first, longest raised first
 */
export function listenersOf(state) {
  const talkers = new Set(state.mics.map((mic) => mic.member));
  const raised = (/** @type {Member} */ member) => (member.handAt ? Date.parse(member.handAt) : Infinity);
  return state.members
    .filter((member) => !talkers.has(member.id))
    .sort((a, b) => (raised(a) === raised(b) ? a.id - b.id : raised(a) - raised(b)));
}

export class People {
  #mics = byId("mics", HTMLUListElement);
  #listeners = byId("listeners", HTMLUListElement);
  #command;

  /** @param {(type: string, body: object) => void} command  a moderator's */
  constructor(command) {
    this.#command = command;
  }

  /**
   * @param {Call} call
   * @param {RoomState} state
   */
  render(call, state) {
    const seats = seatsOf(state);
    const listeners = listenersOf(state);
    const moderator = moderates(memberOf(state, call.self));
    setText(byId("mics-count", HTMLElement), `${state.mics.length} of ${state.settings.maxMics}`);
    setText(byId("listeners-count", HTMLElement), String(listeners.length + call.replica.omitted));
    const seat = byId("mic-template", HTMLTemplateElement);
    renderList(this.#mics, seats, (s) => String(s.mic?.grant ?? "free"), seat, (element, { mic, member, free }) => {
      setData(element, { free: !mic, muted: mic?.muted, modMuted: mic?.modMuted });
      if (!mic) return setText(child(element, ".name"), `${free} free`);
      this.#person(element, call, member ?? { id: mic.member, role: "speaker", status: "" });
      setText(child(element, ".state"), mic.modMuted ? "Muted by a host" : mic.muted ? "Muted" : "");
      this.#offer(element, moderator && mic.member !== call.self ? offersOnMic(mic) : []);
    });
    const listener = byId("listener-template", HTMLTemplateElement);
    renderList(this.#listeners, listeners.slice(0, shownListeners), (m) => String(m.id), listener, (element, member) => {
      setData(element, { hand: member.handAt !== undefined });
      this.#person(element, call, member);
      setText(child(element, ".state"), member.handAt ? "Hand raised" : member.status === "away" ? "Reconnecting…" : "");
      this.#offer(element, moderator ? offersToListener(member, call.self) : []);
    });
  }

  /**
   * Shows who is speaking; runs many times a second.
   *
   * @param {Call} call
   */
  renderLevels(call) {
    const now = performance.now();
    for (const element of this.#mics.children) {
      if (!(element instanceof HTMLElement) || !element.dataset.member) continue;
      const level = call.levels.of(Number(element.dataset.member), now);
      setData(element, { speaking: level > 0 });
      element.style.setProperty("--level", Math.min(1, Math.sqrt(level) * 1.6).toFixed(2));
    }
  }

  /**
   * @param {HTMLElement} element
   * @param {Call} call
   * @param {Member} member
   */
  #person(element, call, member) {
    const name = nameOf(member);
    const self = member.id === call.self;
    setData(element, { member: String(member.id), self, role: member.role, away: member.status === "away" });
    setText(child(element, ".name"), self ? `${name} (you)` : name);
    const avatar = child(element, ".avatar");
    setText(avatar, [...name.trim()][0]?.toLocaleUpperCase() ?? "?");
    avatar.dataset.colour = String(member.id % colours);
  }

  /**
   * @param {HTMLElement} element
   * @param {Offer[]} offers
   */
  #offer(element, offers) {
    const box = child(element, ".actions");
    const wanted = JSON.stringify(offers);
    if (box.dataset.offers === wanted) return;
    box.dataset.offers = wanted;
    box.replaceChildren(...offers.map(({ label, type, body }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.onclick = () => this.#command(type, body);
      return button;
    }));
  }
}

/**
 * @param {Mic} mic
 * @returns {Offer[]}
 */
function offersOnMic(mic) {
  const { member, modMuted } = mic;
  return [
    { label: modMuted ? "Lift mute" : "Mute", type: "mute-member", body: { member, muted: !modMuted } },
    { label: "Take mic away", type: "pull-mic", body: { member } },
  ];
}

/**
 * @param {Member} member
 * @param {number} self
 * @returns {Offer[]}
 */
function offersToListener(member, self) {
  if (member.id === self) return [];
  const give = { label: "Give mic", type: "give-mic", body: { member: member.id, index: -1 } };
  const lower = { label: "Lower hand", type: "lower-hand", body: { member: member.id } };
  return member.handAt ? [give, lower] : [give];
}
