// What media pods of earlier versions say: pages of today follow rooms there while a cluster is upgraded.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { Replica } from "../static/state.js";

const recordings = new URL("../../media/testdata/", import.meta.url);

for (const file of readdirSync(recordings).filter((name) => name.endsWith(".jsonl"))) {
  test(`a page follows a room in a pod of version ${file}`, () => {
    const replica = new Replica();
    let seq = NaN;
    for (const line of readFileSync(new URL(file, recordings), "utf8").trim().split("\n")) {
      const { from, message } = JSON.parse(line);
      if (from !== "pod") continue;
      if (message.type === "welcome") replica.begin();
      if (message.type === "snapshot") replica.snapshot(message.state, message.omitted);
      if (message.type === "heartbeat") assert.ok(replica.isAt(message.seq), line);
      if (message.type !== "events") continue;
      assert.ok(replica.events(message.events), line);
      seq = message.events.at(-1).seq;
    }
    assert.equal(replica.state?.seq, seq);
  });
}
