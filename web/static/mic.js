// The device: opened only while a virtual microphone is held, and given back with it.

import { Refusal } from "./refusal.js";

export class Microphone {
  /** @type {MediaStreamTrack | null} */
  #track = null;
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {AnalyserNode | null} */
  #analyser = null;

  /**
   * Asks for the device; the browser asks its user.
   *
   * @returns {Promise<MediaStreamTrack>} rejects with a Refusal
   */
  async open() {
    if (this.#track) return this.#track;
    if (!navigator.mediaDevices) throw new Refusal("mic-denied"); // not a secure context
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
      });
    } catch (error) {
      const missing = error instanceof DOMException && error.name === "NotFoundError";
      throw new Refusal(missing ? "mic-missing" : "mic-denied");
    }
    this.#track = stream.getAudioTracks()[0];
    this.#context = new AudioContext();
    this.#analyser = this.#context.createAnalyser();
    this.#context.createMediaStreamSource(stream).connect(this.#analyser);
    return this.#track;
  }

  /** @param {boolean} on  while off, the device sends silence */
  enable(on) {
    if (this.#track) this.#track.enabled = on;
  }

  /** @returns {number} how loud the user is now: the root mean square, 0 to 1 */
  level() {
    if (!this.#analyser) return 0;
    const samples = new Float32Array(this.#analyser.fftSize);
    this.#analyser.getFloatTimeDomainData(samples);
    return Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
  }

  close() {
    this.#track?.stop();
    this.#context?.close();
    this.#track = this.#context = this.#analyser = null;
  }
}
