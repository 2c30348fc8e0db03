// One connection for all tabs of an origin, whichever sessions they show: the tab that holds the lock reads, and tells the
// others over a BroadcastChannel.
//
// A stream joins where the leader knows its position, or reads nothing of its session yet: what came behind is told at once,
// the rest as it comes. One that the leader can't place, that hears nothing, or that missed something reads by itself and asks
// again later. Positions decide, so nothing is skipped and nothing comes twice, whoever reads.

import { Leader } from "./leader.js";
import { Line, randomName } from "./line.js";
import { STALL_MS } from "./source.js";

const BEAT_MS = 5000; // the leader's, and between two tries to join
const IDLE_MS = 100; // a page that goes from one session to the next is not gone

/** Whether this browser can. Locks are missing on plain http, away from localhost. */
export const canShare = () =>
  typeof BroadcastChannel === "function" && typeof globalThis.navigator?.locks?.request === "function";

/** A tab among those of its origin that read the same server as the same caller. */
export class Tab {
  #name;
  #opener;
  #options;
  #stallMs;
  #onIdle;
  #me = randomName();
  #lines = new Set();
  #leader = null; // the leader's part, if this tab has it
  #channel;
  #over = new AbortController();
  #isHere; // kept once the others can tell when this tab is gone
  #canHear = true;
  #heardAt = Date.now();
  #watch;

  /** `onIdle`: it is closed, and was asked for no line for a while. */
  constructor(name, opener, options, onIdle) {
    this.#name = name;
    this.#opener = opener;
    this.#options = options;
    this.#stallMs = options.stallMs ?? STALL_MS;
    this.#onIdle = onIdle;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#watch = setInterval(() => this.#look(), BEAT_MS);
    this.#isHere = new Promise((resolve) => this.#lock(`${name} ${this.#me}`, resolve));
    this.#isHere.then(() => this.#lock(name, () => this.#lead()));
  }

  /** As a Source: `alone(place, on)` makes one where this can't be. */
  line(session, place, alone, on) {
    const line = new Line(this, session, place, alone, on);
    this.#lines.add(line);
    this.#isHere.then(() => (this.#canHear ? line.seek() : line.readAlone()));
    return line;
  }

  ask({ id: line, session, place }) {
    const hello = { type: "hello", line, session, place };
    if (this.#leader) this.#leader.greet({ ...hello, from: this.#me });
    else this.#say(hello);
  }

  leave(line) {
    this.#lines.delete(line);
    const bye = { type: "bye", line: line.id, session: line.session };
    if (this.#leader) this.#leader.part(bye);
    else this.#say(bye);
    if (!this.#lines.size) setTimeout(() => this.#rest(), IDLE_MS);
  }

  cut() {
    if (this.#leader) this.#leader.cut();
    else this.#say({ type: "cut" });
  }

  wake() {
    this.#leader?.wake();
  }

  #rest() {
    if (this.#lines.size || this.#over.signal.aborted) return;
    clearInterval(this.#watch);
    this.#leader?.close();
    this.#over.abort();
    this.#channel.close();
    this.#onIdle();
  }

  /** Calls once it has the lock, which is kept to the end of this tab. */
  #lock(name, call) {
    const { signal } = this.#over;
    const hold = () => {
      call();
      return new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    };
    navigator.locks.request(name, { signal }, hold).catch((error) => {
      if (error.name === "AbortError") return;
      this.#canHear = false;
      call();
    });
  }

  #lead() {
    if (!this.#canHear || this.#over.signal.aborted) return;
    const watch = (tab, gone) => {
      const { signal } = this.#over;
      if (tab !== this.#me) navigator.locks.request(`${this.#name} ${tab}`, { signal }, gone).catch(() => {});
    };
    this.#leader = new Leader(this.#opener, (message) => this.#tell(message), watch, this.#options);
    this.#say({ type: "leader" });
    for (const line of this.#lines) line.seek();
  }

  #look() {
    const isLost = !this.#leader && Date.now() - this.#heardAt > this.#stallMs + BEAT_MS;
    for (const line of this.#lines) line.look(isLost);
  }

  #hear(message) {
    const { type } = message;
    if (this.#leader) {
      if (type === "cut") this.#leader.cut();
      else if (type === "hello") this.#leader.greet(message);
      else if (type === "bye") this.#leader.part(message);
      return;
    }
    if (type === "hello" || type === "bye" || type === "cut") return;
    this.#heardAt = Date.now();
    for (const line of this.#lines) {
      if (type === "leader") line.seek();
      else line.hear(message);
    }
  }

  /** To the lines of all tabs. */
  #tell(message) {
    this.#say(message);
    for (const line of [...this.#lines]) line.hear({ ...message, from: this.#me });
  }

  #say(message) {
    if (!this.#over.signal.aborted) this.#channel.postMessage({ ...message, from: this.#me });
  }
}
