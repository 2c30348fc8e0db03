// How fast an answer came, by the server's clock where the browser's was not there to see it.

/** What is known of one answer. All times in milliseconds. */
export class Measures {
  sentAt = null;
  firstAt = null;
  lastAt = null;
  tokens = 0;
  model = "";
  #askedAt = null; // by the server's clock, as the two below
  #answeredAt = null;
  #endedAt = null;

  /** Sent from here, now. */
  begin() {
    this.sentAt = performance.now();
  }

  asked(row) {
    this.#askedAt = time(row.created_at);
  }

  /** A row of the history. */
  answered(row) {
    this.#answeredAt = time(row.created_at);
    this.#endedAt = time(row.ended_at);
    this.model = row.model ?? this.model;
    this.tokens = row.spend?.delivered_tokens ?? this.tokens;
  }

  chunk(chunk) {
    this.model = chunk.metadata?.model ?? this.model;
    const now = time(chunk.timestamp);
    if (chunk.chunk_type === "content" && chunk.chunk !== "") {
      this.firstAt ??= performance.now();
      this.#answeredAt ??= now;
      this.tokens += 1;
    }
    if (!chunk.is_final) return;
    this.tokens = chunk.metadata?.tokens_used ?? this.tokens;
    this.#endedAt = now;
  }

  restart() {
    this.tokens = 0;
  }

  /** From the message to its first token; null where nobody knows. */
  get firstTokenMs() {
    if (this.sentAt !== null && this.firstAt !== null) return this.firstAt - this.sentAt;
    return between(this.#askedAt, this.#answeredAt);
  }

  get tokensPerSecond() {
    const ms = between(this.#answeredAt, this.#endedAt);
    return ms > 0 && this.tokens > 1 ? (1000 * (this.tokens - 1)) / ms : null;
  }

  /** For people. */
  toString() {
    const parts = [];
    if (this.firstTokenMs !== null) parts.push(`${seconds(this.firstTokenMs)} to the first token`);
    if (this.tokensPerSecond !== null) parts.push(`${rate(this.tokensPerSecond)} tokens/s`);
    if (this.model) parts.push(this.model);
    return parts.join(" · ");
  }
}

const time = (text) => (text ? Date.parse(text) || null : null);
const between = (from, to) => (from === null || to === null || to < from ? null : to - from);
const seconds = (ms) => (ms < 9950 ? `${(ms / 1000).toFixed(ms < 995 ? 2 : 1)} s` : `${Math.round(ms / 1000)} s`);
const rate = (value) => (value < 100 ? value.toFixed(1) : String(Math.round(value)));
