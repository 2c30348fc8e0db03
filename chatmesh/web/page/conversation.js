// The conversation as shown: turns of one message and its answer. It is told what was said and decides nothing else.

import { Turn } from "/page/turn.js";

export class Conversation {
  #turns = new Map();
  #list;
  #template;
  #on;

  /** `on` as a Turn has it, and `change()` after each change of who is answered or waits. */
  constructor(list, template, on) {
    this.#list = list;
    this.#template = template;
    this.#on = on;
  }

  get isEmpty() {
    return this.#turns.size === 0;
  }

  /** The one that is being answered, or is the next to be; null where nothing runs. */
  get running() {
    return this.#first((turn) => turn.state === "open");
  }

  get(id) {
    return this.#turns.get(id);
  }

  /** Those before a turn that were answered, oldest first. */
  before(turn) {
    const turns = this.#inOrder();
    return turns.slice(0, turns.indexOf(turn)).filter(({ state, answer }) => state === "done" && answer !== "");
  }

  /** A message of this page, on its way: last of all. */
  send(id, text) {
    const turn = this.#add(id, null);
    turn.send(text);
    this.#tellWaiting();
    return turn;
  }

  /** A message of another tab, which the server has. */
  announce(id, text) {
    const turn = this.get(id) ?? this.#add(id, null);
    turn.say(text);
    this.#tellWaiting();
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

  /**
   * All rows of the history. What it does not know goes, but for what may be on its way there. Returns what the server has
   * taken of that: accepted while the history was read, or erased with all that was said.
   */
  fill(rows) {
    const known = new Set(rows.map((row) => row.message_id));
    for (const turn of this.#turns.values()) {
      if (!known.has(turn.id) && !turn.isWaiting && turn.state !== "refused") this.remove(turn);
    }
    const unsent = this.#first((turn) => !known.has(turn.id));
    for (const row of rows) (this.get(row.message_id) ?? this.#add(row.message_id, unsent)).fill(row);
    this.#tellWaiting();
    return this.#inOrder().filter((turn) => !known.has(turn.id) && turn.state === "open");
  }

  /** A chunk of the stream. Returns its turn, whether that is new here, and whether it has ended with this chunk. */
  take(chunk) {
    const known = this.get(chunk.message_id);
    // An answer that begins comes before those that still wait, whoever asked first on this page.
    const turn = known ?? this.#add(chunk.message_id, this.#first((other) => other.isWaiting));
    const wasWaiting = turn.isWaiting;
    const isEnd = turn.take(chunk);
    if (isEnd || wasWaiting !== turn.isWaiting || known === undefined) this.#tellWaiting();
    return { turn, isNew: known === undefined, isEnd };
  }

  clear(id) {
    this.get(id)?.clear();
    this.#tellWaiting();
  }

  remove(turn) {
    this.#turns.delete(turn.id);
    turn.element.remove();
    this.#tellWaiting();
  }

  #add(id, before) {
    const turn = new Turn(id, this.#template, this.#on);
    this.#turns.set(id, turn);
    this.#list.insertBefore(turn.element, before?.element ?? null);
    return turn;
  }

  #inOrder() {
    return Array.from(this.#list.children, (element) => this.get(element.dataset.messageId));
  }

  #first(holds) {
    return this.#inOrder().find(holds) ?? null;
  }

  /** One answer at a time: whoever comes after an open one says how many are before it. */
  #tellWaiting() {
    let ahead = 0;
    for (const turn of this.#inOrder()) {
      const isQueued = turn.isWaiting && ahead > 0;
      if (turn.isWaiting) turn.note = turn.state === "sending" ? "Sending…" : isQueued ? place(ahead) : "Waiting…";
      else if (turn.state === "open") turn.note = "";
      turn.element.toggleAttribute("data-queued", isQueued);
      if (turn.state === "open") ahead += 1;
    }
    this.#on.change();
  }
}

const place = (ahead) => `Waiting for its turn: ${ahead === 1 ? "it is next" : `${ahead} are before it`}`;
