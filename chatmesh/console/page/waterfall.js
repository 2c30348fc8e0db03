// Each message as bars over the time since it was accepted: queued, thought about, written; a bar of its own for each attempt.

import { duration, element, keep, say } from "/ops/words.js";

const AXES_MS = [500, 1000, 2000, 5000, 10_000, 20_000, 60_000, 120_000, 300_000, 1_800_000];
const STEPS = new Map([500, 5000, 10_000, 300_000].map((ms) => [ms, 5])); // others have four
const FIRST = 10;

const OUTCOMES = {
  stop: "",
  length: "at the length limit",
  tool_calls: "with tool calls",
  content_filter: "by a content filter",
  error: "with an error",
  cancelled: "stopped",
  ended: "",
};

export class Waterfall {
  #list;
  #axis;
  #empty;
  #more;
  #replay;
  #look = null;
  #isWhole = false;

  /** `replay(sessionId)` for the button of each row. */
  constructor({ list, axis, empty, more }, replay) {
    [this.#list, this.#axis, this.#empty, this.#more, this.#replay] = [list, axis, empty, more, replay];
    more.addEventListener("click", () => {
      this.#isWhole = !this.#isWhole;
      this.#draw();
    });
  }

  show(look) {
    this.#look = look;
    this.#draw();
  }

  #draw() {
    const { now } = this.#look;
    const all = this.#look.messages.map((message) => spans(message, now));
    const shown = this.#isWhole ? all : all.slice(0, FIRST);
    this.#empty.hidden = all.length > 0;
    this.#axis.hidden = all.length === 0;
    this.#more.hidden = all.length <= FIRST;
    say(this.#more, this.#isWhole ? "Show fewer" : `Show ${all.length - FIRST} more`);
    const axis = chosen(shown);
    this.#scale(axis);
    keep(this.#list, shown, ({ key }) => key, (row) => this.#make(row), (item, row) => update(item, row, axis));
  }

  #scale(axis) {
    if (this.#axis.dataset.ms === String(axis)) return;
    this.#axis.dataset.ms = axis;
    const steps = STEPS.get(axis) ?? 4;
    this.#axis.replaceChildren(...Array.from({ length: steps + 1 }, (_, step) => {
      const part = step / steps;
      const tick = element("span", part ? duration(axis * part) : "0");
      tick.style.left = `${100 * part}%`;
      return tick;
    }));
  }

  #make(row) {
    const item = element("li");
    const { message_id: id, session_id: session } = row.message;
    const about = { type: "button", class: "quiet name", "aria-label": `${id}: replay its session, ${session}` };
    const name = element("button", id.replace(/^msg_(?=.)/, ""), about); // what all have is left out: there is little room
    name.addEventListener("click", () => this.#replay(session));
    item.append(name, element("div", "", { class: "lanes", "aria-hidden": "true" }), element("p", "", { class: "summary" }));
    return item;
  }
}

/** The bars of a message, in milliseconds since its beginning. */
export function spans(message, now) {
  const { attempts } = message;
  const began = attempts[0]?.began_at ?? null;
  const zero = message.accepted_at ?? began ?? message.first_at ?? now;
  const end = Math.max(message.ended_at ?? now, zero);
  const bars = [];
  if ((began ?? end) > zero) bars.push({ kind: "waits", lane: 0, from: 0, to: (began ?? end) - zero });
  attempts.forEach((attempt, lane) => {
    const [from, to] = [attempt.began_at - zero, (attempt.ended_at ?? end) - zero];
    const first = message.first_at === null ? to : Math.min(Math.max(message.first_at - zero, from), to);
    if (first > from) bars.push({ kind: "thinks", lane, from, to: first });
    if (to > first) bars.push({ kind: "streams", lane, from: first, to });
  });
  return {
    key: `${message.session_id} ${message.message_id}`,
    message,
    bars,
    lanes: Math.max(1, attempts.length),
    length: end - zero,
    isOpen: message.ended_at === null,
  };
}

/** An axis that most of them fit on: one that takes long should not make a dash of all others. */
function chosen(rows) {
  const lengths = rows.map(({ length }) => length).sort((one, other) => one - other);
  const most = lengths[Math.floor(0.85 * (lengths.length - 1))] ?? 0;
  return AXES_MS.find((axis) => axis >= most) ?? most;
}

function update(item, row, axis) {
  const { message } = row;
  item.dataset.outcome = message.outcome ?? (message.attempts.length ? "open" : "waiting");
  const lanes = item.querySelector(".lanes");
  lanes.style.height = `${Math.max(1.25, 0.75 * row.lanes)}rem`;
  const marks = row.bars.map((bar, index) => ({ ...bar, name: `${bar.kind} ${bar.lane} ${index}` }));
  if (!row.isOpen) marks.push({ kind: message.pods.length ? "mark" : "end", lane: row.lanes - 1, from: row.length, name: "end" });
  keep(lanes, marks, ({ name }) => name, ({ kind }) => element("i", "", { class: `bar ${kind}` }), (bar, mark) => {
    const [from, to] = [mark.from, mark.to ?? mark.from].map((ms) => Math.min(100, (100 * ms) / axis));
    bar.style.left = `${from}%`;
    if (mark.to !== undefined) bar.style.width = `${to - from}%`;
    bar.style.top = `${((mark.lane + 0.5) / row.lanes) * 100}%`;
    bar.classList.toggle("cut", (mark.to ?? mark.from) > axis);
  });
  say(item.querySelector(".summary"), summary(row));
}

/** The same in words. */
export function summary({ message, length, isOpen }) {
  const { attempts } = message;
  if (!attempts.length) return `waits for ${duration(length)}`;
  const parts = [isOpen ? `for ${duration(length)}` : duration(length)];
  if (message.first_at !== null) {
    const zero = message.accepted_at ?? attempts[0].began_at;
    parts.push(`first token ${duration(Math.max(0, message.first_at - zero))}`);
  }
  if (attempts.length > 1) parts.push(`${attempts.length} attempts`);
  if (OUTCOMES[message.outcome]) parts.push(OUTCOMES[message.outcome]);
  if (isOpen) parts.push(`at ${attempts.at(-1).worker_id}`);
  return parts.join(" · ");
}
