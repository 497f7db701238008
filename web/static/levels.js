// Who is speaking: each packet on a slot carries its speaker's member id as CSRC.

/**
 * @typedef {object} Source  what getContributingSources returns
 * @property {number} source
 * @property {number} timestamp
 * @property {number} [audioLevel]  0 to 1, linear
 */

const speaking = 0.006; // about -44 dBov: above breath and fans, below a quiet voice
const fresh = 300; // ms without packets after which a source is silent
const hold = 400; // ms that somebody stays lit between two words
const unknown = 0.1; // the level of somebody whose packets carry none

/** Loudness by member, from polls of the slots. Times are in milliseconds, of any one clock. */
export class Levels {
  /** @type {Map<string, {timestamp: number, at: number}>} last packet by slot and source */
  #packets = new Map();
  /** @type {Map<number, {level: number, at: number}>} last time that a member spoke */
  #spoke = new Map();

  /**
   * Takes one poll of a slot. Timestamps are compared with the last poll's only: browsers differ
   * in the clock that they are of.
   *
   * @param {number} slot
   * @param {Source[]} sources
   * @param {number} now
   */
  poll(slot, sources, now) {
    for (const { source, timestamp, audioLevel } of sources) {
      const key = `${slot}/${source}`;
      const last = this.#packets.get(key);
      if (!last || last.timestamp !== timestamp) this.#packets.set(key, { timestamp, at: now });
      else if (now - last.at > fresh) continue;
      this.hear(source, audioLevel ?? unknown, now);
    }
  }

  /**
   * @param {number} member
   * @param {number} level
   * @param {number} now
   */
  hear(member, level, now) {
    if (level >= speaking) this.#spoke.set(member, { level, at: now });
  }

  /**
   * @param {number} member
   * @param {number} now
   * @returns {number} 0 while silent, else 0 to 1
   */
  of(member, now) {
    const spoke = this.#spoke.get(member);
    return spoke && now - spoke.at <= hold ? spoke.level : 0;
  }
}
