// What people are called.

/** @typedef {import("./state.js").Member} Member */

const colours = 8; // of avatars, that style.css knows

/** @type {Readonly<Record<string, string>>} */
const roles = { host: "Host", "co-host": "Co-host" };

/** @param {Member | undefined} member */
export function nameOf(member) {
  return member?.name || (member ? `Guest ${member.id}` : "Someone");
}

/**
 * @param {Member} member
 * @returns {string} "" for those that most are
 */
export function roleOf(member) {
  return [roles[member.role] ?? "", member.priority ? "Priority" : ""].filter(Boolean).join(" · ");
}

/**
 * @param {Member} member
 * @returns {{letter: string, colour: string}}
 */
export function avatarOf(member) {
  return { letter: [...nameOf(member).trim()][0]?.toLocaleUpperCase() ?? "?", colour: String(member.id % colours) };
}
