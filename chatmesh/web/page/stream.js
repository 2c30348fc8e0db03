// A session's events, for as long as the page lives.
//
// EventSource reconnects by itself and says what it saw last, except where it gives up: on any status but 200, and in
// some browsers on a refused connection. Then another one is made here, from the last position.

import { backoff } from "/page/api.js";

const SHOWN_DOWN_MS = 3000;
const SETTLED_MS = 500; // a server that can't serve now opens a stream only to end it at once

/** `on` has `chunk(body)`, `reset(body)` and `health(isUp)`, which is called when it changes. */
export class Stream {
  #url;
  #on;
  #source = null;
  #position = null;
  #failures = 0;
  #again;
  #settled;
  #overdue;
  #isShownDown = false;

  constructor(url, on) {
    this.#url = url;
    this.#on = on;
  }

  /** Go on behind `position`; from the very beginning where it is null. */
  open(position) {
    this.close();
    this.#position = position;
    this.#connect();
  }

  /** Go on where it was left. */
  resume() {
    this.open(this.#position);
  }

  /** Until it is opened again, this counts as down. */
  close() {
    clearTimeout(this.#again);
    clearTimeout(this.#settled);
    this.#source?.close();
    this.#miss();
  }

  #connect() {
    const where = this.#position === null ? { from: "start" } : { last_event_id: this.#position };
    const source = new EventSource(`${this.#url}?${new URLSearchParams(where)}`);
    this.#source = source;
    source.onopen = () => {
      this.#settled = setTimeout(() => this.#up(), SETTLED_MS);
    };
    source.onerror = () => this.#down();
    source.onmessage = (event) => this.#hear(event, this.#on.chunk);
    source.addEventListener("reset", (event) => this.#hear(event, this.#on.reset));
    // `drain` says that this server leaves; the reconnection that follows is all there is to do.
  }

  #hear(event, handle) {
    this.#position = event.lastEventId || this.#position;
    this.#up();
    handle(JSON.parse(event.data));
  }

  #up() {
    this.#failures = 0;
    clearTimeout(this.#settled);
    clearTimeout(this.#overdue);
    this.#overdue = undefined;
    this.#show(false);
  }

  #down() {
    clearTimeout(this.#settled);
    this.#miss();
    if (this.#source.readyState === EventSource.CLOSED) {
      this.#again = setTimeout(() => this.#connect(), backoff(this.#failures));
      this.#failures += 1;
    }
  }

  #miss() {
    this.#overdue ??= setTimeout(() => this.#show(true), SHOWN_DOWN_MS);
  }

  #show(isDown) {
    if (isDown !== this.#isShownDown) this.#on.health(!isDown);
    this.#isShownDown = isDown;
  }
}
