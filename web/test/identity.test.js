import assert from "node:assert/strict";
import { test } from "node:test";

import { Identity } from "../static/identity.js";

class Tab {
  items = new Map();
  getItem = (key) => this.items.get(key) ?? null;
  setItem = (key, value) => this.items.set(key, value);
  removeItem = (key) => this.items.delete(key);
}

const link = (ticket = "", room = "lounge") => ({ namespace: "shop", room, ticket, invite: "" });
const hour = 3_600_000;

function gateway(ttl = hour) {
  const names = [];
  const guest = async (name) => {
    names.push(name);
    return { ticket: `guest-${names.length}`, subject: "", expiresAt: new Date(Date.now() + ttl).toISOString() };
  };
  return { names, guest };
}

test("a link's ticket is used, also after a reload without it, and for its room only", async () => {
  const tab = new Tab();
  const api = gateway();
  assert.equal(await new Identity(link("host"), tab).credential(api, "Ann"), "host");
  assert.equal(await new Identity(link(), tab).credential(api, "Ann"), "host");
  assert.equal(await new Identity(link("", "attic"), tab).credential(api, "Ann"), "guest-1");
});

test("a guest stays the same one in a tab", async () => {
  const tab = new Tab();
  const api = gateway();
  assert.equal(await new Identity(link(), tab).credential(api, "Bob"), "guest-1");
  assert.equal(await new Identity(link(), tab).credential(api, "Rob"), "guest-1");
  assert.equal(await new Identity(link(), new Tab()).credential(api, "Eve"), "guest-2");
  assert.deepEqual(api.names, ["Bob", "Eve"]);
});

test("a guest's ticket that is about to expire is not used", async () => {
  const tab = new Tab();
  const api = gateway(30_000);
  assert.equal(await new Identity(link(), tab).credential(api, "Bob"), "guest-1");
  assert.equal(await new Identity(link(), tab).credential(api, "Bob"), "guest-2");
});

test("what the gateway does not take is forgotten; only a guest's ticket can be had anew", async () => {
  const tab = new Tab();
  const api = gateway();
  const identity = new Identity(link("host"), tab);
  assert.equal(identity.forget(), false);
  assert.equal(await identity.credential(api, "Ann"), "guest-1");
  assert.equal(identity.forget(), true);
  assert.equal(await identity.credential(api, "Ann"), "guest-2");
});

test("a ticket says whether it is the owner's", () => {
  const token = (claims) => ["e30", Buffer.from(JSON.stringify(claims)).toString("base64url"), "sig"].join(".");
  assert.equal(new Identity(link(token({ pur: "host", sub: "key:demo:Zoë?>" })), new Tab()).owner, true);
  assert.equal(new Identity(link(token({ pur: "join" })), new Tab()).owner, false);
  for (const other of ["", "opaque", "a.%.c", "a.bnVsbA.c"]) assert.equal(new Identity(link(other), new Tab()).owner, false, other);
});
