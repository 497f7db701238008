// What the user does about its own voice: the toolbar, and the answer to who asks it to speak.

import { byId, child, setData, setText } from "./dom.js";
import { mayRaiseHand, mayTake } from "./powers.js";
import { isLive } from "./state.js";

/**
 * @typedef {import("./call.js").Call} Call
 *
 * @typedef {object} ToolActions
 * @property {(type: string, body: object) => void} command
 * @property {(muted: boolean) => void} mute
 * @property {() => void} leave
 */

export class Tools {
  #take = byId("take", HTMLButtonElement);
  #mute = byId("mute", HTMLButtonElement);
  #stepDown = byId("step-down", HTMLButtonElement);
  #hand = byId("hand", HTMLButtonElement);
  #asked = byId("asked", HTMLElement);
  #until = ""; // when the question to speak runs out

  /** @param {ToolActions} actions */
  constructor(actions) {
    this.#take.onclick = () => actions.command("take-mic", { index: -1 });
    this.#stepDown.onclick = () => actions.command("leave-mic", {});
    this.#mute.onclick = () => actions.mute(!isOn(this.#mute));
    this.#hand.onclick = () => actions.command("hand", { raised: !isOn(this.#hand) });
    byId("leave", HTMLButtonElement).onclick = actions.leave;
    byId("asked-yes", HTMLButtonElement).onclick = () => actions.command("answer-ask", { accept: true });
    byId("asked-no", HTMLButtonElement).onclick = () => actions.command("answer-ask", { accept: false });
  }

  /**
   * @param {Call} call
   * @param {import("./state.js").RoomState} state
   */
  render(call, state) {
    const mic = call.mic();
    const me = call.me();
    const canTake = mayTake(state, me);
    this.#take.hidden = mic !== undefined || !canTake;
    this.#mute.hidden = this.#stepDown.hidden = mic === undefined;
    this.#hand.hidden = me?.hand === undefined && !mayRaiseHand(state, me);
    byId("listen-only", HTMLElement).hidden = [this.#take, this.#mute, this.#hand].some(({ hidden }) => !hidden);
    const off = call.status !== "connected";
    for (const button of [this.#take, this.#mute, this.#stepDown, this.#hand]) button.disabled = off;
    this.#mute.disabled ||= Boolean(mic?.modMuted);
    this.#hand.classList.toggle("primary", !canTake && !me?.hand);
    setSwitch(this.#mute, mic?.muted || mic?.modMuted, mic?.modMuted ? "Muted by a host" : mic?.muted ? "Unmute" : "Mute");
    setSwitch(this.#hand, me?.hand !== undefined, me?.hand ? "Lower hand" : "Raise hand");
    this.#mute.querySelector("use")?.setAttribute("href", isLive(mic) ? "#icon-mic" : "#icon-mic-off");
    this.#until = (!off && me?.askedUntil) || "";
    this.#asked.hidden = this.#until === "";
  }

  /**
   * Counts down; runs many times a second.
   *
   * @param {Call} call
   */
  renderTime(call) {
    if (this.#until) setText(byId("asked-left", HTMLElement), `${call.left(this.#until)} s`);
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
