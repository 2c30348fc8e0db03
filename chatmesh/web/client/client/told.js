// What was told of each message: which chunks came, whether one is missing, and whether the text is the whole one.
//
// Chunk ids count from 0 within a message and rise by one, over attempts too. The final chunk has the digest of all text.

const MOST_ENDED = 1000; // messages whose end is remembered

/** One message, since its last reset. */
class Told {
  first = null;
  last = -1;
  lost = 0;
  repeated = 0;
  isEnded = false;
  #text = [];
  #isFromStart = true;

  /** A part that was read elsewhere: of the history. The chunks behind it follow, whatever their ids. */
  begin(text, isEnded) {
    this.#text = [text];
    this.isEnded = isEnded;
    this.last = null;
  }

  restart() {
    this.#text = [];
    this.#isFromStart = true;
  }

  /** False: it was here before. */
  add(chunk) {
    const id = chunk.chunk_id;
    if (this.last !== null && id <= this.last) {
      this.repeated += 1;
      return false;
    }
    if (this.last !== null) this.#count(id);
    this.first ??= id;
    this.last = id;
    if (chunk.chunk_type === "content") this.#text.push(chunk.chunk);
    if (chunk.is_final) this.isEnded = true;
    return true;
  }

  /** Whether the text is what the final chunk says; null: nobody can tell. */
  async verify(final) {
    const digest = final.metadata?.digest;
    const subtle = globalThis.crypto?.subtle; // missing on plain http, away from localhost
    const isComparable = this.#isFromStart && typeof digest === "string" && digest.startsWith("sha256:");
    const isWhole = isComparable && subtle ? (await hex(subtle, this.#text.join(""))) === digest.slice(7) : null;
    this.#text = [];
    return isWhole;
  }

  #count(id) {
    if (this.last === -1 && id > 0) this.#isFromStart = false; // it began before we came
    else this.lost += id - this.last - 1;
  }
}

/** All messages of a session. */
export class Ledger {
  #messages = new Map();

  /** From the history: the text so far. */
  begin(messageId, text, isEnded) {
    const told = this.#put(messageId);
    told.begin(text, isEnded);
  }

  /** Of one message: it begins anew. Of all where none is named. */
  reset(messageId) {
    if (messageId === null) this.#messages.clear();
    else this.#messages.get(messageId)?.restart();
  }

  forget(messageId) {
    this.#messages.delete(messageId);
  }

  /** The next chunk: undefined where it was here before. */
  add(chunk) {
    const told = this.#messages.get(chunk.message_id) ?? this.#put(chunk.message_id);
    return told.add(chunk) ? told : undefined;
  }

  /** `{first, last, lost, repeated}` of a message's chunks; null where none came. */
  count(messageId) {
    const told = this.#messages.get(messageId);
    if (told?.first == null) return null;
    const { first, last, lost, repeated } = told;
    return { first, last, lost, repeated };
  }

  #put(messageId) {
    const told = new Told();
    this.#messages.delete(messageId);
    this.#messages.set(messageId, told);
    for (const [id, { isEnded }] of this.#messages) {
      if (this.#messages.size <= MOST_ENDED) break;
      if (isEnded) this.#messages.delete(id);
    }
    return told;
  }
}

async function hex(subtle, text) {
  const hash = await subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
