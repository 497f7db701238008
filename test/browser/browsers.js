// Real browsers, each with a microphone that needs no sound card.

import puppeteer from "puppeteer-core";

/**
 * @param {string} wav  what the microphone of every page hears
 */
export function chromium(wav) {
  return puppeteer.launch({
    browser: "chrome",
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: [
      "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream", // grants the microphone
      `--use-file-for-fake-audio-capture=${wav}`,
      "--disable-background-timer-throttling", // pages of one window, none of them in the background
      "--disable-renderer-backgrounding",
      // The sandbox refuses to run as root, as whom containers often run tests.
      ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
    ],
  });
}

/** Its microphone hears a tone of its own; Firefox takes no file. */
export function firefox() {
  return puppeteer.launch({
    browser: "firefox",
    executablePath: process.env.FIREFOX || "/usr/bin/firefox-esr",
    extraPrefsFirefox: {
      "media.navigator.streams.fake": true,
      "media.navigator.permission.disabled": true, // grants the microphone
    },
  });
}
