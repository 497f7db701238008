// One media connection to a room's pod: an uplink, receiving slots and the data channel `room`.
// docs/protocol.md describes what it carries.

import { Refusal } from "./refusal.js";
import { offerNack } from "./sdp.js";
import { sleep } from "./sleep.js";

/** @typedef {import("./state.js").RoomEvent} RoomEvent */

/**
 * @typedef {object} Handlers
 * @property {(message: any) => void} message  whatever the server sends but replies, byes and moves
 * @property {(slot: number, track: MediaStreamTrack) => void} track
 */

const slotCount = 4; // as many as libwebrtc mixes, and one
const connectTimeout = 15_000; // ms from the answer to a connection
const replyTimeout = 10_000; // ms
const pulse = 500; // ms between two looks at the server's signs of life
const listening = 50; // ms between two looks whether audio comes

export class Connection {
  /** How long the server may be silent, in ms: many times its interval between heartbeats. */
  patience = 6000;
  /** Resolves with the reason once the connection is over. @type {Promise<Refusal>} */
  ended;
  /** Resolves once the room is known to be elsewhere, while this connection stands. @type {Promise<void>} */
  moved;
  /** Whether the connection has ended. */
  over = false;
  /** Who is heard on which slot. @type {{slot: number, member: number}[]} */
  slots = [];

  /** @type {(reason: Refusal) => void} */
  #end = () => {};
  #move = () => {};
  #pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  #uplink = this.#pc.addTransceiver("audio", { direction: "sendonly" });
  #slots = Array.from({ length: slotCount }, () => this.#pc.addTransceiver("audio", { direction: "recvonly" }));
  #channel = this.#pc.createDataChannel("room");
  #handlers;
  #nextId = 1;
  /** @type {Map<string, {resolve: () => void, reject: (error: Refusal) => void, timer: number}>} */
  #requests = new Map();
  #lastSign = 0; // the last heartbeat; 0: none yet
  #watch = setInterval(() => this.#checkPulse(), pulse);

  /** @param {Handlers} handlers */
  constructor(handlers) {
    this.#handlers = handlers;
    this.ended = new Promise((resolve) => (this.#end = resolve));
    this.moved = new Promise((resolve) => (this.#move = resolve));
    this.ended.then(() => this.#dispose());
    this.#channel.onmessage = (event) => this.#receive(event.data);
    this.#channel.onclose = () => this.close(new Refusal("connection-lost"));
    this.#pc.ontrack = (event) => handlers.track(this.#slots.indexOf(event.transceiver), event.track);
  }

  /**
   * Connects. There is nothing to gather: the server is reachable and does not call back.
   *
   * @param {(offer: string) => Promise<string>} exchange  trades the offer for the answer
   * @returns {Promise<void>} resolves once media can flow and commands can be sent
   */
  async open(exchange) {
    const offer = await this.#pc.createOffer();
    await this.#pc.setLocalDescription({ type: "offer", sdp: offerNack(offer.sdp ?? "") });
    const answer = await exchange(this.#pc.localDescription?.sdp ?? "");
    const accepted = this.#pc.setRemoteDescription({ type: "answer", sdp: answer }).catch((error) => {
      throw new Refusal("connection-failed", String(error));
    });
    await Promise.all([this.#connected(), accepted]);
  }

  /** @returns {Promise<void>} */
  #connected() {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.close(new Refusal("connection-failed")), connectTimeout);
      this.#pc.onconnectionstatechange = () => {
        if (this.#pc.connectionState === "failed") this.close(new Refusal("connection-failed"));
      };
      this.#channel.onopen = () => {
        clearTimeout(timer);
        resolve();
      };
      this.ended.then((reason) => {
        clearTimeout(timer);
        reject(reason);
      });
    });
  }

  /**
   * @param {string} type  a name of room.CommandNames
   * @param {object} [body]
   * @returns {Promise<void>} rejects with the server's Refusal
   */
  command(type, body) {
    const id = String(this.#nextId++);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#reply({ id, error: { code: "connection-lost" } }), replyTimeout);
      this.#requests.set(id, { resolve, reject, timer });
      this.#send({ id, type, body });
    });
  }

  /** Asks for a snapshot: an event was missed. */
  resync() {
    this.#send({ id: String(this.#nextId++), type: "resync" });
  }

  /** Tells the server that this client has entered where the room is now. */
  arrived() {
    this.#send({ id: String(this.#nextId++), type: "arrived" });
  }

  /** @param {MediaStreamTrack | null} track  what the uplink sends; no renegotiation */
  async send(track) {
    if (!this.over) await this.#uplink.sender.replaceTrack(track);
  }

  /** @returns {MediaStreamTrack | null} what the uplink sends */
  get sending() {
    return this.#uplink.sender.track;
  }

  /** @returns {MediaStreamTrack[]} by slot */
  tracks() {
    return this.#slots.map((slot) => slot.receiver.track);
  }

  /**
   * @param {AbortSignal} signal  ends the wait
   * @returns {Promise<void>} resolves when somebody's audio comes, or the connection is over
   */
  async heard(signal) {
    for (let packets = 0; packets === 0 && !this.over && !signal.aborted; await sleep(listening, signal)) {
      const report = await this.#pc.getStats();
      report.forEach(({ type, packetsReceived }) => (packets += type === "inbound-rtp" ? packetsReceived : 0));
    }
  }

  /** @returns {RTCRtpContributingSource[][]} by slot: who was heard of late */
  sources() {
    return this.#slots.map((slot) => slot.receiver.getContributingSources());
  }

  /** Makes `moved` resolve. */
  move() {
    this.#move();
  }

  /** @param {Refusal} reason  what `ended` resolves with, unless it has */
  close(reason) {
    this.over = true;
    this.#end(reason);
  }

  #dispose() {
    clearInterval(this.#watch);
    this.#pc.ontrack = this.#pc.onconnectionstatechange = null;
    this.#channel.onmessage = this.#channel.onclose = null;
    this.#pc.close();
    for (const id of [...this.#requests.keys()]) this.#reply({ id, error: { code: "connection-lost" } });
  }

  /** @param {object} message */
  #send(message) {
    if (this.#channel.readyState === "open") this.#channel.send(JSON.stringify(message));
  }

  /** @param {string} data */
  #receive(data) {
    const message = JSON.parse(data);
    if (message.type === "heartbeat") this.#lastSign = performance.now();
    switch (message.type) {
      case "reply":
        this.#reply(message);
        break;
      case "bye":
        this.close(new Refusal(message.code, message.detail));
        break;
      case "moved":
        this.move();
        break;
      default:
        this.#handlers.message(message);
    }
  }

  /** @param {{id: string, error?: {code: string, detail?: string}}} reply */
  #reply({ id, error }) {
    const request = this.#requests.get(id);
    if (!request) return;
    this.#requests.delete(id);
    clearTimeout(request.timer);
    if (error) request.reject(new Refusal(error.code, error.detail));
    else request.resolve();
  }

  #checkPulse() {
    if (this.#lastSign > 0 && performance.now() - this.#lastSign > this.patience) {
      this.close(new Refusal("connection-lost"));
    }
  }
}
