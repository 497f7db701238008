// What is heard: one audio element for each receiving slot.

export class Sound {
  #box;
  #blocked;

  /**
   * @param {HTMLElement} box       that holds the elements
   * @param {() => void} blocked    the browser wants a gesture first: call unlock in one
   */
  constructor(box, blocked) {
    this.#box = box;
    this.#blocked = blocked;
  }

  /**
   * Plays a slot's track instead of the one before.
   *
   * @param {number} slot
   * @param {MediaStreamTrack} track
   */
  play(slot, track) {
    const audio = this.#element(slot);
    audio.srcObject = new MediaStream([track]);
    this.#start(audio);
  }

  /**
   * Notes whose voice is on which slot.
   *
   * @param {{slot: number, member: number}[]} slots
   */
  label(slots) {
    for (const { slot, member } of slots) this.#element(slot).dataset.member = String(member);
  }

  unlock() {
    for (const audio of this.#box.querySelectorAll("audio")) this.#start(audio);
  }

  stop() {
    this.#box.replaceChildren();
  }

  /** @param {HTMLAudioElement} audio */
  #start(audio) {
    audio.play().catch((error) => {
      if (error.name === "NotAllowedError") this.#blocked();
    });
  }

  /** @param {number} slot */
  #element(slot) {
    const selector = `audio[data-slot="${slot}"]`;
    const found = /** @type {HTMLAudioElement | null} */ (this.#box.querySelector(selector));
    if (found) return found;
    const audio = document.createElement("audio");
    audio.dataset.slot = String(slot);
    this.#box.append(audio);
    return audio;
  }
}
