// A recording that is like speech to an encoder and a noise suppressor, and made here: a voice of
// many harmonics under moving formants, in syllables.

import { writeFile } from "node:fs/promises";

const rate = 48_000; // Hz
const seconds = 8; // browsers repeat the file
const syllables = 4; // a second
const vowels = [[730, 1090], [270, 2290], [300, 870], [530, 1840], [570, 840]]; // first two formants, Hz

/** @param {string} path */
export async function writeSpeech(path) {
  const samples = new Int16Array(rate * seconds);
  let phase = 0;
  for (let i = 0; i < samples.length; i++) {
    const time = i / rate;
    const beat = time * syllables;
    const [first, second] = vowels[Math.floor(beat) % vowels.length];
    const pitch = 130 + 25 * Math.sin(2 * Math.PI * 0.7 * time);
    phase += pitch / rate;
    const loudness = Math.sin(Math.PI * (beat % 1)) ** 0.7;
    let value = 0;
    for (let harmonic = 1; harmonic * pitch < 3400; harmonic++) {
      const frequency = harmonic * pitch;
      const gain = resonance(frequency, first) + 0.6 * resonance(frequency, second);
      value += gain * Math.sin(2 * Math.PI * harmonic * phase);
    }
    samples[i] = Math.max(-1, Math.min(1, 0.25 * loudness * value)) * 32767;
  }
  await writeFile(path, wav(samples));
}

/**
 * @param {number} frequency
 * @param {number} formant
 */
function resonance(frequency, formant) {
  return 1 / (1 + ((frequency - formant) / 110) ** 2);
}

/** @param {Int16Array} samples  mono */
function wav(samples) {
  const header = Buffer.alloc(44);
  header.write("RIFF", 0);
  header.writeUInt32LE(36 + samples.byteLength, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16); // size of this chunk
  header.writeUInt16LE(1, 20); // PCM
  header.writeUInt16LE(1, 22); // channels
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(rate * 2, 28); // bytes a second
  header.writeUInt16LE(2, 32); // bytes a frame
  header.writeUInt16LE(16, 34); // bits a sample
  header.write("data", 36);
  header.writeUInt32LE(samples.byteLength, 40);
  return Buffer.concat([header, Buffer.from(samples.buffer)]);
}
