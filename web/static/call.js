// A call: in the room from join to leave, across as many media connections as it takes.

import { Chat } from "./chat.js";
import { Copy } from "./copy.js";
import { Ears } from "./ears.js";
import { Entry } from "./entry.js";
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

const farewellPatience = 6000; // ms that a connection lasts at most once the next one stands

const firstAttempts = 3; // at a media connection, before somebody who never had one is told

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
  #entry;
  #watcher;
  #microphone = new Microphone();
  #over = new AbortController();
  /** The newest that the server took in. @type {Connection | null} */
  #connection = null;
  /** The one before, which may stand a while yet. @type {Connection | null} */
  #previous = null;
  #ears;
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
    this.#watcher = watcher;
    this.#ears = new Ears(watcher);
    this.#entry = new Entry(api, identity, name, this.#over.signal);
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
    return this.replica.state && this.#settled() ? micOf(this.replica.state, this.self) : undefined;
  }

  /** @returns {boolean} whether the state is of our epoch; else it is of a connection before, and only shown */
  #settled() {
    return this.replica.state !== null && this.replica.state.epoch === this.grant?.epoch;
  }

  /** Looks who is speaking; the levels say it. */
  listen() {
    const now = performance.now();
    this.#ears.sources().forEach((sources, slot) => this.levels.poll(slot, sources, now));
    if (this.#live()) this.levels.hear(this.self, this.#microphone.level(), now);
  }

  /**
   * Comes in and stays, on the next connection when the room moves; always rejects, with the reason.
   *
   * @param {() => void} entered
   * @returns {Promise<never>}
   */
  async #stay(entered) {
    let connection = await this.#comeIn("");
    try {
      for (;;) {
        entered();
        const reason = await Promise.race([connection.ended, connection.moved]);
        if (reason) throw finalByes.has(reason.code) || isPassing(reason) ? reason : new Refusal("moving", reason.message);
        const next = await this.#comeInAgain(connection);
        this.#changeOver(connection, next);
        connection = next;
      }
    } finally {
      connection.close(new Refusal("connection-lost"));
      this.chat.unfollow();
      this.#ears.end();
      this.#connection = null; // the device stays open: most connections come back
    }
  }

  /**
   * @param {string} resume  the room token that keeps our place, "" if none does
   * @returns {Promise<Connection>}
   */
  async #comeIn(resume) {
    const grant = await this.#entry.join(resume);
    if (!this.#connection) this.grant = grant;
    const connection = new Connection({
      message: (message) => this.#receive(connection, grant, message),
      track: (slot, track) => this.#ears.track(connection, slot, track),
    });
    this.#over.signal.addEventListener("abort", () => connection.close(new Refusal("left")));
    this.#ears.begin(connection);
    try {
      const member = await this.#entry.connect(connection, grant);
      if (connection !== this.#connection) this.#begin(connection, grant, member); // the welcome is on its way
      this.trouble = null;
      this.#wasIn = true;
      this.#show("connected");
      this.#tendMicrophone();
      this.#follow(connection, grant);
      return connection;
    } catch (error) {
      connection.close(new Refusal("connection-lost"));
      throw error;
    }
  }

  /**
   * Comes in where the room is now, as long as the old connection stands.
   *
   * @param {Connection} old
   * @returns {Promise<Connection>}
   */
  async #comeInAgain(old) {
    const resume = this.grant?.token ?? "";
    for (let failed = 1; ; failed++) {
      try {
        return await this.#comeIn(resume);
      } catch (error) {
        if (old.over || !isPassing(error)) throw error;
        await sleep(backoff(failed, error, Math.random()), this.#over.signal);
      }
    }
  }

  /**
   * Leaves a connection for the next one, without a gap for us or for others.
   *
   * @param {Connection} old
   * @param {Connection} next
   */
  async #changeOver(old, next) {
    const { signal } = this.#over;
    this.#previous = old;
    if (old.sending) old.arrived(); // the audience follows those who speak
    await this.#ears.changeOver(old, next, signal);
    old.arrived();
    await Promise.race([old.ended, sleep(farewellPatience, signal)]);
    old.close(new Refusal("moving"));
  }

  /**
   * @param {Connection} connection
   * @param {Grant} grant
   */
  #follow(connection, grant) {
    const { signal } = this.#over;
    this.chat.follow(grant, (type, data) => {
      if (type === "closed") sleep(farewell, signal).then(() => connection.close(new Refusal("room-closed")));
      if (type === "moved" && data.epoch > grant.epoch) connection.move(); // if its pod is lost, none the slower
    }).catch(this.#watcher.refused);
  }

  /**
   * Goes on with a connection that the server took in.
   *
   * @param {Connection} connection
   * @param {Grant} grant
   * @param {number} member
   */
  #begin(connection, grant, member) {
    if (this.#connection) connection.send(this.#connection.sending);
    this.#connection = connection;
    this.grant = grant;
    this.self = member;
    this.replica.begin();
    this.copy = new Copy();
  }

  /**
   * @param {Connection} connection
   * @param {Grant} grant
   * @param {any} message
   */
  #receive(connection, grant, message) {
    if (message.type === "slots") return this.#ears.slots(connection, message.slots);
    if (connection !== this.#connection && message.type !== "welcome") return; // the room is elsewhere
    switch (message.type) {
      case "welcome":
        this.#begin(connection, grant, message.member);
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
    if (!connection || this.status !== "connected" || !this.#settled()) return;
    if (!this.mic()) {
      connection.patience = patienceInAudience;
      this.#microphone.close();
      return this.#send(null);
    }
    connection.patience = patienceOnMic;
    try {
      const track = await this.#microphone.open(); // which may take as long as the user thinks
      if (this.#over.signal.aborted) return this.#microphone.close();
      this.#microphone.enable(this.#live());
      if (connection === this.#connection && this.mic()) await this.#send(track);
    } catch (error) {
      this.#watcher.refused(error);
      await this.command("leave-mic");
    }
  }

  /** @param {MediaStreamTrack | null} track */
  async #send(track) {
    await Promise.all([this.#connection?.send(track), this.#previous?.send(track)]);
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
    this.#microphone.close();
    this.#show("ended");
  }
}
