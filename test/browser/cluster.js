// The API server behind the page, as kubectl would ask it.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { request } from "node:https";

/**
 * @param {string} method
 * @param {string} path
 * @returns {Promise<any>} the answer's JSON
 */
async function ask(method, path) {
  const config = await readFile(process.env.KUBECONFIG ?? assert.fail("KUBECONFIG is not set; make test-browser sets it"), "utf8");
  const field = (/** @type {string} */ name) => new RegExp(`\\b${name}: (\\S+)`).exec(config)?.[1] ?? assert.fail(`no ${name} in KUBECONFIG`);
  const data = (/** @type {string} */ name) => Buffer.from(field(`${name}-data`), "base64");
  const options = { method, ca: data("certificate-authority"), cert: data("client-certificate"), key: data("client-key") };
  return new Promise((resolve, reject) => {
    const asked = request(new URL(path, field("server")), options, async (response) => {
      let text = "";
      for await (const chunk of response) text += chunk;
      if (response.statusCode === 200) resolve(JSON.parse(text));
      else reject(new Error(`${method} ${path}: HTTP ${response.statusCode}: ${text}`));
    });
    asked.on("error", reject).end();
  });
}

/** @returns {Promise<{pod: string, epoch: number}>} where the room of these tests is */
export async function whereabouts() {
  const [namespace, name] = (process.env.VOICEROOM_ROOM ?? "").split("/");
  const room = await ask("GET", `/apis/voiceroom.dev/v1alpha1/namespaces/${namespace}/voicerooms/${name}`);
  return room.status.media;
}

/**
 * Deletes a media pod, as the drain of its node does.
 *
 * @param {string} name
 */
export async function evict(name) {
  const { items } = await ask("GET", `/api/v1/pods?fieldSelector=metadata.name%3D${name}`);
  assert.equal(items.length, 1, `pods called ${name}`);
  await ask("DELETE", `/api/v1/namespaces/${items[0].metadata.namespace}/pods/${name}`);
}
