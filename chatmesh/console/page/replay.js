// A session as it was written: a slider over its pieces, and a button that lets it run.

import { count, duration, element, say } from "/ops/words.js";

const MOST_PIECES = 40_000;
const LONGEST_GAP_MS = 3000; // between two pieces; what was longer is shortened, since nobody wants to watch a night
const BARS = 120;
const STEPS = 1000; // of the slider
const ENDS = { stop: "", ended: "", length: "ended at the length limit", cancelled: "stopped", error: "ended with an error" };

export class Replay {
  #dialog;
  #feed;
  #fail;
  #at;
  #pieces = [];
  #length = 0;
  #speed = 0;
  #place = 0; // in milliseconds of the shortened time
  #reading = new AbortController();

  constructor(dialog, feed, fail) {
    [this.#dialog, this.#feed, this.#fail] = [dialog, feed, fail];
    const names = ["replay-title", "replay-note", "stage", "density", "scrubber", "play", "fast", "clock"];
    const [title, note, stage, density, scrubber, play, fast, clock] = names.map((name) => document.getElementById(name));
    this.#at = { title, note, stage, density, scrubber, play, fast, clock };
    scrubber.addEventListener("input", () => {
      this.#run(0);
      this.#go((Number(scrubber.value) / STEPS) * this.#length);
    });
    play.addEventListener("click", () => this.#run(this.#speed === 1 ? 0 : 1));
    fast.addEventListener("click", () => this.#run(this.#speed === 4 ? 0 : 4));
    dialog.addEventListener("close", () => {
      if (dialog.open) return; // another session was chosen meanwhile
      this.#reading.abort();
      this.#run(0);
    });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // the backdrop
  }

  async show(sessionId) {
    this.#reading.abort();
    const { signal } = (this.#reading = new AbortController());
    this.#run(0);
    this.#take([]);
    say(this.#at.title, sessionId);
    say(this.#at.note, "Reading …");
    if (!this.#dialog.open) this.#dialog.showModal();
    try {
      const { pieces, isReadable, isWhole } = await this.#read(sessionId, signal);
      if (signal.aborted) return;
      this.#take(pieces);
      say(this.#at.note, note(pieces, isReadable, isWhole));
      this.#go(this.#length);
      this.#at.scrubber.focus();
    } catch (error) {
      if (signal.aborted) return;
      say(this.#at.note, error.message);
      if (error.status === 401) this.#fail(error);
    }
  }

  async #read(sessionId, signal) {
    const pieces = [];
    let after = 0;
    for (;;) {
      const page = await this.#feed.once("GET", `sessions/${sessionId}/replay?after=${after}`);
      signal.throwIfAborted();
      pieces.push(...page.pieces);
      after = page.next;
      if (after === null || pieces.length >= MOST_PIECES)
        return { pieces, isReadable: page.is_readable, isWhole: after === null };
    }
  }

  #take(pieces) {
    this.#pieces = timed(pieces);
    this.#length = this.#pieces.at(-1)?.place ?? 0;
    for (const button of [this.#at.play, this.#at.fast, this.#at.scrubber]) button.disabled = this.#length === 0;
    this.#drawDensity();
    this.#go(0);
  }

  #run(speed) {
    const wasRunning = this.#speed !== 0;
    this.#speed = speed;
    const { play, fast } = this.#at;
    play.setAttribute("aria-pressed", String(speed === 1));
    fast.setAttribute("aria-pressed", String(speed === 4));
    say(play, speed === 1 ? "Pause" : "Play");
    say(fast, speed === 4 ? "Pause" : "Play 4×");
    if (speed === 0) return;
    if (this.#place >= this.#length) this.#go(0);
    if (!wasRunning) requestAnimationFrame((at) => this.#step(at, at));
  }

  #step(before, at) {
    if (this.#speed === 0) return;
    this.#go(Math.min(this.#length, this.#place + (at - before) * this.#speed));
    if (this.#place >= this.#length) this.#run(0);
    else requestAnimationFrame((next) => this.#step(at, next));
  }

  #go(place) {
    this.#place = place;
    const { scrubber, clock, stage, density } = this.#at;
    const part = this.#length ? place / this.#length : 0;
    const value = String(Math.round(STEPS * part));
    if (scrubber.value !== value) scrubber.value = value;
    scrubber.setAttribute("aria-valuetext", `${duration(place)} of ${duration(this.#length)}`);
    scrubber.style.setProperty("--part", `${100 * part}%`);
    for (const [index, bar] of [...density.children].entries()) bar.classList.toggle("told", index / BARS < part);
    const last = this.#pieces.findLast((piece) => piece.place <= place);
    say(clock, last ? `${new Date(last.at).toLocaleTimeString("en-GB")} · ${duration(place)} of ${duration(this.#length)}` : "");
    draw(stage, this.#pieces, place, this.#speed !== 0);
  }

  /** How much was written when. */
  #drawDensity() {
    const sums = new Array(BARS).fill(0);
    for (const { place, characters, kind } of this.#pieces) {
      if (kind === "answer") sums[Math.min(BARS - 1, Math.floor((BARS * place) / (this.#length || 1)))] += characters;
    }
    const most = Math.max(1, ...sums);
    this.#at.density.replaceChildren(...sums.map((sum, index) => {
      const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      const height = sum ? Math.max(2, 38 * (sum / most)) : 1;
      const place = { x: (960 / BARS) * index + 1, y: 40 - height, width: 960 / BARS - 2, height };
      for (const [name, value] of Object.entries(place)) bar.setAttribute(name, value);
      return bar;
    }));
  }
}

/** Each piece with its place in the time that is shown. */
export function timed(pieces) {
  let [place, before] = [0, null];
  return pieces.map((piece) => {
    if (before !== null) place += Math.min(LONGEST_GAP_MS, Math.max(0, piece.at - before));
    before = before === null ? piece.at : Math.max(before, piece.at);
    return { ...piece, place };
  });
}

/** What stood there at that place: `[{id, question, answer, attempt, end}]`. */
export function written(pieces, place) {
  const turns = new Map();
  for (const piece of pieces) {
    if (piece.place > place) break;
    const id = piece.message_id;
    if (!turns.has(id)) turns.set(id, { id, question: "", answer: "", attempt: 0, end: null });
    const turn = turns.get(id);
    const words = piece.text ?? "·".repeat(piece.characters);
    turn.attempt = Math.max(turn.attempt, piece.attempt);
    if (piece.kind === "question") turn.question = words;
    if (piece.kind === "answer") turn.answer += words;
    if (piece.kind === "reset") turn.answer = "";
    if (piece.kind === "end") turn.end = piece.finish_reason;
  }
  return [...turns.values()];
}

function draw(stage, pieces, place, isRunning) {
  const isAtEnd = stage.scrollHeight - stage.scrollTop - stage.clientHeight < 40;
  const turns = written(pieces, place);
  [...stage.children].slice(turns.length).forEach((gone) => gone.remove());
  turns.forEach((turn, index) => {
    const item = stage.children[index] ?? stage.appendChild(made());
    const [question, answer, foot] = item.children;
    say(question, turn.question);
    say(answer, turn.answer);
    item.dataset.isOpen = turn.end === null;
    const tries = turn.attempt > 1 ? `${turn.attempt} attempts` : "";
    say(foot, [ENDS[turn.end] ?? turn.end ?? "", tries].filter(Boolean).join(" · "));
  });
  if (isAtEnd || isRunning) stage.scrollTop = stage.scrollHeight;
}

function made() {
  const item = element("article");
  item.append(...["said", "answer", "foot"].map((name) => element("p", "", { class: name, dir: "auto" })));
  return item;
}

function note(pieces, isReadable, isWhole) {
  if (!pieces.length) return "Nothing is written in it yet.";
  const messages = new Set(pieces.map((piece) => piece.message_id)).size;
  const hidden = isReadable ? "" : " Only its owner may read the words; a dot stands for each character.";
  return `${count(messages, "message")}.${hidden}${isWhole ? "" : " The beginning of it."}`.replace(/^./, (one) => one.toUpperCase());
}
