// How far the operator's copy of the room is behind: what it does not hold is lost with the pod.

const patience = 15_000; // ms; the operator takes over what happened every few seconds

export class Copy {
  /** Whether something that happened a while ago would be lost. */
  late = false;
  #seq = 0; // the event that is waited for
  #since = 0;

  /**
   * Takes a heartbeat.
   *
   * @param {number} seq      of the last event
   * @param {number} durable  of the last one that is in the copy
   * @param {number} now      ms, of any one clock
   */
  hear(seq, durable, now) {
    if (durable >= this.#seq) {
      this.#seq = seq;
      this.#since = now;
    }
    this.late = durable < this.#seq && now - this.#since > patience;
  }
}
