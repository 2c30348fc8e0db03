// One message and its answer, as shown.
//
// Its state stands in `data-state`: `sending` until the server has it, `open` until its answer has ended, then `done`,
// `stopped` or `failed`, or `refused` where the server did not take it.

import { copyButton } from "/page/code.js";
import { Markdown } from "/page/markdown.js";
import { Measures } from "/page/measures.js";

const STATE_OF_STATUS = { queued: "open", running: "open", done: "done", stopped: "stopped", failed: "failed" };
const STATE_OF_REASON = { error: "failed", cancelled: "stopped" };
const NOTE_OF_REASON = {
  cancelled: "Stopped.",
  content_filter: "Ended by a content filter.",
  length: "Ended at the length limit.",
};

export class Turn {
  #said;
  #note;
  #measures;
  #markdown;
  #numbers = new Measures();
  #answer = "";
  #isLive = false; // what is read from the history is not read out

  /** `on`: `stop(turn)` and `again(turn)`, for its buttons; `speak(text)`, for each block that is whole. */
  constructor(id, template, on) {
    this.id = id;
    this.element = template.content.cloneNode(true).querySelector(".turn");
    this.element.dataset.messageId = id;
    const find = (name) => this.element.querySelector(`.${name}`);
    [this.#said, this.#note, this.#measures] = ["said", "note", "measures"].map(find);
    this.#markdown = new Markdown(find("answer"), (text) => this.#isLive && on.speak(text));
    find("stop").addEventListener("click", () => on.stop(this));
    find("again").addEventListener("click", () => on.again(this));
    const copy = copyButton("Copy answer", () => this.#answer);
    copy.classList.add("copy");
    find("stop").after(copy);
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

  get said() {
    return this.#said.textContent;
  }

  get answer() {
    return this.#answer;
  }

  get isWaiting() {
    return (this.state === "open" || this.state === "sending") && this.#answer === "";
  }

  say(text) {
    this.#said.textContent = text;
    this.#said.hidden = false;
  }

  /** It leaves for the server, now. */
  send(text) {
    this.say(text);
    this.state = "sending";
    this.#numbers.begin();
  }

  /** A row of the history: all there is so far. The stream then goes on behind it. */
  fill(row) {
    if (row.role === "user") {
      this.#numbers.asked(row);
      return this.say(row.content);
    }
    this.#isLive = false;
    this.#show(row.content);
    this.#numbers.answered(row);
    this.state = STATE_OF_STATUS[row.status] ?? "open";
    return this.#explain(row.finish_reason, row.error);
  }

  /** The next chunk. Returns whether it ended the answer. */
  take(chunk) {
    this.#isLive = true;
    this.#numbers.chunk(chunk);
    if (this.state === "sending") this.state = "open";
    if (chunk.chunk_type === "content" && chunk.chunk !== "") {
      this.#answer += chunk.chunk;
      this.#markdown.add(chunk.chunk);
    }
    if (!chunk.is_final) return false;
    const reason = chunk.metadata?.finish_reason ?? (chunk.error ? "error" : "stop");
    this.state = STATE_OF_REASON[reason] ?? "done";
    this.#explain(reason, chunk.error);
    return true;
  }

  /** Drops the answer's text; another one comes. */
  clear() {
    this.#show("");
    this.#numbers.restart();
    this.state = "open";
  }

  #show(text) {
    this.#markdown.clear();
    this.#answer = text;
    this.#markdown.add(text);
  }

  #explain(reason, error) {
    if (this.state === "open") return;
    this.#markdown.end();
    this.note = this.state === "failed" ? error?.message || "This answer failed." : (NOTE_OF_REASON[reason] ?? "");
    this.#measures.textContent = String(this.#numbers);
  }
}
