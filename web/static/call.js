// A call: in the room from join to leave, across as many media connections as it takes.

import { Chat } from "./chat.js";
import { Copy } from "./copy.js";
import { Levels } from "./levels.js";
import { Microphone } from "./mic.js";
import { newsOf } from "./news.js";
import { Refusal, backoff, isPassing } from "./refusal.js";
import { Connection } from "./rtc.js";
import { sleep } from "./sleep.js";
import { Replica, isLive, memberOf, micOf } from "./state.js";

/**
 * @typedef {import("./api.js").Api} Api
 * @typedef {import("./api.js").Grant} Grant
 *
 * @typedef {import("./identity.js").Identity} Identity
 *
 * @typedef {object} Watcher
 * @property {() => void} changed                 something that the page shows is another now
 * @property {(error: unknown) => void} refused   something that the user asked for did not work
 * @property {(text: string) => void} news        something was done to the user
 * @property {(slot: number, track: MediaStreamTrack) => void} track
 * @property {(slots: {slot: number, member: number}[]) => void} slots  who is heard on which
 */

// Patience with a silent server, in ms: its heartbeats come every 200 ms to those who hold a
// microphone, every 2 s to the audience.
const patienceOnMic = 2000;
const patienceInAudience = 6000;

const farewell = 1000; // ms that the pod's own bye has, which says more than the gateway

const firstAttempts = 3; // at a media connection, before somebody who never had one is told
const feedbackAttempts = 8;

// Byes after which coming back would be wrong, whatever the server would answer.
const finalByes = new Set(["left", "replaced", "kicked", "banned", "room-closed"]);

export class Call {
  /** @type {"joining" | "connected" | "reconnecting" | "ended"} */
  status = "joining";
  /** Why the call ended, or does not come to stand. @type {unknown} */
  trouble = null;
  /** This client's member id in the room's epoch. */
  self = 0;
  /** @type {Grant | null} */
  grant = null;
  replica = new Replica();
  levels = new Levels();
  copy = new Copy();

  #api;
  #identity;
  #name;
  #watcher;
  #microphone = new Microphone();
  #over = new AbortController();
  /** @type {Connection | null} */
  #connection = null;
  #wasIn = false;
  #tending = false; // to the microphone
  #stale = false; // the state changed meanwhile

  /**
   * @param {Api} api
   * @param {Identity} identity
   * @param {string} name
   * @param {Watcher} watcher
   */
  constructor(api, identity, name, watcher) {
    this.#api = api;
    this.#identity = identity;
    this.#name = name;
    this.#watcher = watcher;
    this.chat = new Chat(api, watcher.changed);
  }

  /**
   * Joins, and joins again whenever the connection is lost.
   *
   * @returns {Promise<void>} resolves once the call has ended
   */
  async run() {
    for (let failed = 0; !this.#over.signal.aborted; ) {
      const error = await this.#stay(() => (failed = 0)).catch((cause) => cause);
      failed++;
      if (this.#over.signal.aborted) return;
      const hopeless = !this.#wasIn && error.code === "connection-failed" && failed >= firstAttempts;
      if (hopeless || !isPassing(error)) {
        this.#finish(error);
        if (error instanceof Refusal) return;
        throw error;
      }
      this.trouble = error;
      this.#show(this.#wasIn ? "reconnecting" : "joining");
      await sleep(backoff(failed, error, Math.random()), this.#over.signal);
    }
  }

  /** Leaves for good. */
  leave() {
    if (this.status === "ended") return;
    // Where it cannot be sent, the pod's grace for lost connections frees the place.
    if (this.grant) this.#api.leave(this.grant).catch(() => {});
    this.#finish(new Refusal("left"));
  }

  /**
   * Gives a command; a refusal is told to the watcher.
   *
   * @param {string} type
   * @param {object} [body]
   * @returns {Promise<boolean>} whether it was carried out
   */
  async command(type, body) {
    try {
      if (!this.#connection) throw new Refusal("connection-lost");
      await this.#connection.command(type, body);
      return true;
    } catch (error) {
      this.#watcher.refused(error);
      return false;
    }
  }

  /** @param {boolean} muted */
  mute(muted) {
    if (muted) this.#microphone.enable(false); // at once, whatever the server is at
    return this.command("mute", { muted });
  }

  /** @param {string} text */
  async say(text) {
    if (!this.grant) throw new Refusal("connection-lost");
    await this.chat.post(this.grant, text);
  }

  async earlier() {
    if (this.grant) await this.chat.loadEarlier(this.grant);
  }

  /** @param {import("./invites.js").InviteWish} wish */
  async invite(wish) {
    if (!this.grant) throw new Refusal("connection-lost");
    return this.#api.invite(this.grant, wish);
  }

  async removed() {
    if (!this.grant) throw new Refusal("connection-lost");
    return this.#api.removed(this.grant);
  }

  /** @returns {boolean} whether the user is the room's owner, host or not */
  get owner() {
    return this.#identity.owner;
  }

  /**
   * @param {string} until  a time of the server
   * @returns {number} seconds until then
   */
  left(until) {
    return this.#api.clock.left(until, Date.now());
  }

  /** @returns {import("./state.js").Member | undefined} this client */
  me() {
    return this.replica.state ? memberOf(this.replica.state, this.self) : undefined;
  }

  /** @returns {import("./state.js").Mic | undefined} the microphone that this client holds */
  mic() {
    const { state } = this.replica;
    // A state of another epoch is of a connection that was lost, and so is this.self then.
    return state && state.epoch === this.grant?.epoch ? micOf(state, this.self) : undefined;
  }

  /** Looks who is speaking; the levels say it. */
  listen() {
    const now = performance.now();
    this.#connection?.sources().forEach((sources, slot) => this.levels.poll(slot, sources, now));
    if (this.#live()) this.levels.hear(this.self, this.#microphone.level(), now);
  }

  /**
   * Joins once and stays while the connection does; always rejects, with the reason.
   *
   * @param {() => void} entered
   * @returns {Promise<never>}
   */
  async #stay(entered) {
    const grant = await this.#join();
    this.grant = grant;
    const connection = new Connection({
      message: (message) => this.#receive(message),
      track: this.#watcher.track,
    });
    this.#connection = connection;
    const following = new AbortController();
    try {
      await this.#enter(connection, grant);
      entered();
      this.#follow(connection, grant, following.signal);
      const reason = await connection.ended;
      throw finalByes.has(reason.code) || isPassing(reason) ? reason : new Refusal("moving", reason.message);
    } finally {
      following.abort();
      connection.close(new Refusal("connection-lost"));
      this.#connection = null; // the device stays open: most connections come back
    }
  }

  /** @returns {Promise<Grant>} */
  async #join() {
    const { invite } = this.#identity;
    const wish = { name: this.#name, ...(invite && { invite }) };
    const ask = async () => this.#api.join(await this.#identity.credential(this.#api, this.#name), wish, this.#over.signal);
    try {
      return await ask();
    } catch (error) {
      const unknown = error instanceof Refusal && error.status === 401;
      if (unknown && this.#identity.forget()) return ask(); // its keys may have gone
      throw error;
    }
  }

  /**
   * @param {Connection} connection
   * @param {Grant} grant
   */
  async #enter(connection, grant) {
    try {
      await connection.open((offer) => this.#api.offer(grant, offer, this.#over.signal));
    } catch (error) {
      // So that the place is free at once; else the reservation runs out.
      this.#api.feedback(grant, "failed").catch(() => {});
      throw error;
    }
    const lost = connection.ended.then((reason) => Promise.reject(reason));
    const { member } = await Promise.race([this.#feedback(grant), lost]);
    this.self = member;
    this.trouble = null;
    this.#wasIn = true;
    this.#show("connected");
    this.#tendMicrophone();
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
        return await this.#api.feedback(grant, "connected", this.#over.signal);
      } catch (error) {
        const early = error instanceof Refusal && error.code === "not-associated";
        if (failed === feedbackAttempts || !(early || isPassing(error))) throw error;
        await sleep(backoff(failed, error, Math.random()), this.#over.signal);
      }
    }
  }

  /**
   * @param {Connection} connection
   * @param {Grant} grant
   * @param {AbortSignal} signal
   */
  #follow(connection, grant, signal) {
    this.chat.follow(grant, (type, data) => {
      if (type === "closed") sleep(farewell, signal).then(() => connection.close(new Refusal("room-closed")));
      if (type === "moved" && data.epoch > grant.epoch) connection.close(new Refusal("moving"));
    }, signal).catch(this.#watcher.refused);
  }

  /** @param {any} message */
  #receive(message) {
    switch (message.type) {
      case "welcome":
        this.self = message.member;
        this.replica.begin();
        this.copy = new Copy();
        break;
      case "snapshot":
        this.replica.snapshot(message.state, message.omitted);
        break;
      case "events":
        this.#tellNews(message.events);
        if (!this.replica.events(message.events)) this.#connection?.resync();
        break;
      case "heartbeat":
        if (!this.replica.isAt(message.seq)) this.#connection?.resync();
        this.copy.hear(message.seq, message.durable, performance.now());
        return;
      case "slots":
        this.#watcher.slots(message.slots);
        return;
      default:
        return; // of a later version
    }
    this.#tendMicrophone();
    this.#watcher.changed();
  }

  /** @param {import("./state.js").RoomEvent[]} events */
  #tellNews(events) {
    const news = newsOf(this.replica.state, this.self, events);
    if (news) this.#watcher.news(news);
  }

  #live() {
    return isLive(this.mic());
  }

  /** Makes the device follow the virtual microphone; the last state wins. */
  async #tendMicrophone() {
    this.#stale = true;
    if (this.#tending) return;
    this.#tending = true;
    while (this.#stale) {
      this.#stale = false;
      await this.#followMic();
    }
    this.#tending = false;
  }

  async #followMic() {
    const connection = this.#connection;
    if (!connection || this.status !== "connected") return;
    if (!this.mic()) {
      connection.patience = patienceInAudience;
      this.#microphone.close();
      return connection.send(null);
    }
    connection.patience = patienceOnMic;
    try {
      const track = await this.#microphone.open(); // which may take as long as the user thinks
      if (this.#over.signal.aborted) return this.#microphone.close();
      this.#microphone.enable(this.#live());
      if (connection === this.#connection && this.mic()) await connection.send(track);
    } catch (error) {
      this.#watcher.refused(error);
      await this.command("leave-mic");
    }
  }

  /** @param {Call["status"]} status */
  #show(status) {
    this.status = status;
    this.#watcher.changed();
  }

  /** @param {unknown} reason */
  #finish(reason) {
    this.trouble = reason;
    this.#over.abort();
    this.#connection?.close(new Refusal("left"));
    this.#microphone.close();
    this.#show("ended");
  }
}
