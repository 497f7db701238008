// Who is on a seat, whose hand is raised, who listens, and who is speaking.

import { duration } from "./clock.js";
import { byId, child, renderList, setData, setText } from "./dom.js";
import { Menu } from "./menu.js";
import { avatarOf, nameOf, roleOf } from "./names.js";
import { answersTo, mayActOn, offerToAll, offersOfSeat, offersTo } from "./powers.js";
import { seatName, seatsOf } from "./seats.js";
import { handsOf, memberOf, moderates } from "./state.js";

/**
 * @typedef {import("./call.js").Call} Call
 * @typedef {import("./powers.js").Offer} Offer
 * @typedef {import("./powers.js").Viewer} Viewer
 * @typedef {import("./seats.js").Seat} Seat
 * @typedef {import("./state.js").Member} Member
 * @typedef {import("./state.js").RoomState} RoomState
 */

const shownListeners = 200;

/**
 * @param {RoomState} state
 * @returns {Member[]} who is on no microphone and raises no hand
 */
export function listenersOf(state) {
  const talkers = new Set(state.mics.map((mic) => mic.member));
  return state.members.filter((member) => !talkers.has(member.id) && !member.hand);
}

export class People {
  #mics = byId("mics", HTMLElement);
  #hands = byId("hands", HTMLElement);
  #listeners = byId("listeners", HTMLElement);
  #muteAll = byId("mute-all", HTMLButtonElement);
  #clearHands = byId("clear-hands", HTMLButtonElement);
  #perform;
  #menu;
  /** What was rendered last. @type {RoomState | null} */
  #state = null;
  /** @type {Viewer} */
  #viewer = { me: undefined, owner: false };

  /** @param {(offer: Offer) => void} perform */
  constructor(perform) {
    this.#perform = perform;
    this.#menu = new Menu(perform);
  }

  /**
   * @param {Call} call
   * @param {RoomState} state
   */
  render(call, state) {
    this.#state = state;
    this.#viewer = { me: call.me(), owner: call.owner };
    this.#renderSeats(state);
    this.#renderHands(state);
    this.#renderListeners(state, call.replica.omitted);
    this.#menu.refresh();
  }

  /** @param {RoomState} state */
  #renderSeats(state) {
    const { seats, more } = seatsOf(state);
    setText(byId("mics-count", HTMLElement), `${state.mics.length} of ${state.settings.maxMics}`);
    const all = moderates(this.#viewer.me) ? offerToAll(state) : null;
    this.#muteAll.hidden = all === null;
    if (all) this.#button(this.#muteAll, all);
    const template = byId("mic-template", HTMLTemplateElement);
    renderList(this.#mics, seats, ({ index }) => String(index), template, (element, seat) => this.#seat(element, state, seat));
    const rest = byId("seats-more", HTMLElement);
    rest.hidden = more === 0;
    setText(rest, `${more} more free seats`);
  }

  /**
   * @param {HTMLElement} element
   * @param {RoomState} state
   * @param {Seat} seat
   */
  #seat(element, state, seat) {
    const { index, mic, locked } = seat;
    setData(element, { seat: String(index), free: !mic && !locked, locked: !mic && locked, muted: mic?.muted, modMuted: mic?.modMuted });
    setText(child(element, ".number"), String(index + 1));
    this.#buttons(element, offersOfSeat(state, this.#viewer.me, seat), seatName(index));
    setData(child(element, ".turn"), { until: mic?.until });
    if (!mic) {
      setData(element, { member: undefined, self: undefined, role: undefined, away: undefined, speaking: undefined });
      setText(child(element, ".name"), locked ? "Locked" : "Free");
      for (const empty of [".role", ".state", ".turn"]) setText(child(element, empty), "");
      child(element, ".more").hidden = true;
      return;
    }
    const member = seat.member ?? { id: mic.member, role: "speaker", status: "entered" };
    this.#person(element, member);
    setText(child(element, ".state"), mic.modMuted ? "Muted by a host" : mic.muted ? "Muted" : "");
  }

  /** @param {RoomState} state */
  #renderHands(state) {
    const hands = handsOf(state);
    const moderator = moderates(this.#viewer.me);
    byId("hands-box", HTMLElement).hidden = hands.length === 0;
    setText(byId("hands-count", HTMLElement), String(hands.length));
    this.#clearHands.hidden = !moderator;
    this.#button(this.#clearHands, { label: "Clear all", type: "clear-hands", body: {} });
    const template = byId("person-template", HTMLTemplateElement);
    renderList(this.#hands, hands, ({ id }) => String(id), template, (element, member) => {
      this.#person(element, member);
      const { priority } = member.hand ?? {};
      setText(child(element, ".state"), member.status !== "entered" ? "Reconnecting…" : priority ? `Priority ${priority}` : "");
      this.#buttons(element, moderator && member.id !== this.#viewer.me?.id ? answersTo(member) : [], nameOf(member));
    });
  }

  /**
   * @param {RoomState} state
   * @param {number} omitted  how many more there are, of whom nothing is known
   */
  #renderListeners(state, omitted) {
    const listeners = listenersOf(state);
    const shown = listeners.slice(0, shownListeners);
    const more = listeners.length - shown.length + omitted;
    setText(byId("listeners-count", HTMLElement), String(listeners.length + omitted));
    const template = byId("person-template", HTMLTemplateElement);
    renderList(this.#listeners, shown, ({ id }) => String(id), template, (element, member) => {
      this.#person(element, member);
      setText(child(element, ".state"), member.status !== "entered" ? "Reconnecting…" : member.askedUntil ? "Asked to speak" : "");
    });
    const rest = byId("listeners-more", HTMLElement);
    rest.hidden = more === 0;
    setText(rest, shown.length > 0 ? `and ${more} more` : `${more} people`);
  }

  /**
   * Shows who is speaking, and how long turns have left; runs many times a second.
   *
   * @param {Call} call
   */
  renderTime(call) {
    const now = performance.now();
    for (const element of this.#mics.children) {
      if (!(element instanceof HTMLElement) || !element.dataset.member) continue;
      const level = call.levels.of(Number(element.dataset.member), now);
      setData(element, { speaking: level > 0 });
      element.style.setProperty("--level", Math.min(1, Math.sqrt(level) * 1.6).toFixed(2));
      const turn = child(element, ".turn");
      setText(turn, turn.dataset.until ? `${duration(call.left(turn.dataset.until))} left` : "");
    }
  }

  /**
   * @param {HTMLElement} element
   * @param {Member} member
   */
  #person(element, member) {
    const name = nameOf(member);
    const self = member.id === this.#viewer.me?.id;
    setData(element, { member: String(member.id), self, role: member.role, away: member.status !== "entered" });
    setText(child(element, ".name"), self ? `${name} (you)` : name);
    setText(child(element, ".role"), roleOf(member));
    setData(child(element, ".chat-muted"), { on: member.chatMuted });
    const avatar = child(element, ".avatar");
    const { letter, colour } = avatarOf(member);
    setText(avatar, letter);
    avatar.dataset.colour = colour;
    const more = /** @type {HTMLButtonElement} */ (child(element, ".more"));
    more.hidden = !self && !mayActOn(this.#viewer.me, member); // there is something to offer then
    more.setAttribute("aria-label", self ? "You…" : `${name}…`);
    this.#menu.attach(more, () => this.#subject(member.id));
  }

  /** @param {number} id */
  #subject(id) {
    const member = this.#state ? memberOf(this.#state, id) : undefined;
    if (!this.#state || !member) return null;
    return { title: nameOf(member), offers: offersTo(this.#state, this.#viewer, member) };
  }

  /**
   * @param {HTMLElement} element
   * @param {Offer[]} offers
   * @param {string} whom  what the offers are about, for who does not see it
   */
  #buttons(element, offers, whom) {
    const box = child(element, ".actions");
    renderList(box, offers, ({ label }) => label, byId("action-template", HTMLTemplateElement), (button, offer) => {
      this.#button(/** @type {HTMLButtonElement} */ (button), offer);
      button.setAttribute("aria-label", `${offer.label}: ${whom}`);
    });
  }

  /**
   * @param {HTMLButtonElement} button
   * @param {Offer} offer
   */
  #button(button, offer) {
    setText(button, offer.label);
    button.dataset.command = offer.type;
    button.onclick = () => this.#perform(offer);
  }
}
