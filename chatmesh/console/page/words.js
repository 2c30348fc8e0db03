// Numbers and times, for people.

const NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];

/** `2, "pod"` → `two pods`. */
export const count = (number, noun, plural = `${noun}s`) =>
  `${NUMBERS[number] ?? number.toLocaleString("en")} ${number === 1 ? noun : plural}`;

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** `["a", "b", "c"]` → `a, b and c`. */
export const listed = (parts) =>
  parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;

/** A number, with as many digits as anybody reads. */
export function figure(value) {
  if (value === 0) return "0";
  if (value < 10) return value.toFixed(1).replace(/\.0$/, "");
  return Math.round(value).toLocaleString("en");
}

export function duration(ms) {
  if (ms < 1) return "< 1 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${figure(seconds)} s`;
  if (seconds < 3600) return minutes(seconds);
  return seconds < 172_800 ? `${(seconds / 3600).toFixed(1)} h` : `${Math.round(seconds / 86_400)} days`;
}

const minutes = (seconds) => `${Math.floor(seconds / 60)} min${seconds % 60 < 1 ? "" : ` ${Math.floor(seconds % 60)} s`}`;

export function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  let [value, unit] = [bytes, 0];
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit ? figure(value) : Math.round(value)} ${units[unit]}`;
}

export const share = (ratio) => (ratio > 0 && ratio < 0.001 ? "< 0.1 %" : `${figure(ratio * 100)} %`);

let ahead = 0; // of this browser's clock is the broker's

/** It is so late at the broker, whose times all others are. */
export const setClock = (now) => (ahead = now - Date.now());

export function ago(text) {
  const ms = Date.now() + ahead - Date.parse(text);
  return Number.isNaN(ms) ? "" : ms < 1500 ? "now" : `${duration(ms)} ago`;
}

/** An element with text; `more` are attributes. */
export function element(name, text = "", more = {}) {
  const made = document.createElement(name);
  if (text !== "") made.textContent = text;
  for (const [key, value] of Object.entries(more)) made.setAttribute(key, value);
  return made;
}

/** Text that is written only where it is another one, so that nothing is read out or selected anew for nothing. */
export function say(where, text) {
  if (where.textContent !== text) where.textContent = text;
}

/**
 * Makes the children of `list` those of `rows`, in their order; who stays is kept as it is, with the focus in it.
 * `make(row)` gives an element, `update(element, row)` writes into it.
 */
export function keep(list, rows, key, make, update) {
  const known = new Map([...list.children].map((child) => [child.dataset.key, child]));
  let before = null;
  for (const row of rows) {
    const name = key(row);
    const child = known.get(name) ?? make(row);
    child.dataset.key = name;
    known.delete(name);
    update(child, row);
    const place = before === null ? list.firstElementChild : before.nextElementSibling;
    if (place !== child) list.insertBefore(child, place);
    before = child;
  }
  for (const gone of known.values()) gone.remove();
}
