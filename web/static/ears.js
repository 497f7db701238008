// What is heard: the slots of one connection at a time.

import { sleep } from "./sleep.js";

/** @typedef {import("./rtc.js").Connection} Connection */

const patience = 1500; // ms that a next connection may bring no audio before it is listened to all the same

export class Ears {
  /** @type {Connection | null} */
  #connection = null;
  #watcher;

  /** @param {Pick<import("./call.js").Watcher, "track" | "slots">} watcher */
  constructor(watcher) {
    this.#watcher = watcher;
  }

  /**
   * Listens to the first connection, of which nothing has come yet.
   *
   * @param {Connection} connection
   */
  begin(connection) {
    this.#connection ??= connection;
  }

  /** Listens to none. */
  end() {
    this.#connection = null;
  }

  /**
   * Listens to the next connection from when it brings somebody's audio, and until then to the one before.
   *
   * @param {Connection} old
   * @param {Connection} next
   * @param {AbortSignal} signal
   */
  async changeOver(old, next, signal) {
    await Promise.race([next.heard(signal), old.ended, sleep(patience, signal)]);
    if (next.over || this.#connection !== old) return;
    this.#connection = next;
    next.tracks().forEach((track, slot) => this.#watcher.track(slot, track));
    this.#watcher.slots(next.slots);
  }

  /**
   * @param {Connection} connection
   * @param {number} slot
   * @param {MediaStreamTrack} track
   */
  track(connection, slot, track) {
    if (connection === this.#connection) this.#watcher.track(slot, track);
  }

  /**
   * @param {Connection} connection
   * @param {{slot: number, member: number}[]} slots
   */
  slots(connection, slots) {
    connection.slots = slots;
    if (connection === this.#connection) this.#watcher.slots(slots);
  }

  /** @returns {RTCRtpContributingSource[][]} by slot: who was heard of late */
  sources() {
    return this.#connection?.sources() ?? [];
  }
}
