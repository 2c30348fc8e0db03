// A session's events for whoever reads them: each once, in order, with what was missed asked for again.

import { Queue } from "./queue.js";
import { Ledger } from "./told.js";

const MOST_WAITING = 8192; // raw events; who is further behind goes on from where it is, with a connection of its own
const MOST_RESETS = 256; // remembered

/**
 * An async iterator of `{type: "chunk"}`, `{type: "reset"}` and, where it was asked for, `{type: "history"}`.
 *
 * `reader` opens connections: `share(position, on)`, `alone(position, on)` and `message(id, on)` give a Source, `history()`
 * the rows so far. As an EventTarget it tells `link` whenever the connection comes and goes.
 */
export class Stream extends EventTarget {
  /** Behind the last event that was handed out. */
  position;
  /** Whether a pod serves it now. */
  isLive = false;
  /** How often it was connected; from 2 on it was resumed. */
  connects = 0;
  #reader;
  #withHistory;
  #isNew;
  #queue = new Queue();
  #ledger = new Ledger();
  #resets = new Set(); // positions of those that were obeyed
  #source = null;
  #isClosed = false;
  #iterator;
  #onWake = () => this.#source?.wake();

  constructor(reader, { position = null, history = false, isNew = false, isShared = true } = {}) {
    super();
    this.#reader = reader;
    this.position = position;
    this.#withHistory = history;
    this.#isNew = history && isNew;
    this.isShared = isShared;
    globalThis.addEventListener?.("online", this.#onWake);
    globalThis.addEventListener?.("pageshow", this.#onWake);
    this.#iterator = this.#events();
    if (this.#isNew) this.#queue.push({ name: "history" });
    if (!history || isNew) this.#open();
  }

  [Symbol.asyncIterator]() {
    return this.#iterator;
  }

  /** What came of a message: `{first, last, lost, repeated}`, ids of chunks and numbers of them. Null: nothing yet. */
  count(messageId) {
    return this.#ledger.count(messageId);
  }

  /** Breaks the connection as a bad network would. It comes back by itself. */
  cut() {
    this.#source?.cut();
  }

  /** Reads no more. Answers go on: `stop` is for them. */
  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    globalThis.removeEventListener?.("online", this.#onWake);
    globalThis.removeEventListener?.("pageshow", this.#onWake);
    this.#source?.close();
    this.#queue.clear();
    this.#queue.push({ end: null });
    this.#show(false);
  }

  // --- In

  #open() {
    if (this.#isClosed) return;
    const connect = this.isShared ? this.#reader.share : this.#reader.alone;
    let isCurrent = true;
    const source = connect(this.position, {
      event: (event) => (isCurrent ? this.#take(event) : undefined),
      link: (isUp) => isCurrent && this.#show(isUp),
      sign: () => {},
      end: (error) => isCurrent && this.#queue.push({ end: error }),
    });
    this.#source = {
      cut: () => source.cut(),
      wake: () => source.wake(),
      close: () => {
        isCurrent = false;
        source.close();
      },
    };
  }

  #take(event) {
    if (this.#queue.length < MOST_WAITING) return this.#queue.push(event);
    // Nothing is lost: what was not handed out comes again, at the pace of whoever reads.
    this.isShared = false;
    this.#reopen();
    return undefined;
  }

  #reopen() {
    this.#source?.close();
    this.#queue.clear();
    this.#show(false);
    this.#open();
  }

  #show(isUp) {
    if (isUp === this.isLive) return;
    this.isLive = isUp;
    if (isUp) this.connects += 1;
    this.dispatchEvent(new Event("link"));
  }

  // --- Out

  async *#events() {
    try {
      if (this.#withHistory && !this.#isNew) yield* this.#load();
      for (;;) {
        const event = await this.#queue.take();
        if ("end" in event) {
          if (event.end) throw event.end;
          return;
        }
        if (event.hasOwnId) this.position = event.id;
        if (event.name === "message") yield* this.#chunk(JSON.parse(event.data));
        else if (event.name === "reset") yield* this.#taken(event);
        else if (event.name === "history") yield { type: "history", rows: [] };
        // `drain` says that this pod leaves; the reconnection that follows is all there is to do.
      }
    } finally {
      this.close();
    }
  }

  /** All that was said so far; the events go on behind it. */
  async *#load() {
    const told = await this.#reader.history();
    this.#ledger.reset(null);
    for (const row of told.rows) {
      if (row.role !== "assistant") continue;
      this.#ledger.begin(row.message_id, row.content, !["queued", "running"].includes(row.status));
    }
    this.position = told.position;
    this.#reopen();
    yield { type: "history", rows: told.rows };
  }

  /** A reset that came twice would take back what came behind it. */
  async *#taken(event) {
    const body = JSON.parse(event.data);
    if (body.message_id !== undefined && event.hasOwnId) {
      if (this.#resets.has(event.id)) return;
      this.#resets.add(event.id);
      if (this.#resets.size > MOST_RESETS) this.#resets.delete(this.#resets.values().next().value);
    }
    yield* this.#reset(body);
  }

  async *#reset({ reason, message_id: messageId = null }) {
    if (messageId === null && this.#withHistory) return yield* this.#load();
    this.#ledger.reset(messageId);
    yield { type: "reset", reason, messageId };
  }

  async *#chunk(chunk) {
    const told = this.#ledger.add(chunk);
    if (told === undefined) return;
    if (!chunk.is_final) return yield { type: "chunk", chunk, isVerified: null };
    const isVerified = await told.verify(chunk);
    // What has no digest is of a foreign worker, or of an older one: there is nothing to compare with, or to read again.
    const isHole = isVerified === null && told.lost > 0 && chunk.metadata?.digest !== undefined;
    if (isVerified === false || isHole) yield* this.#mend(chunk);
    else yield { type: "chunk", chunk, isVerified };
  }

  /** What came is not what was stored: the message is read once more, from its beginning. */
  async *#mend(final) {
    const messageId = final.message_id;
    this.#ledger.forget(messageId);
    yield { type: "reset", reason: "digest", messageId };
    const queue = new Queue();
    const on = { event: (event) => queue.push(event), link() {}, sign() {}, end: (end) => queue.push({ end }) };
    const source = this.#reader.message(messageId, on);
    try {
      for (;;) {
        const event = await queue.take();
        if ("end" in event) return yield { type: "chunk", chunk: final, isVerified: false };
        if (event.name === "reset") yield* this.#reset({ message_id: messageId, ...JSON.parse(event.data) });
        if (event.name !== "message") continue;
        const chunk = JSON.parse(event.data);
        const told = this.#ledger.add(chunk);
        if (told === undefined) continue;
        const isVerified = chunk.is_final ? await told.verify(chunk) : null;
        yield { type: "chunk", chunk, isVerified };
        if (chunk.is_final) return;
      }
    } finally {
      source.close();
    }
  }
}
