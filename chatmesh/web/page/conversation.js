// The conversation as shown: turns of one message and its answer. It is told what was said and decides nothing else.
//
// A turn's state stands in its `data-state`: `sending` until the server has it, `open` until its answer has ended, then
// `done`, `stopped` or `failed`, or `refused` where the server did not take it.

const STATE_OF_STATUS = { queued: "open", running: "open", done: "done", stopped: "stopped", failed: "failed" };
const STATE_OF_REASON = { error: "failed", cancelled: "stopped" };
const NOTE_OF_REASON = {
  cancelled: "Stopped.",
  content_filter: "Ended by a content filter.",
  length: "Ended at the length limit.",
};

class Turn {
  #said;
  #note;
  #answer = new Text();
  #lastChunk = -1;

  constructor(id, template) {
    this.id = id;
    this.element = template.content.cloneNode(true).querySelector(".turn");
    this.element.dataset.messageId = id;
    this.#said = this.element.querySelector(".said");
    this.#note = this.element.querySelector(".note");
    this.element.querySelector(".answer").append(this.#answer);
    this.state = "open";
  }

  get state() {
    return this.element.dataset.state;
  }

  set state(state) {
    this.element.dataset.state = state;
    this.element.setAttribute("aria-busy", String(state === "open"));
    this.note = "";
  }

  set note(text) {
    this.#note.textContent = text;
  }

  get answer() {
    return this.#answer.data;
  }

  get isWaiting() {
    return (this.state === "open" || this.state === "sending") && this.answer === "";
  }

  say(text) {
    this.#said.textContent = text;
    this.#said.hidden = false;
  }

  /** A row of the history: all there is so far. The stream then goes on behind it. */
  fill(row) {
    if (row.role === "user") return this.say(row.content);
    this.#answer.data = row.content;
    this.#lastChunk = -1;
    this.state = STATE_OF_STATUS[row.status] ?? "open";
    this.#explain(row.finish_reason, row.error);
  }

  /** The next chunk; one that was seen already changes nothing. Returns whether it ended the answer. */
  take(chunk) {
    if (chunk.chunk_id <= this.#lastChunk) return false;
    this.#lastChunk = chunk.chunk_id;
    if (this.state === "sending") this.state = "open";
    if (chunk.chunk_type === "content") this.#answer.appendData(chunk.chunk);
    if (!chunk.is_final) return false;
    const reason = chunk.metadata?.finish_reason ?? (chunk.error ? "error" : "stop");
    this.state = STATE_OF_REASON[reason] ?? "done";
    this.#explain(reason, chunk.error);
    return true;
  }

  /** Drops the answer's text; another one comes. */
  clear() {
    this.#answer.data = "";
    this.state = "open";
  }

  #explain(reason, error) {
    this.note = this.state === "failed" ? error?.message || "This answer failed." : (NOTE_OF_REASON[reason] ?? "");
  }
}

export class Conversation {
  #turns = new Map();
  #list;
  #template;

  constructor(list, template) {
    this.#list = list;
    this.#template = template;
  }

  get isEmpty() {
    return this.#turns.size === 0;
  }

  get(id) {
    return this.#turns.get(id);
  }

  /** A message of this page, on its way: last of all. */
  send(id, text) {
    const turn = this.#add(id, null);
    turn.say(text);
    turn.state = "sending";
    this.#tellWaiting();
    return turn;
  }

  /** The server has it. The stream may have told so before. */
  accepted(turn) {
    if (turn.state === "sending") turn.state = "open";
    this.#tellWaiting();
  }

  refused(turn, reason) {
    turn.state = "refused";
    turn.note = `Not sent: ${reason}`;
    this.#tellWaiting();
  }

  /** All rows of the history. What it does not know goes, but for what may be on its way there. */
  fill(rows) {
    const known = new Set(rows.map((row) => row.message_id));
    for (const turn of this.#turns.values()) {
      if (!known.has(turn.id) && !turn.isWaiting && turn.state !== "refused") this.remove(turn);
    }
    const unsent = this.#first((turn) => !known.has(turn.id));
    for (const row of rows) (this.get(row.message_id) ?? this.#add(row.message_id, unsent)).fill(row);
    this.#tellWaiting();
  }

  /** A chunk of the stream. Returns its turn, whether that is new here, and whether it has ended with this chunk. */
  take(chunk) {
    const known = this.get(chunk.message_id);
    // An answer that begins comes before those that still wait, whoever asked first on this page.
    const turn = known ?? this.#add(chunk.message_id, this.#first((other) => other.isWaiting));
    const wasWaiting = turn.isWaiting;
    const isEnd = turn.take(chunk);
    if (isEnd || wasWaiting !== turn.isWaiting) this.#tellWaiting();
    return { turn, isNew: known === undefined, isEnd };
  }

  clear(id) {
    this.get(id)?.clear();
    this.#tellWaiting();
  }

  #add(id, before) {
    const turn = new Turn(id, this.#template);
    this.#turns.set(id, turn);
    this.#list.insertBefore(turn.element, before?.element ?? null);
    return turn;
  }

  remove(turn) {
    this.#turns.delete(turn.id);
    turn.element.remove();
  }

  #first(holds) {
    for (const element of this.#list.children) {
      const turn = this.get(element.dataset.messageId);
      if (holds(turn)) return turn;
    }
    return null;
  }

  /** One answer at a time: whoever comes after an open one says that it waits. */
  #tellWaiting() {
    let isBusy = false;
    for (const element of this.#list.children) {
      const turn = this.get(element.dataset.messageId);
      if (turn.isWaiting) turn.note = turn.state === "sending" ? "Sending…" : isBusy ? "Waiting for its turn" : "Waiting…";
      else if (turn.state === "open") turn.note = "";
      element.toggleAttribute("data-queued", turn.isWaiting && isBusy);
      isBusy ||= turn.state === "open";
    }
  }
}
