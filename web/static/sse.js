// Server-sent events over fetch: EventSource cannot send an Authorization header.

/**
 * @typedef {object} ServerEvent
 * @property {string} type  "message" unless the server names another
 * @property {string} data
 * @property {string} id    the last one that the server gave
 */

/**
 * Parses an event stream (HTML, section 9.2.6) as it arrives.
 *
 * @param {AsyncIterable<string>} chunks  decoded text, cut anywhere
 * @returns {AsyncGenerator<ServerEvent, void, void>}
 */
export async function* parseEvents(chunks) {
  let rest = "";
  let type = "";
  let id = "";
  /** @type {string[]} */
  let data = [];
  for await (const chunk of chunks) {
    const lines = (rest + chunk).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (data.length > 0) yield { type: type || "message", data: data.join("\n"), id };
        type = "";
        data = [];
        continue;
      }
      const [, field, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
      if (field === "event") type = value ?? "";
      else if (field === "data") data.push(value ?? "");
      else if (field === "id") id = value ?? "";
    }
  }
}

/**
 * The text of a response as it arrives, until it ends or breaks off.
 *
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<string, void, void>}
 */
export async function* textOf(body) {
  const reader = body.getReader(); // streams are not async iterable in every browser
  const decoder = new TextDecoder();
  const brokenOff = { done: true, value: undefined };
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(() => brokenOff);
      if (done) return;
      yield decoder.decode(value, { stream: true });
    }
  } finally {
    await reader.cancel().catch(() => {}); // of one that broke off
  }
}
