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
   * @param {boolean} firefox
   */
  constructor(page, name, firefox) {
    this.page = page;
    this.name = name;
    this.firefox = firefox;
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
    const firefox = (await browser.version()).startsWith("firefox");
    const somebody = new Participant(await context.newPage(), name, firefox);
    if (firefox) await somebody.page.evaluateOnNewDocument(rememberConnections);
    await somebody.page.goto(url);
    await somebody.page.waitForSelector("body[data-phase=lobby] #name:not(:disabled)");
    return somebody;
  }

  /** Asks to join, whatever the answer is. */
  async ask() {
    await this.page.locator("#name").fill(this.name);
    await this.click("#join-button");
  }

  async join() {
    await this.ask();
    await this.see("body[data-phase=call][data-connection=connected]");
    await this.see("[data-self]");
    this.member = await this.page.$eval("[data-self]", (element) => Number(element.dataset.member));
  }

  /** @param {string} selector */
  click(selector) {
    return this.#until(`can click ${selector}`, this.page.locator(selector).click());
  }

  /** @param {string} selector */
  see(selector) {
    return this.#until(`sees ${selector}`, this.page.waitForSelector(selector, { visible: true }));
  }

  /** @param {string} selector */
  seeGone(selector) {
    return this.#until(`sees ${selector} go`, this.page.waitForSelector(selector, { hidden: true }));
  }

  /**
   * Waits until an element reads a text.
   *
   * @param {string} selector
   * @param {string} text
   */
  read(selector, text) {
    const reads = (/** @type {string} */ selector, /** @type {string} */ text) =>
      [...document.querySelectorAll(selector)].some((element) => element.checkVisibility() && element.textContent?.includes(text));
    return this.#until(`reads "${text}" in ${selector}`, this.page.waitForFunction(reads, { polling: 50 }, selector, text));
  }

  /**
   * Says who waited for what, which the browser's own errors do not.
   *
   * @template T
   * @param {string} what
   * @param {Promise<T>} wait
   * @returns {Promise<T>}
   */
  async #until(what, wait) {
    try {
      return await wait;
    } catch (error) {
      const { phase, connection } = await this.page.$eval("body", ({ dataset }) => ({ ...dataset }));
      throw new Error(`it never came that ${this.name} ${what}; the page is in phase ${phase}, ${connection}`, { cause: error });
    }
  }

  /**
   * Chooses from the menu of somebody, and from the one inside it.
   *
   * @param {string} person  a selector of where it is in the page
   * @param {...string} labels
   */
  async choose(person, ...labels) {
    await this.click(`${person} .more`);
    for (const label of labels) await this.click(`#menu [role=menuitem] ::-p-text(${label})`);
  }

  /**
   * Answers what the page asks before it does something.
   *
   * @param {string} button
   * @param {string} [text]  for the question's field
   */
  async answer(button, text) {
    if (text !== undefined) await this.page.locator("#question-field :is(input, textarea)").fill(text);
    await this.click(button);
  }

  /**
   * Changes the room's settings.
   *
   * @param {Record<string, string>} choices  by the fields' names
   */
  async configure(choices) {
    await this.click("#setup");
    for (const [name, value] of Object.entries(choices)) await this.page.locator(`#settings [name=${name}]`).fill(value);
    await this.click("#settings-form .primary");
    await this.seeGone("#settings[open]");
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

  /** Starts to measure what the page plays; see hearsVoice. */
  listen() {
    return this.page.evaluate(this.firefox ? meterByStatistics : meterByAnalyser);
  }

  /** Waits for a second in which there is a voice: loud for a fifth of it. */
  hearsVoice() {
    return this.#hears("a voice", (slots) => slots.some((levels) => levels.filter((level) => level > 0.01).length >= 10));
  }

  /** Waits for a second in which nothing is heard on any slot. */
  hearsSilence() {
    return this.#hears("silence", (slots) => slots.every((levels) => levels.length === 50 && levels.every((level) => level < 0.001)));
  }

  /**
   * @param {string} what
   * @param {(slots: number[][]) => boolean} test  of the levels of the last second by slot
   */
  async #hears(what, test) {
    try {
      await this.page.waitForFunction(`(${test})(heardLevels())`, { polling: 50 });
    } catch (error) {
      const loudest = await this.page.evaluate(() => window.heardLevels().map((levels) => Math.max(...levels)));
      throw new Error(`${this.name} does not hear ${what}; the loudest of the last second by slot: ${loudest}`, { cause: error });
    }
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

// What follows runs in the page. Both meters note a root mean square every 20 ms, and keep a
// second of them for each slot.

function meterByAnalyser() {
  const context = new AudioContext();
  /** @type {Map<MediaStream, {analyser: AnalyserNode, levels: number[]}>} */
  const meters = new Map();
  const samples = new Float32Array(2048);
  setInterval(() => {
    for (const { srcObject } of document.querySelectorAll("audio")) {
      if (!(srcObject instanceof MediaStream) || meters.has(srcObject)) continue;
      const analyser = context.createAnalyser();
      context.createMediaStreamSource(srcObject).connect(analyser);
      meters.set(srcObject, { analyser, levels: [] });
    }
    for (const { analyser, levels } of meters.values()) {
      analyser.getFloatTimeDomainData(samples);
      levels.push(Math.hypot(...samples) / Math.sqrt(samples.length));
      if (levels.length > 50) levels.shift();
    }
  }, 20);
  window.heardLevels = () => [...meters.values()].map(({ levels }) => levels);
}

// Without a sound device no AudioContext of Firefox runs; its statistics know what is played.
function meterByStatistics() {
  /** @type {Map<string, number[]>} */
  const meters = new Map();
  setInterval(async () => {
    const report = await window.connections.at(-1).getStats();
    for (const { type, mid, audioLevel } of report.values()) {
      if (type !== "inbound-rtp") continue;
      const levels = meters.get(mid) ?? [];
      meters.set(mid, levels);
      levels.push(audioLevel ?? 0);
      if (levels.length > 50) levels.shift();
    }
  }, 20);
  window.heardLevels = () => [...meters.values()];
}

function rememberConnections() {
  window.connections = [];
  window.RTCPeerConnection = class extends RTCPeerConnection {
    /** @param {RTCConfiguration} configuration */
    constructor(configuration) {
      super(configuration);
      window.connections.push(this);
    }
  };
}
