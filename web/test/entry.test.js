import assert from "node:assert/strict";
import { test } from "node:test";

import { Entry } from "../static/entry.js";
import { Refusal } from "../static/refusal.js";

/** An entry whose API answers each join by what was shown to it, and what was asked. */
function entry(refuse) {
  const asked = [];
  const api = {
    join: async (credential, wish) => {
      asked.push([credential, wish]);
      if (refuse[credential]) throw refuse[credential];
      return { token: `of ${credential}` };
    },
  };
  const identity = { invite: "link", credential: async () => "ticket", forget: () => false };
  return { entry: new Entry(api, identity, "Ann", new AbortController().signal), asked };
}

test("the room token brings back its place, without what let us in at first", async () => {
  const { entry: way, asked } = entry({});
  assert.deepEqual(await way.join("token"), { token: "of token" });
  assert.deepEqual(asked, [["token", { name: "Ann" }]]);
});

test("without a place that is kept we come in as at first", async () => {
  for (const [resume, refusal] of [["", null], ["token", new Refusal("unknown-member", "", 404)]]) {
    const { entry: way, asked } = entry({ token: refusal });
    assert.deepEqual(await way.join(resume), { token: "of ticket" });
    assert.deepEqual(asked.at(-1), ["ticket", { name: "Ann", invite: "link" }]);
  }
});

test("while the room is between two pods nobody gives its place up", async () => {
  const { entry: way, asked } = entry({ token: new Refusal("moving", "", 503) });
  await assert.rejects(way.join("token"), { code: "moving" });
  assert.equal(asked.length, 1);
});
