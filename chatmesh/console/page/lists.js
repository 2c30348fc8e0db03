// The queue, the dead letters and the sessions, as rows.

import { ago, count, duration, element, keep, listed, say, share, size } from "/ops/words.js";

const MOST_REQUESTS = 8;
const MOST_LETTERS = 50;
const MOST_SESSIONS = 20;
const TYPED_MS = 250; // without another key, and it is looked for

const STAGES = { running: "being answered", parked: "waits for its session", waiting: "waits for a worker" };

export function showQueue({ list, empty, counted, fills }, { requests, unanswered, streams }) {
  const shown = requests.slice(0, MOST_REQUESTS);
  empty.hidden = unanswered > 0;
  say(counted, unanswered ? `${count(unanswered, "message")} without an answer` : "");
  const rows = unanswered > shown.length ? [...shown, { more: unanswered - shown.length }] : shown;
  keep(list, rows, (row) => (row.more ? "more" : String(row.seq)), () => line(), request);
  say(fills, full(streams));
}

/** The fullest stream, and every other one that is more than half full. */
function full(streams) {
  const sorted = streams.filter(({ ratio }) => ratio !== null).sort((one, other) => other.ratio - one.ratio);
  const told = sorted.filter(({ ratio }, index) => index === 0 || ratio > 0.5);
  if (!told.length) return "";
  return `Of what the streams may hold: ${listed(told.map(({ stream, ratio }) => `${stream} ${share(ratio)}`))}${told.length < streams.length ? ", the others less" : ""}.`;
}

function request(item, row) {
  if (row.more) return write(item, `and ${row.more} more`, "");
  const what = row.erases ? "is to be erased" : STAGES[row.stage];
  const where = row.worker_id ? ` at ${row.worker_id}` : "";
  const tries = row.attempt > 1 ? `, attempt ${row.attempt}` : "";
  item.dataset.stage = row.stage;
  return write(item, row.message_id ?? "(undecodable)", `${what}${where}${tries}`, `session ${row.session_id}`, duration(1000 * row.age_seconds));
}

function line() {
  const item = element("li");
  item.append(...["strong", "span", "span", "time"].map((name) => element(name)));
  return item;
}

function write(item, ...texts) {
  [...item.children].slice(0, 4).forEach((child, index) => say(child, texts[index] ?? ""));
}

// --- Dead letters -------------------------------------------------------------------------------------------------------

export class Letters {
  #feed;
  #on;
  #at;
  #known = null;
  #rows = [];
  #isReading = false;

  /** `on`: `confirm(title, text, yes)`, a promise of whether; `fail(error)`. */
  constructor(feed, at, on) {
    [this.#feed, this.#at, this.#on] = [feed, at, on];
  }

  /** Reads them again where their number is another one. */
  look(number) {
    say(this.#at.counted, number ? count(number, "request").replace(/^\w+/, String(number)) + " that could not be answered" : "");
    if (this.#known === number) return this.#show(this.#rows);
    this.#known = number;
    this.read();
  }

  async read() {
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      const { letters } = await this.#feed.read(`dead-letters?limit=${MOST_LETTERS}`);
      this.#rows = letters;
      this.#show(letters);
    } catch (error) {
      this.#on.fail(error);
    } finally {
      this.#isReading = false;
    }
  }

  #show(letters) {
    this.#at.empty.hidden = letters.length > 0;
    keep(this.#at.list, letters, ({ letter_id: id }) => id, (letter) => this.#make(letter), (item, letter) => {
      const what = letter.message_id ?? "(undecodable)";
      write(item, what, letter.reason || "no reason is known", `session ${letter.session_id} · ${size(letter.bytes)}`, ago(letter.time));
    });
  }

  #make(letter) {
    const item = line();
    const [retry, drop] = [["Retry", "retry"], ["Drop", "drop"]].map(([text, name]) =>
      element("button", text, { type: "button", class: "quiet", "data-act": name }),
    );
    const what = letter.message_id ?? `letter ${letter.letter_id}`;
    retry.setAttribute("aria-label", `Retry ${what}`);
    drop.setAttribute("aria-label", `Drop ${what}`);
    retry.addEventListener("click", () => this.#retry(letter, what));
    drop.addEventListener("click", () => this.#drop(letter, what));
    const buttons = element("span", "", { class: "buttons" });
    buttons.append(retry, drop);
    item.append(buttons);
    return item;
  }

  async #retry({ letter_id: id }, what) {
    const text = "Its request is queued once more, at the end of its session, and is no dead letter any more.";
    if (!(await this.#on.confirm(`Retry ${what}?`, text, "Retry"))) return;
    await this.#act(async () => {
      const { message_id: now, retry_of: before } = await this.#feed.once("POST", `dead-letters/${id}/retry`);
      return before ? `${before} has ended; it is queued as ${now}.` : `${what} is queued again.`;
    });
  }

  async #drop({ letter_id: id }, what) {
    const text = "It is removed for good, and what it says is overwritten at the broker.";
    if (!(await this.#on.confirm(`Drop ${what}?`, text, "Drop"))) return;
    await this.#act(async () => {
      await this.#feed.once("DELETE", `dead-letters/${id}`);
      return `${what} is gone.`;
    });
  }

  async #act(doing) {
    try {
      say(this.#at.said, await doing());
    } catch (error) {
      say(this.#at.said, `Not done: ${error.message}`);
    }
    await this.read();
  }
}

// --- Sessions -----------------------------------------------------------------------------------------------------------

export class SessionList {
  #feed;
  #at;
  #on;
  #rows = [];
  #next = null;
  #reading = new AbortController();

  /** `at`: `form`, `list`, `empty`, `more`, `seen`. `on`: `replay(sessionId)`, `fail(error)`. */
  constructor(feed, at, on) {
    [this.#feed, this.#at, this.#on] = [feed, at, on];
    at.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.read();
    });
    let typed;
    at.form.addEventListener("input", () => {
      clearTimeout(typed);
      if (at.form.checkValidity()) typed = setTimeout(() => this.read(), TYPED_MS);
    });
    at.more.addEventListener("click", () => this.read(this.#next));
  }

  async read(before = null) {
    this.#reading.abort();
    const { signal } = (this.#reading = new AbortController());
    const { ids, state } = this.#at.form.elements;
    const asked = new URLSearchParams({ limit: MOST_SESSIONS });
    if (ids.value.trim()) asked.set("ids", `*${ids.value.trim()}*`);
    if (state.value) asked.set("state", state.value);
    if (before !== null) asked.set("before", before);
    try {
      const { sessions, next } = await this.#feed.read(`sessions?${asked}`, signal);
      if (signal.aborted) return;
      this.#rows = before === null ? sessions : [...this.#rows, ...sessions];
      this.#next = next;
      say(this.#at.seen, `as they were at ${new Date().toLocaleTimeString("en-GB")}`);
      this.#show();
    } catch (error) {
      if (!signal.aborted) this.#on.fail(error);
    }
  }

  /** Ages grow by themselves. What sessions do is read when it is asked for: it costs the broker more than a look. */
  tick() {
    if (this.#rows.length) this.#show();
  }

  #show() {
    const { list, empty, more } = this.#at;
    empty.hidden = this.#rows.length > 0;
    more.hidden = this.#next === null;
    keep(list, this.#rows, ({ session_id: id }) => id, (row) => this.#make(row), (item, row) => {
      item.dataset.stage = row.state;
      const queued = row.unanswered > 1 ? `, ${row.unanswered} without an answer` : "";
      const readers = row.pods.length ? `read at ${listed(row.pods)}` : "";
      write(item, row.session_id, `${row.state}${row.worker_id ? ` at ${row.worker_id}` : ""}${queued}`, readers, ago(row.claimed_at));
    });
  }

  #make({ session_id: id }) {
    const item = line();
    const replay = element("button", "Replay", { type: "button", class: "quiet", "aria-label": `Replay ${id}` });
    replay.addEventListener("click", () => this.#on.replay(id));
    const buttons = element("span", "", { class: "buttons" });
    buttons.append(replay);
    item.append(buttons);
    return item;
  }
}
