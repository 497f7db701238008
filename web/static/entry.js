// The way into a room: a place, a media connection, and the feedback that it stands.

import { Refusal, backoff, isPassing } from "./refusal.js";
import { sleep } from "./sleep.js";

/**
 * @typedef {import("./api.js").Api} Api
 * @typedef {import("./api.js").Grant} Grant
 * @typedef {import("./identity.js").Identity} Identity
 * @typedef {import("./rtc.js").Connection} Connection
 */

const feedbackAttempts = 8;

export class Entry {
  #api;
  #identity;
  #name;
  #signal;

  /**
   * @param {Api} api
   * @param {Identity} identity
   * @param {string} name
   * @param {AbortSignal} signal  ends what is under way
   */
  constructor(api, identity, name, signal) {
    this.#api = api;
    this.#identity = identity;
    this.#name = name;
    this.#signal = signal;
  }

  /**
   * Asks for a place.
   *
   * @param {string} resume  the room token of a place that may be kept, "" if there is none
   * @returns {Promise<Grant>}
   */
  async join(resume) {
    if (!resume) return this.#joinAnew();
    try {
      return await this.#api.join(resume, { name: this.#name }, this.#signal);
    } catch (error) {
      if (isPassing(error)) throw error;
      return this.#joinAnew();
    }
  }

  /** @returns {Promise<Grant>} */
  async #joinAnew() {
    const { invite } = this.#identity;
    const wish = { name: this.#name, ...(invite && { invite }) };
    const ask = async () => this.#api.join(await this.#identity.credential(this.#api, this.#name), wish, this.#signal);
    try {
      return await ask();
    } catch (error) {
      const unknown = error instanceof Refusal && error.status === 401;
      if (unknown && this.#identity.forget()) return ask(); // its keys may have gone
      throw error;
    }
  }

  /**
   * Connects, and enters.
   *
   * @param {Connection} connection
   * @param {Grant} grant
   * @returns {Promise<number>} the member's id
   */
  async connect(connection, grant) {
    try {
      await connection.open((offer) => this.#api.offer(grant, offer, this.#signal));
    } catch (error) {
      // So that the place is free at once; else the reservation runs out.
      this.#api.feedback(grant, "failed").catch(() => {});
      throw error;
    }
    const lost = connection.ended.then((reason) => Promise.reject(reason));
    const { member } = await Promise.race([this.#feedback(grant), lost]);
    return member;
  }

  /**
   * Says that the connection stands, until the gateway has heard it: the pod may know it a moment
   * later than we, or the chat may be away.
   *
   * @param {Grant} grant
   */
  async #feedback(grant) {
    for (let failed = 1; ; failed++) {
      try {
        return await this.#api.feedback(grant, "connected", this.#signal);
      } catch (error) {
        const early = error instanceof Refusal && error.code === "not-associated";
        if (failed === feedbackAttempts || !(early || isPassing(error))) throw error;
        await sleep(backoff(failed, error, Math.random()), this.#signal);
      }
    }
  }
}
