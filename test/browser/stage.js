// What every test of the page needs: where the system is, a browser, and a place for pictures. The
// environment says where:
//
//   VOICEROOM_URL          the gateway, http://127.0.0.1:8080
//   VOICEROOM_ROOM         namespace/name of a room in which guests get microphones while there are any
//   VOICEROOM_HOST_TICKET  the ticket of its owner
//   CHROMIUM, FIREFOX      the browsers' executables, if not Debian's
//   BROWSER_SHOTS          where pictures of the page go, if not dist/browser

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "./browsers.js";
import { writeSpeech } from "./speech.js";

const env = (name) => process.env[name] ?? assert.fail(`${name} is not set; make test-browser sets it`);
export const link = `${env("VOICEROOM_URL")}/r/${env("VOICEROOM_ROOM")}`;
export const hostLink = `${link}#ticket=${env("VOICEROOM_HOST_TICKET")}`;
const shots = process.env.BROWSER_SHOTS || fileURLToPath(new URL("../../dist/browser", import.meta.url));

/**
 * Opens a Chromium whose microphones hear somebody speak.
 *
 * @returns {Promise<{browser: import("puppeteer-core").Browser, close: () => Promise<void>}>}
 */
export async function openStage() {
  const scratch = await mkdtemp(path.join(tmpdir(), "voiceroom-browser-"));
  const wav = path.join(scratch, "speech.wav");
  await writeSpeech(wav);
  await mkdir(shots, { recursive: true });
  const browser = await chromium(wav);
  const close = async () => {
    await browser.close();
    await rm(scratch, { recursive: true, force: true });
  };
  return { browser, close };
}

/** Pictures of one page as two devices show it, in both colour schemes. */
export async function picture({ page }, name) {
  const devices = { desktop: { width: 1200, height: 800 }, phone: { width: 390, height: 844 } };
  for (const [device, viewport] of Object.entries(devices)) {
    await page.setViewport(viewport);
    for (const scheme of ["light", "dark"]) {
      await page.emulateMediaFeatures([
        { name: "prefers-color-scheme", value: scheme },
        { name: "prefers-reduced-motion", value: "reduce" }, // no picture of a transition
      ]);
      await page.screenshot({ path: path.join(shots, `${name}-${device}-${scheme}.png`) });
    }
  }
  await page.setViewport(devices.desktop);
}
