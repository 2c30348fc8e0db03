// A session's events over as many connections as it takes. In: a way to open one behind a position. Out: raw events.
//
// It never gives up by itself, whatever the status, but for the server's own last word.

import { finalWord } from "./caller.js";
import { EventParser } from "./events.js";
import { backoff, retryAfter, sleep } from "./pauses.js";

const RETRY_MS = 1000; // where a stream has not said how long to wait
export const STALL_MS = 45_000; // three keep-alives: what is silent for longer is dead

/**
 * `open(position, signal)` gives a Response. `on` has `event(raw)`, which may return a promise to wait for, `link(isUp)`,
 * `sign()` for each sign of life, `away(times)`, if it is there, where a pod says that it can't serve this now, so many times
 * in a row, and `end(error)`: no more will come, null where all was said.
 */
export class Source {
  #open;
  #on;
  #stallMs;
  #position;
  #retryMs = RETRY_MS;
  #failures = 0;
  #askedMs = 0; // by Retry-After
  #connection = null;
  #pause = null;
  #isClosed = false;
  #isUp = false;

  constructor(open, position, on, { stallMs = STALL_MS } = {}) {
    this.#open = open;
    this.#position = position;
    this.#on = on;
    this.#stallMs = stallMs;
    this.#run();
  }

  /** Breaks the connection as a bad network would; it comes back by itself. */
  cut() {
    this.#connection?.abort();
  }

  /** Ends a pause: there may be a network again. */
  wake() {
    this.#pause?.abort();
  }

  close() {
    this.#isClosed = true;
    this.#connection?.abort();
    this.#pause?.abort();
  }

  async #run() {
    let isFirst = true;
    while (!this.#isClosed) {
      if (!isFirst) await this.#sleep();
      isFirst = false;
      if (this.#isClosed) return;
      const end = await this.#connect();
      if (end !== undefined && !this.#isClosed) {
        this.#isClosed = true;
        this.#on.end(end);
      }
    }
  }

  /** One connection, from its beginning to its end. Returns undefined where another one has to follow. */
  async #connect() {
    const connection = (this.#connection = new AbortController());
    const watchdog = new Watchdog(connection, this.#stallMs);
    this.#askedMs = 0;
    try {
      const response = await this.#open(this.#position, connection.signal);
      watchdog.pet();
      if (response.status === 204) return null;
      if (isStream(response)) return void (await this.#read(response, watchdog));
      this.#askedMs = retryAfter(response.headers.get("Retry-After"));
      this.#failures += 1;
      return (await finalWord(response)) ?? undefined;
    } catch (error) {
      if (error instanceof RangeError || error.name === "ChatmeshError") return error;
      if (!this.#isUp) this.#failures += 1; // no network; one that was cut waits as long as it was told
      return undefined;
    } finally {
      watchdog.rest();
      connection.abort();
      this.#show(false);
    }
  }

  async #read(response, watchdog) {
    const parser = new EventParser(this.#position ?? "");
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    for (;;) {
      watchdog.pet();
      const { done, value } = await reader.read();
      watchdog.rest(); // waiting for whoever takes the events is no silence of the server
      if (done) break;
      const events = parser.feed(decoder.decode(value, { stream: true }));
      this.#retryMs = parser.retryMs ?? this.#retryMs;
      this.#on.sign();
      if (parser.hasId) this.#settle();
      for (const event of events) {
        if (this.#isClosed) return;
        this.#position = event.id || this.#position;
        await this.#on.event(event);
      }
    }
    if (parser.hasId) return;
    this.#failures += 1; // it can't be served now
    this.#on.away?.(this.#failures);
  }

  #settle() {
    this.#failures = 0;
    this.#show(true);
  }

  async #sleep() {
    this.#pause = new AbortController();
    const ms = this.#failures ? Math.max(backoff(this.#failures - 1), this.#askedMs) : this.#retryMs;
    await sleep(ms, this.#pause.signal);
    this.#pause = null;
  }

  #show(isUp) {
    if (isUp === this.#isUp || this.#isClosed) return;
    this.#isUp = isUp;
    this.#on.link(isUp);
  }
}

/** A portal's or a proxy's page is a 200, too. */
const isStream = (response) =>
  response.status === 200 && (response.headers.get("Content-Type") ?? "").startsWith("text/event-stream");

class Watchdog {
  #timer;

  constructor(connection, ms) {
    this.connection = connection;
    this.ms = ms;
    this.pet();
  }

  /** Something came; it begins to wait again. */
  pet() {
    this.rest();
    this.#timer = setTimeout(() => this.connection.abort(), this.ms);
  }

  rest() {
    clearTimeout(this.#timer);
  }
}
