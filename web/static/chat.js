// The room's group chat: what was said, and what is said now.

import { isPassing, backoff } from "./refusal.js";
import { parseEvents, textOf } from "./sse.js";
import { sleep } from "./sleep.js";

/**
 * @typedef {import("./api.js").Api} Api
 * @typedef {import("./api.js").Grant} Grant
 * @typedef {import("./api.js").Message} Message
 */

const kept = 500; // messages
const page = 50; // messages of one request

/**
 * Adds messages to those that are known: each once, in the order of seq.
 *
 * @param {Message[]} known
 * @param {Message[]} added
 * @returns {Message[]}
 */
export function merge(known, added) {
  const bySeq = new Map([...known, ...added].map((message) => [message.seq, message]));
  return [...bySeq.values()].sort((a, b) => a.seq - b.seq);
}

export class Chat {
  /** @type {Message[]} by seq */
  messages = [];
  /** Whether there may be messages before the first one. */
  earlier = false;

  #api;
  #changed;
  #following = new AbortController();

  /**
   * @param {Api} api
   * @param {() => void} changed
   */
  constructor(api, changed) {
    this.#api = api;
    this.#changed = changed;
  }

  /**
   * Follows the room's stream until unfollow or the next call, across losses of the connection to
   * the gateway.
   *
   * @param {Grant} grant
   * @param {(type: string, data: any) => void} told  called for what is not a message
   * @returns {Promise<void>} rejects if the gateway refuses for good
   */
  follow(grant, told) {
    this.unfollow();
    this.#following = new AbortController();
    return this.#follow(grant, told, this.#following.signal);
  }

  unfollow() {
    this.#following.abort();
  }

  /**
   * @param {Grant} grant
   * @param {(type: string, data: any) => void} told
   * @param {AbortSignal} signal
   */
  async #follow(grant, told, signal) {
    for (let failed = 0; !signal.aborted; ) {
      /** @type {unknown} */
      let cause = null;
      try {
        const body = await this.#api.events(grant, signal);
        // Only now that the stream is open: nothing falls between it and the history.
        await this.#catchUp(grant, signal);
        failed = 0;
        for await (const event of parseEvents(textOf(body))) {
          const data = event.data === "" ? {} : JSON.parse(event.data);
          if (event.type === "message") this.#add([data]);
          else told(event.type, data);
        }
      } catch (error) {
        if (signal.aborted) return;
        if (!isPassing(error)) throw error;
        cause = error;
      }
      await sleep(backoff(++failed, cause, Math.random()), signal);
    }
  }

  /**
   * @param {Grant} grant
   * @param {AbortSignal} signal
   */
  async #catchUp(grant, signal) {
    const first = this.messages.length === 0;
    const { messages } = await this.#api.history(grant, 0, page, signal);
    if (first) this.earlier = messages.length === page;
    this.#add(messages);
  }

  /**
   * @param {Grant} grant
   * @param {string} text
   */
  async post(grant, text) {
    this.#add([await this.#api.post(grant, text)]);
  }

  /**
   * Loads what was said before the first message that is known.
   *
   * @param {Grant} grant
   */
  async loadEarlier(grant) {
    const { messages } = await this.#api.history(grant, this.messages[0]?.seq ?? 0, page);
    this.earlier = messages.length === page && this.messages.length + page <= kept;
    this.#add(messages);
  }

  /** @param {Message[]} messages */
  #add(messages) {
    this.messages = merge(this.messages, messages).slice(-kept);
    this.#changed();
  }
}
