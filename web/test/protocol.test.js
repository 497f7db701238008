// Links, refusals, SDP, event streams, messages and levels: what the page reads and writes.

import assert from "node:assert/strict";
import { test } from "node:test";

import { refusalOf } from "../static/api.js";
import { merge } from "../static/chat.js";
import { Copy } from "../static/copy.js";
import { Levels } from "../static/levels.js";
import { parseLink } from "../static/link.js";
import { Refusal, backoff, isPassing, sentence } from "../static/refusal.js";
import { offerNack } from "../static/sdp.js";
import { parseEvents, textOf } from "../static/sse.js";

test("links", () => {
  const table = [
    ["/r/shop/lounge", "", { namespace: "shop", room: "lounge", ticket: "", invite: "" }],
    ["/r/shop/lounge/", "#ticket=a.b-c", { namespace: "shop", room: "lounge", ticket: "a.b-c", invite: "" }],
    ["/r/shop/lounge", "#invite=x%2By", { namespace: "shop", room: "lounge", ticket: "", invite: "x+y" }],
    ["/r/shop", "", null],
    ["/r/shop/lounge/more", "", null],
    ["/r/shop/%zz", "", null],
    ["/", "", null],
  ];
  for (const [pathname, hash, want] of table) assert.deepEqual(parseLink({ pathname, hash }), want, pathname + hash);
});

test("a problem document becomes a refusal", async () => {
  const problem = new Response(JSON.stringify({ code: "room-full", detail: "all 8 places are taken" }), {
    status: 409, headers: { "Content-Type": "application/problem+json", "Retry-After": "3" },
  });
  const { code, message, status, retryAfter } = await refusalOf(problem);
  assert.deepEqual({ code, message, status, retryAfter }, { code: "room-full", message: "all 8 places are taken", status: 409, retryAfter: 3 });
});

test("an answer without a problem document becomes a refusal all the same", async () => {
  for (const response of [
    new Response("<h1>Bad gateway</h1>", { status: 502, headers: { "Content-Type": "text/html" } }),
    new Response("{", { status: 502, headers: { "Content-Type": "application/json" } }),
    new Response("null", { status: 502, headers: { "Content-Type": "application/json" } }),
  ]) {
    assert.equal((await refusalOf(response)).code, "http-502");
  }
});

test("people are told in a sentence", () => {
  assert.equal(sentence(new Refusal("room-full", "all 8 places are taken")), "The room is full. Try again when someone has left.");
  assert.equal(sentence(new Refusal("of-a-later-version", "the moon is in the way")), "The moon is in the way.");
  assert.equal(sentence(new Refusal("toString", "odd")), "Odd.", "a code is no property of Object");
  assert.equal(sentence(new Refusal("mic-unavailable", "all 3 microphones are taken")), "All 3 microphones are taken.", "commands are answered by the server");
  assert.match(sentence(new TypeError("x is undefined")), /Something went wrong/);
});

test("whoever closes a room can say goodbye", () => {
  assert.equal(sentence(new Refusal("room-closed", "Good night!")), "This room has ended. “Good night!”");
  assert.equal(sentence(new Refusal("room-closed", "the room has ended")), "This room has ended.");
  assert.equal(sentence(new Refusal("room-closed")), "This room has ended.");
  assert.equal(sentence(new Refusal("room-closed", "the room default/lobby is closed", 410)), "This room has ended.");
});

test("only what passes is tried again", () => {
  for (const error of [new Refusal("unreachable"), new Refusal("not-open-yet", "", 409), new Refusal("http-502", "", 502), new Refusal("slow-down", "", 429)]) {
    assert.equal(isPassing(error), true, String(error));
  }
  for (const error of [new Refusal("banned", "", 403), new Refusal("room-full", "", 409), new Refusal("left"), new TypeError("a mistake")]) {
    assert.equal(isPassing(error), false, String(error));
  }
});

test("attempts get rarer, no two clients' alike, and never sooner than asked", () => {
  assert.deepEqual([1, 2, 3, 6, 7, 60].map((n) => backoff(n, null, 0)), [250, 500, 1000, 8000, 8000, 8000]);
  assert.equal(backoff(1, null, 0.5), 187.5);
  assert.equal(backoff(1, new Refusal("room-waking", "", 503, 1), 0.5), 1000);
});

const media = (kind, ...lines) => [`m=${kind} 9 UDP/TLS/RTP/SAVPF 111`, ...lines, ""].join("\r\n");

test("NACK is added to Opus, once, and to nothing else", () => {
  const opus = "a=rtpmap:111 opus/48000/2";
  const head = "v=0\r\ns=-\r\n";
  const offer = head + media("audio", opus, "a=rtcp-fb:111 transport-cc", "a=rtpmap:63 red/48000/2") +
    media("audio", "a=rtpmap:109 opus/48000/2", "a=rtcp-fb:109 nack") + media("application", "a=sctp-port:5000");
  const want = head + media("audio", opus, "a=rtcp-fb:111 nack", "a=rtcp-fb:111 transport-cc", "a=rtpmap:63 red/48000/2") +
    media("audio", "a=rtpmap:109 opus/48000/2", "a=rtcp-fb:109 nack") + media("application", "a=sctp-port:5000");
  assert.equal(offerNack(offer), want);
  assert.equal(offerNack(want), want, "asking twice changes nothing");
});

test("event streams are read whatever their cuts and line ends", async () => {
  const stream = ": hello\n\nevent: message\r\ndata: {\"text\":\"é\"}\r\n\r\nid: 7\ndata: one\ndata:two\r\revent: moved\ndata: {}\n\nid\ndata: cut off";
  const want = [
    { type: "message", data: '{"text":"é"}', id: "" },
    { type: "message", data: "one\ntwo", id: "7" },
    { type: "moved", data: "{}", id: "7" },
  ];
  const bytes = new TextEncoder().encode(stream);
  for (const size of [1, 2, 3, 7, bytes.length]) {
    const body = new ReadableStream({
      start(controller) {
        for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
        controller.close();
      },
    });
    const got = [];
    for await (const event of parseEvents(textOf(body))) got.push(event);
    assert.deepEqual(got, want, `cut every ${size} bytes`);
  }
});

test("an event stream that breaks off ends", async () => {
  const body = new ReadableStream({
    start: (controller) => controller.enqueue(new TextEncoder().encode("data: 1\n\ndata: 2")),
    pull: (controller) => controller.error(new TypeError("network error")),
  }, { highWaterMark: 0 });
  const got = [];
  for await (const { data } of parseEvents(textOf(body))) got.push(data);
  assert.deepEqual(got, ["1"]);
});

test("messages are kept once and in order, whichever way they came", () => {
  const [one, two, three] = [1, 4, 9].map((seq) => ({ id: `m${seq}`, seq, name: "Ann", text: "hi", time: "" }));
  assert.deepEqual(merge([two], [three, one, two]), [one, two, three]);
});

test("a speaker is lit while packets come and for a moment after", () => {
  const levels = new Levels();
  const poll = (timestamp, now, audioLevel) => levels.poll(0, [{ source: 5, timestamp, audioLevel }], now);
  poll(1000, 0, 0.2);
  assert.equal(levels.of(5, 0), 0.2);
  poll(1020, 100, 0.001);
  assert.equal(levels.of(5, 100), 0.2, "between two words");
  assert.equal(levels.of(5, 500), 0);
  poll(1040, 600, undefined);
  assert.ok(levels.of(5, 600) > 0, "packets without a level are of somebody speaking");
  poll(1040, 1000, 0.5);
  assert.equal(levels.of(5, 1001), 0, "what browsers remember of old packets is none");
  assert.equal(levels.of(6, 600), 0);
});

test("the copy of a busy room is always a little behind, which is not late", () => {
  const copy = new Copy();
  for (let second = 0; second < 60; second++) {
    copy.hear(100 + second, 100 + second - (second % 5), second * 1000);
    assert.equal(copy.late, false, `at ${second} s`);
  }
  copy.hear(170, 160, 60_000); // 160 is what it was waited for at most
  copy.hear(180, 160, 61_000);
  copy.hear(190, 160, 75_000);
  assert.equal(copy.late, false);
  copy.hear(190, 160, 76_001);
  assert.equal(copy.late, true);
  copy.hear(190, 190, 76_200);
  assert.equal(copy.late, false);
});
