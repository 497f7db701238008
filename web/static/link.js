// The link that people open: /r/{namespace}/{room}#ticket=... or #invite=...

/**
 * @typedef {object} Link
 * @property {string} namespace
 * @property {string} room
 * @property {string} ticket  a credential of its own: the host's, or a granted JoinRequest's
 * @property {string} invite  goes with any identity and opens an InviteOnly room
 */

/**
 * Reads a page address. The secrets are in the fragment, which browsers never send.
 *
 * @param {{pathname: string, hash: string}} location
 * @returns {Link | null} null if it is not the address of a room
 */
export function parseLink(location) {
  const match = /^\/r\/([^/]+)\/([^/]+)\/?$/.exec(location.pathname);
  if (!match) return null;
  const fragment = new URLSearchParams(location.hash.replace(/^#/, ""));
  try {
    return {
      namespace: decodeURIComponent(match[1]),
      room: decodeURIComponent(match[2]),
      ticket: fragment.get("ticket") ?? "",
      invite: fragment.get("invite") ?? "",
    };
  } catch {
    return null; // malformed percent-encoding
  }
}
