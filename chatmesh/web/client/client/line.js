// One stream of this tab's: told by the tab that reads for all, or read by itself.

import { behind } from "./leader.js";

const HELLO_MS = 1500; // for the leader's answer; one's own connection costs nothing but itself

export const randomName = () => Math.random().toString(36).slice(2);

/** As a Source. Roles: seeking, alone, follower, closed. */
export class Line {
  id = randomName();
  #tab;
  #alone;
  #on;
  #role = "seeking";
  #source = null;
  #isUp = false;
  #seq = 0;
  #leader = null;
  #patience;

  constructor(tab, session, place, alone, on) {
    this.#tab = tab;
    this.session = session;
    this.place = place;
    this.#alone = alone;
    this.#on = on;
  }

  /** Breaks the connection, whichever tab has it. */
  cut() {
    if (this.#source) this.#source.cut();
    else this.#tab.cut();
  }

  wake() {
    this.#source?.wake();
    this.#tab.wake();
  }

  close() {
    if (this.#role === "closed") return;
    this.#become("closed");
    this.#source?.close();
    this.#tab.leave(this);
  }

  /** Looks for a leader anew; without an answer it reads by itself. */
  seek() {
    if (this.#role === "closed") return;
    if (this.#role === "follower") this.#become("seeking");
    this.#tab.ask(this);
    clearTimeout(this.#patience);
    if (this.#role === "seeking") this.#patience = setTimeout(() => this.readAlone(), HELLO_MS);
  }

  /** What is due every few seconds. */
  look(isLost) {
    if (this.#role === "alone" || (this.#role === "follower" && isLost)) this.seek();
  }

  readAlone() {
    if (this.#role === "closed") return;
    this.#become("alone");
    this.#source ??= this.#alone(this.place, {
      event: (event) => this.#give(event),
      link: (isUp) => this.#show(isUp),
      sign: () => {},
      end: (error) => {
        this.close();
        this.#on.end(error);
      },
    });
  }

  hear(message) {
    if (message.session !== this.session || this.#role === "closed") return;
    if (message.type === "welcome") {
      if (message.to === this.id) this.#join(message);
    } else if (this.#role === "follower" && message.from === this.#leader) {
      this.#follow(message);
    }
  }

  #follow({ type, seq, event, isUp }) {
    if (type === "link") this.#show(isUp);
    else if (type === "gone") this.readAlone();
    else if (type === "event" && seq > this.#seq + 1) this.seek();
    else if (type === "event" && seq === this.#seq + 1) {
      this.#seq = seq;
      this.#give(event); // nobody waits for a tab that is slow
    }
  }

  #join({ from, place, seq, isUp, events }) {
    // One that read by itself meanwhile has some of it.
    const rest = place === this.place ? events : behind(events, this.place);
    if (this.#role === "follower" || rest === undefined) return;
    this.#source?.close();
    this.#source = null;
    this.#become("follower");
    this.#leader = from;
    this.#seq = seq;
    for (const event of rest) this.#give(event);
    this.#show(isUp);
  }

  #give(event) {
    if (event.hasOwnId) this.place = event.id;
    return this.#on.event(event);
  }

  #show(isUp) {
    if (isUp === this.#isUp) return;
    this.#isUp = isUp;
    this.#on.link(isUp);
  }

  #become(role) {
    clearTimeout(this.#patience);
    this.#role = role;
  }
}
