// What the tab does that reads for all: one connection for the sessions of every tab, and what came is told to whoever can be
// placed.

import { Joint, MOST_SESSIONS } from "./joint.js";

const BEAT_MS = 5000; // a sign of life, where nothing else is told
const MOST_EVENTS = 1024; // of a session, or twice as many
const MOST_GUESTS = 64;

/** What the leader has heard of a session, as far back as it is kept. */
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

  /** What came behind a place; undefined where it is not known. */
  behind(place) {
    return place === this.start ? [...this.#events] : behind(this.#events, place);
  }
}

/** The same in any list of events. */
export function behind(events, place) {
  const index = events.findLastIndex((event) => event.hasOwnId && event.id === place);
  return index < 0 ? undefined : events.slice(index + 1);
}

/** What the leader knows of a session. `takers` are told; `guests` may be, once their place has come. */
class Told {
  seq = 0;
  isUp = false;
  takers = new Map(); // by line: its tab
  guests = [];

  constructor(place) {
    this.log = new Log(place);
  }
}

/** `say` tells every tab, the own one too; `watch(tab, gone)` says when one is gone. */
export class Leader {
  #say;
  #watch;
  #joint;
  #sessions = new Map();
  #tabs = new Set();
  #beatAt = 0;

  constructor(opener, say, watch, options) {
    this.#say = say;
    this.#watch = watch;
    const on = {
      event: (name, event) => this.#heard(name, event),
      link: (name, isUp) => this.#show(name, isUp),
      sign: () => this.#beat(),
      end: (name) => {
        this.#sessions.delete(name); // each tab asks for itself
        say({ type: "gone", session: name });
      },
    };
    this.#joint = new Joint(opener, on, options);
  }

  cut() {
    this.#joint.cut();
  }

  wake() {
    this.#joint.wake();
  }

  close() {
    this.#joint.close();
  }

  /** A line would like to be told. */
  greet(guest) {
    const { session, place, from } = guest;
    let told = this.#sessions.get(session);
    if (!told) {
      if (this.#sessions.size >= MOST_SESSIONS) return;
      this.#sessions.set(session, (told = new Told(place)));
      this.#joint.add(session, place);
    }
    if (!this.#tabs.has(from)) {
      this.#tabs.add(from);
      this.#watch(from, () => this.#forget(from));
    }
    told.guests = told.guests.filter(({ line }) => line !== guest.line).slice(-MOST_GUESTS);
    if (!this.#welcome(told, guest)) told.guests.push(guest);
  }

  /** A line was closed. */
  part({ session, line }) {
    const told = this.#sessions.get(session);
    if (!told) return;
    told.guests = told.guests.filter((guest) => guest.line !== line);
    if (!told.takers.delete(line) || told.takers.size) return;
    this.#sessions.delete(session);
    this.#joint.remove(session);
    for (const guest of told.guests) this.greet(guest); // where one of them is, there is nobody else now
  }

  /** A tab is gone, with all of its lines. */
  #forget(tab) {
    this.#tabs.delete(tab);
    for (const [session, { takers }] of this.#sessions)
      for (const [line, from] of takers) if (from === tab) this.part({ session, line });
  }

  /** False: its place may still come. */
  #welcome(told, { line, session, place, from }) {
    const events = told.log.behind(place);
    if (events === undefined) return false;
    told.takers.set(line, from);
    this.#say({ type: "welcome", to: line, session, place, seq: told.seq, isUp: told.isUp, events });
    return true;
  }

  #heard(session, event) {
    const told = this.#sessions.get(session);
    if (!told) return;
    told.seq += 1;
    told.log.add(event);
    this.#beatAt = Date.now();
    this.#say({ type: "event", session, seq: told.seq, event });
    if (told.guests.length) told.guests = told.guests.filter((guest) => !this.#welcome(told, guest));
  }

  #show(session, isUp) {
    const told = this.#sessions.get(session);
    if (!told) return;
    told.isUp = isUp;
    this.#say({ type: "link", session, isUp });
  }

  #beat() {
    if (Date.now() - this.#beatAt < BEAT_MS) return;
    this.#beatAt = Date.now();
    this.#say({ type: "beat" });
  }
}
