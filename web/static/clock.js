// The server's clock: deadlines are told in its time, and users' clocks are often wrong.

export class Clock {
  #ahead = 0; // ms that the server's clock is ahead of ours

  /**
   * Takes the time that the server has just told.
   *
   * @param {string | null} date  as in the Date header, in whole seconds; null if it told none
   * @param {number} now          ms since 1970, here
   */
  hear(date, now) {
    const told = Date.parse(date ?? "") + 500; // half of the second that was cut off
    if (!Number.isNaN(told)) this.#ahead = told - now;
  }

  /**
   * @param {string} until  RFC 3339
   * @param {number} now    ms since 1970, here
   * @returns {number} whole seconds until then, 0 if it is over
   */
  left(until, now) {
    return Math.max(0, Math.ceil((Date.parse(until) - now - this.#ahead) / 1000));
  }
}

/**
 * @param {number} seconds
 * @returns {string} 1:05, or 1:02:05 from an hour on
 */
export function duration(seconds) {
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}
