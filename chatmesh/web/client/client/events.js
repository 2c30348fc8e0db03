// An event stream's text becomes events (WHATWG HTML, 9.2.6), however the network has cut it.
//
// One parser for one connection; what it knows at its end (`lastId`, `retryMs`) goes into the next one.

const MAX_CHARACTERS = 16 * 1024 * 1024; // of one event; a broker's message is 1 MiB as a rule

export class EventParser {
  /** The last position that was seen: of an event, or of a block without data. */
  lastId;
  /** How long the server asks to wait before coming back; null: it has not said. */
  retryMs = null;
  /** This connection has named a position: a pod that can't serve now says `retry:` only. */
  hasId = false;
  #rest = "";
  #isFirst = true;
  #name = "";
  #data = [];
  #size = 0;
  #nextId;

  constructor(lastId) {
    this.lastId = lastId;
    this.#nextId = lastId;
  }

  /**
   * What `text` completes: `{name, data, id, hasOwnId}`. A block that only names a position has the name "".
   * Throws RangeError for one that is larger than any that a pod sends.
   */
  feed(text) {
    return this.#lines(text).map((line) => this.#onLine(line)).filter((event) => event !== null);
  }

  #lines(text) {
    let all = this.#rest + text;
    if (this.#isFirst && all !== "") {
      all = all.replace(/^\uFEFF/, "");
      this.#isFirst = false;
    }
    // A CR at the very end may be half of a CRLF: kept until the next character says so.
    const held = all.endsWith("\r") ? "\r" : "";
    const lines = all.slice(0, all.length - held.length).split(/\r\n|\r|\n/);
    this.#rest = lines.pop() + held;
    this.#check(this.#rest.length);
    return lines;
  }

  #onLine(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") {
      this.#size += value.length;
      this.#check(this.#size);
      this.#data.push(value);
    } else if (name === "event") {
      this.#name = value;
    } else if (name === "id" && !value.includes("\0")) {
      this.#nextId = value;
      this.hasId = true;
    } else if (name === "retry" && /^\d{1,9}$/.test(value)) {
      this.retryMs = Number(value);
    }
    return null;
  }

  /** At an empty line. Without data there is no event, but the id counts: the opening block has one. */
  #dispatch() {
    const hasOwnId = this.#nextId !== this.lastId;
    const hasData = this.#data.length > 0;
    this.lastId = this.#nextId;
    const name = hasData ? this.#name || "message" : "";
    const event = hasData || hasOwnId ? { name, data: this.#data.join("\n"), id: this.lastId, hasOwnId } : null;
    this.#name = "";
    this.#data = [];
    this.#size = 0;
    return event;
  }

  #check(size) {
    if (size > MAX_CHARACTERS) throw new RangeError(`an event is larger than ${MAX_CHARACTERS} characters`);
  }
}
