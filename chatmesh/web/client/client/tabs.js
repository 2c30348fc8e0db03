// One connection for all tabs of an origin that read the same session: the tab that holds the lock reads, and tells the
// others over a BroadcastChannel.
//
// A tab joins where the leader knows its position: what came behind it is told at once, the rest as it comes. One that the
// leader can't place, that hears nothing, or that missed something reads by itself and asks again later. Positions decide, so
// nothing is skipped and nothing comes twice, whoever reads.

import { STALL_MS } from "./source.js";

const HELLO_MS = 1500; // for the leader's answer; one's own connection costs nothing but itself
const BEAT_MS = 5000; // the leader's; and between two tries to join, while one reads by oneself
const MOST_EVENTS = 4096;
const MOST_GUESTS = 64;

/** Whether this browser can. Locks are missing on plain http, away from localhost. */
export const canShare = () =>
  typeof BroadcastChannel === "function" && typeof globalThis.navigator?.locks?.request === "function";

/** What the leader has heard, as far back as it is kept. */
class Log {
  #events = [];

  constructor(start) {
    this.start = start;
  }

  add(event) {
    this.#events.push(event);
    if (this.#events.length < 2 * MOST_EVENTS) return;
    const gone = this.#events.splice(0, MOST_EVENTS).findLast((each) => each.hasOwnId);
    this.start = gone?.id ?? this.start;
  }

  /** What came behind a position; undefined where it is not known. */
  behind(position) {
    return position === this.start ? [...this.#events] : behind(this.#events, position);
  }
}

function behind(events, position) {
  const index = events.findLastIndex((event) => event.hasOwnId && event.id === position);
  return index < 0 ? undefined : events.slice(index + 1);
}

/** As a Source: `connect(position, on)` makes one for the tab that reads. Roles: seeking, alone, follower, leader. */
export class SharedSource {
  #connect;
  #on;
  #position;
  #stallMs;
  #me = Math.random().toString(36).slice(2);
  #role = "seeking";
  #source = null;
  #isUp = false;
  #channel;
  #over = new AbortController();
  #resign = null;
  #log = null;
  #guests = []; // tabs whose position the leader has not seen yet
  #seq = 0;
  #leader = null;
  #heardAt = Date.now();
  #beatAt = 0;
  #patience;
  #watch;

  constructor(name, connect, position, on, { stallMs = STALL_MS } = {}) {
    this.#connect = connect;
    this.#position = position;
    this.#on = on;
    this.#stallMs = stallMs;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#watch = setInterval(() => this.#look(), BEAT_MS);
    navigator.locks
      .request(name, { signal: this.#over.signal }, () => this.#lead())
      .catch((error) => error.name === "AbortError" || this.#readAlone());
    this.#ask();
  }

  get role() {
    return this.#role;
  }

  /** Breaks the connection, whichever tab has it. */
  cut() {
    if (this.#source) this.#source.cut();
    else this.#say({ type: "cut" });
  }

  wake() {
    this.#source?.wake();
  }

  close() {
    if (this.#role === "closed") return;
    this.#role = "closed";
    clearInterval(this.#watch);
    clearTimeout(this.#patience);
    this.#source?.close();
    this.#over.abort();
    this.#resign?.();
    this.#channel.close();
  }

  // --- The one that reads -----------------------------------------------------------------------------------------------

  #lead() {
    if (this.#role === "closed") return undefined;
    this.#log = new Log(this.#position);
    this.#seq = 0;
    this.#become("leader");
    this.#source ??= this.#read();
    this.#say({ type: "leader" });
    return new Promise((resolve) => (this.#resign = resolve));
  }

  #readAlone() {
    if (this.#role === "closed" || this.#role === "leader") return;
    this.#become("alone");
    this.#source ??= this.#read();
  }

  #read() {
    return this.#connect(this.#position, {
      event: (event) => this.#heard(event),
      link: (isUp) => this.#show(isUp),
      sign: () => this.#beat(),
      end: (error) => {
        this.close(); // the next tab asks for itself
        this.#on.end(error);
      },
    });
  }

  #heard(event) {
    if (this.#role !== "leader") return this.#give(event);
    this.#seq += 1;
    this.#log.add(event);
    this.#say({ type: "event", seq: this.#seq, event });
    this.#beatAt = Date.now();
    this.#guests = this.#guests.filter((guest) => !this.#welcome(guest));
    this.#give(event);
    return undefined; // nobody waits for a tab that is slow
  }

  #show(isUp) {
    this.#isUp = isUp;
    if (this.#role === "leader") this.#say({ type: "link", isUp });
    this.#on.link(isUp);
  }

  #beat() {
    if (this.#role !== "leader" || Date.now() - this.#beatAt < BEAT_MS) return;
    this.#beatAt = Date.now();
    this.#say({ type: "beat" });
  }

  /** False: its position may still come. */
  #welcome({ from, position }) {
    const events = this.#log.behind(position);
    if (events === undefined) return false;
    this.#say({ type: "welcome", to: from, position, seq: this.#seq, isUp: this.#isUp, events });
    return true;
  }

  // --- Those that are told ----------------------------------------------------------------------------------------------

  #hear(message) {
    if (this.#role === "leader") {
      if (message.type === "cut") this.#source.cut();
      else if (message.type === "hello" && !this.#welcome(message))
        this.#guests = [...this.#guests.slice(-MOST_GUESTS), message];
      return;
    }
    if (this.#role === "closed") return;
    if (message.from === this.#leader) this.#heardAt = Date.now();
    if (message.type === "leader") this.#seek();
    else if (message.type === "welcome" && message.to === this.#me) this.#join(message);
    else if (this.#role === "follower" && message.from === this.#leader) this.#follow(message);
  }

  #follow({ type, seq, event, isUp }) {
    if (type === "link") return this.#show(isUp);
    if (type !== "event" || seq <= this.#seq) return undefined;
    if (seq !== this.#seq + 1) return this.#seek();
    this.#seq = seq;
    return void this.#give(event);
  }

  #join({ from, position, seq, isUp, events }) {
    // One that read by itself meanwhile has some of it.
    const rest = position === this.#position ? events : behind(events, this.#position);
    if (this.#role === "follower" || rest === undefined) return;
    this.#source?.close();
    this.#source = null;
    this.#become("follower");
    this.#leader = from;
    this.#seq = seq;
    this.#heardAt = Date.now();
    for (const event of rest) this.#give(event);
    this.#show(isUp);
  }

  /** Looks for a leader anew; without an answer it reads by itself. */
  #seek() {
    if (this.#role === "follower") this.#become("seeking");
    this.#ask();
  }

  #ask() {
    if (this.#role === "leader" || this.#role === "closed") return;
    this.#say({ type: "hello", position: this.#position });
    clearTimeout(this.#patience);
    if (this.#role === "seeking") this.#patience = setTimeout(() => this.#readAlone(), HELLO_MS);
  }

  #look() {
    const isLost = this.#role === "follower" && Date.now() - this.#heardAt > this.#stallMs + BEAT_MS;
    if (isLost) this.#seek();
    else if (this.#role === "alone") this.#ask();
  }

  // --- Both -------------------------------------------------------------------------------------------------------------

  #give(event) {
    if (event.hasOwnId) this.#position = event.id;
    return this.#on.event(event);
  }

  #become(role) {
    clearTimeout(this.#patience);
    this.#role = role;
  }

  #say(message) {
    this.#channel.postMessage({ ...message, from: this.#me });
  }
}
