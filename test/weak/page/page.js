// Talks and listens as the plan says, in as many media connections as it has parts, and reports what the statistics say.

import { offerNack } from "/web/sdp.js";

/**
 * @typedef {object} Part
 * @property {number} room
 * @property {number} seat
 * @property {{fec: boolean, dtx: boolean, red: boolean, pause: number}} [talker]
 * @property {{nack: boolean, red: boolean}} [listener]
 */

const browser = location.search.slice(1);

/**
 * @param {string} path
 * @param {string} [body]
 */
async function post(path, body) {
  const response = await fetch(path, { method: "POST", body });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${text}`);
  return text;
}

/** @param {number} ms */
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Somebody who talks without end: the recording, a pause, the recording ... @param {number} pause in seconds */
async function speech(pause) {
  const context = new AudioContext({ sampleRate: 48_000 });
  const recording = await context.decodeAudioData(await (await fetch("/speech.ogg")).arrayBuffer());
  const buffer = context.createBuffer(1, recording.length + pause * context.sampleRate, context.sampleRate);
  buffer.copyToChannel(recording.getChannelData(0), 0);
  const source = new AudioBufferSourceNode(context, { buffer, loop: true });
  const destination = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
  source.connect(destination);
  source.start();
  return destination.stream.getAudioTracks()[0];
}

/** Takes a format out of an offer, so that nobody answers it. @param {string} sdp @param {string} name */
function withoutFormat(sdp, name) {
  for (const [, type] of sdp.matchAll(new RegExp(`^a=rtpmap:(\\d+) ${name}/`, "gm"))) {
    sdp = sdp.replace(new RegExp(`^a=(?:rtpmap|fmtp|rtcp-fb):${type} .*\r\n`, "gm"), "").replace(new RegExp(`^(m=audio .*) ${type}\\b`, "gm"), "$1");
  }
  return sdp;
}

/** @param {Part} part @param {MediaStreamTrack} [track] */
async function connect({ room, seat, talker, listener }, track) {
  const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  pc.addTransceiver(track ?? "audio", { direction: talker ? "sendonly" : "recvonly" });
  pc.ontrack = (event) => {
    const audio = new Audio();
    audio.srcObject = new MediaStream([event.track]);
    audio.play();
    document.body.append(audio);
  };
  let { sdp = "" } = await pc.createOffer();
  if (listener?.nack) sdp = offerNack(sdp);
  if (!(talker ?? listener)?.red) sdp = withoutFormat(sdp, "red");
  await pc.setLocalDescription({ type: "offer", sdp });
  let answer = await post(`/rooms/${room}/${seat}/offer`, pc.localDescription?.sdp);
  if (talker && !talker.fec) answer = answer.replace(/;?useinbandfec=1/g, "");
  if (talker && !talker.dtx) answer = answer.replace(/;?usedtx=1/g, "");
  await pc.setRemoteDescription({ type: "answer", sdp: answer });
  while (pc.connectionState !== "connected") {
    if (pc.connectionState === "failed") throw new Error(`seat ${seat} of room ${room} cannot connect`);
    await sleep(20);
  }
  await post(`/rooms/${room}/${seat}/connected`);
  return pc;
}

/** @param {RTCPeerConnection} pc @returns {Promise<Record<string, number>>} of what it hears */
async function statistics(pc) {
  for (const entry of (await pc.getStats()).values()) {
    if (entry.type === "inbound-rtp") return Object.fromEntries(Object.entries(entry).filter(([, value]) => typeof value === "number"));
  }
  throw new Error("nothing was heard");
}

async function run() {
  /** @type {Part[]} */
  const plan = await (await fetch(`/plan/${browser}`)).json();
  const talkers = plan.filter(({ talker }) => talker);
  const listeners = plan.filter(({ listener }) => listener);
  await Promise.all(talkers.map(async (part) => connect(part, await speech(part.talker?.pause ?? 0))));
  const connections = await Promise.all(listeners.map((part) => connect(part)));
  const { warmup, duration } = JSON.parse(await post("/ready"));
  await sleep(warmup);
  const start = await Promise.all(connections.map(statistics));
  await sleep(duration);
  const end = await Promise.all(connections.map(statistics));
  const report = listeners.map(({ room, seat }, i) => ({ room, listener: seat - 1, result: { start: start[i], end: end[i] } }));
  await post("/result", JSON.stringify(report));
}

run().catch((error) => post("/failure", `${error}\n${error.stack}`));
