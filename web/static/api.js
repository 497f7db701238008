// The gateway's HTTP API, as docs/openapi.yaml describes it. Every failure is a Refusal, but that
// the caller's signal ended the request.

import { Clock } from "./clock.js";
import { Refusal } from "./refusal.js";

/**
 * @typedef {object} RoomSummary
 * @property {string} namespace
 * @property {string} name
 * @property {string} [displayName]
 * @property {string} [phase]
 * @property {number} [members]
 * @property {number} maxMembers
 * @property {number} maxMics
 * @property {string} [joinURL]
 *
 * @typedef {object} Guest
 * @property {string} ticket
 * @property {string} subject
 * @property {string} expiresAt
 *
 * @typedef {object} Grant   leave to open one session in one epoch of the room
 * @property {string} token  opens the session, and is its credential from then on
 * @property {string} session
 * @property {number} member
 * @property {number} epoch
 * @property {string} role
 * @property {string} rtc    where the offer goes
 *
 * @typedef {object} Message
 * @property {string} id
 * @property {number} seq    orders the messages of a room; not dense
 * @property {string} name   of the author
 * @property {string} text
 * @property {string} time
 */

export class Api {
  clock = new Clock();

  /** @param {{namespace: string, room: string}} link */
  constructor(link) {
    this.room = `/v1/rooms/${encodeURIComponent(link.namespace)}/${encodeURIComponent(link.room)}`;
  }

  /**
   * @param {string} credential  any identity, or none
   * @returns {Promise<RoomSummary>}
   */
  summary(credential) {
    return this.#json("GET", this.room, credential);
  }

  /**
   * Makes a guest's identity, where guests are allowed.
   *
   * @param {string} name
   * @returns {Promise<Guest>}
   */
  guest(name) {
    return this.#json("POST", "/v1/guests", "", { name });
  }

  /**
   * @param {string} credential
   * @param {{name?: string, invite?: string}} wish
   * @param {AbortSignal} signal
   * @returns {Promise<Grant>}
   */
  join(credential, wish, signal) {
    return this.#json("POST", `${this.room}/join`, credential, wish, signal);
  }

  /**
   * Opens a session: trades an SDP offer for the answer (RFC 9725).
   *
   * @param {Grant} grant
   * @param {string} offer
   * @param {AbortSignal} signal
   * @returns {Promise<string>}
   */
  async offer(grant, offer, signal) {
    const response = await this.#send("POST", grant.rtc, grant.token, offer, "application/sdp", signal);
    return response.text();
  }

  /**
   * Says how the media connection came out, which lets the client in, or frees its place.
   *
   * @param {Grant} grant
   * @param {"connected" | "failed"} outcome
   * @param {AbortSignal} [signal]
   * @returns {Promise<{member: number, mic: {index: number} | null}>}
   */
  feedback(grant, outcome, signal) {
    return this.#json("POST", `${this.#session(grant)}/feedback`, grant.token, { outcome }, signal);
  }

  /**
   * Leaves. The request survives the page.
   *
   * @param {Grant} grant
   */
  async leave(grant) {
    await fetch(this.#session(grant), {
      method: "DELETE",
      headers: { Authorization: `Bearer ${grant.token}` },
      keepalive: true,
    });
  }

  /**
   * @param {Grant} grant
   * @param {number} before  only messages with a smaller seq; 0: the newest
   * @param {number} limit
   * @param {AbortSignal} [signal]
   * @returns {Promise<{messages: Message[]}>} ascending
   */
  history(grant, before, limit, signal) {
    const query = `?limit=${limit}${before > 0 ? `&before=${before}` : ""}`;
    return this.#json("GET", `${this.room}/messages${query}`, grant.token, undefined, signal);
  }

  /**
   * @param {Grant} grant
   * @param {string} text
   * @returns {Promise<Message>}
   */
  post(grant, text) {
    return this.#json("POST", `${this.room}/messages`, grant.token, { text });
  }

  /**
   * Opens the stream of server-sent events.
   *
   * @param {Grant} grant
   * @param {AbortSignal} signal
   * @returns {Promise<ReadableStream<Uint8Array>>}
   */
  async events(grant, signal) {
    const response = await this.#send("GET", `${this.room}/events`, grant.token, undefined, "", signal);
    if (!response.body) throw new Refusal("chat-unavailable");
    return response.body;
  }

  /**
   * Makes a link for others; for moderators.
   *
   * @param {Grant} grant
   * @param {import("./invites.js").InviteWish} wish
   * @returns {Promise<{url: string}>}
   */
  invite(grant, wish) {
    return this.#json("POST", `${this.room}/invites`, grant.token, wish);
  }

  /**
   * Lists who was kicked or banned, the latest first; for moderators.
   *
   * @param {Grant} grant
   * @returns {Promise<{removed: import("./settings.js").Removed[]}>}
   */
  removed(grant) {
    return this.#json("GET", `${this.room}/removed`, grant.token);
  }

  /** @param {Grant} grant */
  #session(grant) {
    return `${this.room}/sessions/${encodeURIComponent(grant.session)}`;
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {string} credential
   * @param {unknown} [body]
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   */
  async #json(method, path, credential, body, signal) {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const response = await this.#send(method, path, credential, text, "application/json", signal);
    return response.status === 204 ? {} : response.json();
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {string} credential
   * @param {string} [body]
   * @param {string} [contentType]
   * @param {AbortSignal} [signal]
   * @returns {Promise<Response>}
   */
  async #send(method, path, credential, body, contentType, signal) {
    const headers = new Headers();
    if (credential) headers.set("Authorization", `Bearer ${credential}`);
    if (body !== undefined && contentType) headers.set("Content-Type", contentType);
    const response = await fetch(path, { method, headers, body, signal, cache: "no-store" }).catch((error) => {
      throw signal?.aborted ? error : new Refusal("unreachable", String(error));
    });
    this.clock.hear(response.headers.get("Date"), Date.now());
    if (!response.ok) throw await refusalOf(response);
    return response;
  }
}

/**
 * Reads an RFC 9457 problem document, or makes do with the status.
 *
 * @param {Response} response
 * @returns {Promise<Refusal>}
 */
export async function refusalOf(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  /** @type {{code?: unknown, detail?: unknown, title?: unknown}} */
  let problem = {};
  if (/\bjson\b/.test(response.headers.get("Content-Type") ?? "")) {
    problem = (await response.json().catch(() => null)) ?? {};
  }
  const code = typeof problem.code === "string" ? problem.code : `http-${response.status}`;
  const detail = problem.detail || problem.title || `the server answered ${response.status}`;
  return new Refusal(code, String(detail), response.status, retryAfter);
}
