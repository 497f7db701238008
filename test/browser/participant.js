// Somebody at the page, who sees and does what its users see and do.

import assert from "node:assert/strict";

const timeout = 20_000; // ms; of every wait, none of which is expected to take a second

/** @typedef {import("puppeteer-core").Page} Page */

export class Participant {
  /** What went wrong inside the page. @type {string[]} */
  faults = [];

  /**
   * @param {Page} page
   * @param {string} name
   */
  constructor(page, name) {
    this.page = page;
    this.name = name;
    page.setDefaultTimeout(timeout);
    page.on("pageerror", (error) => this.faults.push(String(error)));
    page.on("console", (message) => {
      // What the network refuses is the page's to handle; a breach of the CSP is not.
      if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) this.faults.push(message.text());
    });
  }

  /**
   * Opens a link in a browser of its own memory, and looks at the lobby.
   *
   * @param {import("puppeteer-core").Browser} browser
   * @param {string} url
   * @param {string} name
   */
  static async open(browser, url, name) {
    const context = await browser.createBrowserContext();
    const somebody = new Participant(await context.newPage(), name);
    await somebody.page.goto(url);
    await somebody.page.waitForSelector("body[data-phase=lobby] #name:not(:disabled)");
    return somebody;
  }

  async join() {
    await this.page.locator("#name").fill(this.name);
    await this.click("#join-button");
    await this.see("body[data-phase=call][data-connection=connected]");
    await this.see("[data-self]");
    this.member = await this.page.$eval("[data-self]", (element) => Number(element.dataset.member));
  }

  /** @param {string} selector */
  click(selector) {
    return this.page.locator(selector).click();
  }

  /** @param {string} selector */
  see(selector) {
    return this.page.waitForSelector(selector, { visible: true });
  }

  /** @param {string} selector */
  seeGone(selector) {
    return this.page.waitForSelector(selector, { hidden: true });
  }

  /**
   * Waits until an element reads a text.
   *
   * @param {string} selector
   * @param {string} text
   */
  read(selector, text) {
    return this.page.waitForFunction(
      (selector, text) => [...document.querySelectorAll(selector)].some((element) => element.checkVisibility() && element.textContent?.includes(text)),
      { polling: 50 }, selector, text,
    );
  }

  /** Takes a microphone, unless the room gave one. */
  async takeMic() {
    if (await this.page.$("#take:not([hidden])")) await this.click("#take");
    await this.see("#mics [data-self]");
  }

  /** Leaves the microphone, if the room gave one. */
  async leaveMic() {
    if (await this.page.$("#step-down:not([hidden])")) await this.click("#step-down");
    await this.see("#listeners [data-self]");
  }

  /** @param {string} text */
  async say(text) {
    await this.page.locator("#text").fill(text);
    await this.click("#say button");
  }

  /** Puts a meter to everything that the page plays; see hears. */
  async listen() {
    await this.page.evaluate(() => {
      const context = new AudioContext();
      /** @type {Map<MediaStream, {analyser: AnalyserNode, audio: HTMLAudioElement, levels: number[]}>} */
      const meters = new Map();
      const samples = new Float32Array(2048);
      setInterval(() => {
        for (const audio of document.querySelectorAll("audio")) {
          const stream = /** @type {MediaStream | null} */ (audio.srcObject);
          if (!stream || meters.has(stream)) continue;
          const analyser = context.createAnalyser();
          context.createMediaStreamSource(stream).connect(analyser);
          meters.set(stream, { analyser, audio, levels: [] });
        }
        for (const { analyser, levels } of meters.values()) {
          analyser.getFloatTimeDomainData(samples);
          levels.push(Math.hypot(...samples) / Math.sqrt(samples.length));
          if (levels.length > 50) levels.shift();
        }
      }, 20);
      // The root mean squares of the last second, the loudest slot's first.
      Object.assign(window, {
        heardLevels: () => [...meters.values()].map(({ levels }) => levels).sort((a, b) => Math.max(...b) - Math.max(...a)),
      });
    });
  }

  /** Waits for a second in which there is a voice: loud for a fifth of it. */
  hearsVoice() {
    return this.page.waitForFunction(
      () => (/** @type {any} */ (window).heardLevels()[0] ?? []).filter((/** @type {number} */ level) => level > 0.01).length >= 10,
      { polling: 50 },
    );
  }

  /** Waits for a second in which nothing is heard on any slot. */
  hearsSilence() {
    return this.page.waitForFunction(
      () => /** @type {any} */ (window).heardLevels().every((/** @type {number[]} */ levels) => levels.length === 50 && levels.every((level) => level < 0.001)),
      { polling: 50 },
    );
  }

  /** The loudness of the last second, for messages. */
  levels() {
    return this.page.evaluate(() => /** @type {any} */ (window).heardLevels().map((/** @type {number[]} */ levels) => Math.max(...levels)));
  }

  async leave() {
    await this.click("#leave");
    await this.read("#lobby-notice", "You left the room.");
  }

  /** Nothing went wrong inside the page. */
  isSound() {
    assert.deepEqual(this.faults, [], `faults in ${this.name}'s page`);
  }
}
