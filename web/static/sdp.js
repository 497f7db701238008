// The one thing that browsers do not offer by themselves.

/**
 * Asks for resends of lost audio: adds generic NACK (RFC 4585, section 6.2.1) to every Opus format
 * of an offer. Browsers can do it but do not offer it.
 *
 * @param {string} sdp
 * @returns {string}
 */
export function offerNack(sdp) {
  return sdp.split(/(?=^m=)/m).map((section) => {
    if (!section.startsWith("m=audio")) return section;
    return section.replace(/^a=rtpmap:(\d+) opus\/48000\/2\r?\n/gim, (line, format) => {
      const offered = new RegExp(`^a=rtcp-fb:(?:${format}|\\*) nack\\r?$`, "m").test(section);
      return offered ? line : `${line}a=rtcp-fb:${format} nack\r\n`;
    });
  }).join("");
}
