// One connection for several sessions. They come and go: a new connection is made with all of them before the old one is
// closed, and what comes over both is told once.
//
// Where a pod can't do that (an older one; tickets, which are for one session each), each session has a connection.

import { isPosition } from "./opener.js";
import { Source } from "./source.js";

export const MOST_SESSIONS = 32; // that a pod takes on one connection
const SETTLE_MS = 20; // changes that come together make one new connection
const DROP_MS = 1000; // a session that nobody follows does not hurt, and another may come in its place
const APART_MS = 300_000; // before an older pod is asked again
const MOST_HEARD = 4096;
const PATIENCE = 4; // times that a pod can't serve all of them now: one that has too many readers is no reason to hold up others
const MOST_BESIDE = 4; // connections meanwhile; a browser has six to an origin

/**
 * One of the connections. `heard`: by session, ids of what was told by another one since it was asked for. `left`: sessions that
 * are not heard from it any more; whoever follows one of them anew may begin elsewhere.
 */
class Connection {
  isUp = false;
  isObsolete = false;
  heard = new Map();
  left = new Set();

  constructor(names, open, on, options) {
    this.names = names;
    const connect = (_, signal) => {
      this.heard.clear();
      this.names = this.names.filter((name) => !this.left.has(name));
      this.left.clear();
      return open(this, signal);
    };
    this.source = new Source(
      connect,
      null,
      {
        event: (event) => this.#sort(event, on),
        link: (isUp) => on.link(this, (this.isUp = isUp)),
        sign: on.sign,
        away: (times) => on.away(this, times),
        end: (error) => on.end(this, error),
      },
      options,
    );
  }

  /** Whether it has these sessions, and no others. */
  isOf(names) {
    return !this.left.size && this.names.length === names.length && names.every((name) => this.names.includes(name));
  }

  /** Told by another connection, and perhaps by this one again. */
  note(name, id) {
    const heard = this.heard.get(name) ?? new Set();
    this.heard.set(name, heard.add(id));
    if (heard.size > MOST_HEARD) this.source.cut(); // it comes back with newer positions
  }

  /** Whether an event was told by another connection: these come first. */
  isKnown(name, { id, hasOwnId }) {
    const heard = this.heard.get(name);
    if (!heard || !hasOwnId) return false;
    if (heard.delete(id)) return true;
    this.heard.delete(name);
    return false;
  }

  #sort(event, on) {
    if (event.name === "position") return; // the opening block once more, for an EventSource that forgets it
    const ids = event.id.split(",");
    const isOpening = event.name === "";
    const names = isOpening ? this.names : [this.names.length > 1 ? JSON.parse(event.data).session_id : this.names[0]];
    for (const name of names) {
      const id = ids[this.names.indexOf(name)];
      if (id !== undefined) on.event(this, name, { ...event, id });
    }
  }
}

/** `on` has `event(name, raw)`, `link(name, isUp)`, `sign()`, and `end(name, error)`: that session is not served. */
export class Joint {
  #opener;
  #on;
  #options;
  #places = new Map();
  #connections = new Set();
  #tellers = new Map(); // by session: the connection that is listened to
  #isApart = false;
  #isWaiting = false; // for a pod that can serve all of them; some are served one by one meanwhile
  #due = Infinity;
  #timer;
  #again;

  constructor(opener, on, options) {
    this.#opener = opener;
    this.#on = on;
    this.#options = options;
  }

  /** Follows one more session, from that place on. */
  add(name, place) {
    this.#places.set(name, place);
    this.#soon(SETTLE_MS);
  }

  remove(name) {
    this.#forget(name);
    this.#soon(this.#places.size ? DROP_MS : 0);
  }

  /** Breaks what is connected as a bad network would. It comes back by itself. */
  cut() {
    for (const { source } of this.#connections) source.cut();
  }

  /** Ends pauses: there may be a network again. */
  wake() {
    for (const { source } of this.#connections) source.wake();
  }

  close() {
    clearTimeout(this.#timer);
    clearTimeout(this.#again);
    this.#places.clear();
    this.#tellers.clear();
    for (const connection of this.#connections) this.#end(connection);
  }

  // --- Which connections there are

  #soon(ms) {
    if (Date.now() + ms >= this.#due) return;
    this.#due = Date.now() + ms;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#arrange(), ms);
  }

  #arrange() {
    this.#due = Infinity;
    clearTimeout(this.#timer);
    const wanted = this.#groups();
    const known = [...this.#connections];
    for (const connection of known) {
      connection.isObsolete = !wanted.some((names) => connection.isOf(names));
      if (connection.isObsolete && !connection.isUp) this.#end(connection);
    }
    for (const names of wanted) if (!known.some((connection) => connection.isOf(names))) this.#connect(names);
    this.#tidy();
  }

  #groups() {
    const names = [...this.#places.keys()];
    if (!names.length) return [];
    const singles = names.map((name) => [name]);
    if (this.#isApart || names.length === 1 || !this.#opener.isForSeveral) return singles;
    return this.#isWaiting ? [names, ...singles.slice(0, MOST_BESIDE)] : [names];
  }

  #connect(names) {
    const on = {
      event: (connection, name, event) => this.#heard(connection, name, event),
      link: (connection, isUp) => this.#show(connection, isUp),
      sign: () => this.#on.sign(),
      away: (connection, times) => this.#wait(connection, times),
      end: (connection, error) => this.#refused(connection, error),
    };
    this.#connections.add(new Connection(names, (connection, signal) => this.#open(connection, signal), on, this.#options));
  }

  #open({ names }, signal) {
    const sessions = names.map((name) => [name, this.#places.get(name) ?? ""]);
    return names.length > 1 ? this.#opener.several(sessions, signal) : this.#opener.one(...sessions[0], signal);
  }

  /** Closes what nobody listens to, and nobody waits for. */
  #tidy() {
    const heard = new Set(this.#tellers.values());
    for (const connection of this.#connections)
      if (connection.isObsolete && !heard.has(connection)) this.#end(connection);
  }

  #end(connection) {
    this.#connections.delete(connection);
    connection.source.close();
  }

  // --- What they say

  #show(connection, isUp) {
    if (!this.#connections.has(connection)) return;
    for (const name of connection.names) {
      if (!this.#places.has(name) || connection.left.has(name)) continue;
      const takesOver = isUp && (!connection.isObsolete || !this.#tellers.has(name));
      if (takesOver) this.#tellers.set(name, connection);
      if (this.#tellers.get(name) === connection) this.#on.link(name, isUp);
    }
    if (isUp && this.#isWaiting && connection.names.length > 1) {
      this.#isWaiting = false;
      this.#arrange();
    }
    if (isUp) this.#tidy();
  }

  #wait(connection, times) {
    if (connection.names.length === 1 || times < PATIENCE || this.#isWaiting) return;
    this.#isWaiting = true;
    this.#arrange();
  }

  #heard(connection, name, event) {
    if (this.#tellers.get(name) !== connection) return;
    // Where a place is known, the opening block says nothing new: what comes behind it comes as an event.
    const isNews = event.name === "" ? !isPosition(this.#places.get(name)) : !connection.isKnown(name, event);
    if (!isNews) return;
    if (event.hasOwnId) {
      this.#places.set(name, event.id);
      for (const other of this.#connections)
        if (other !== connection && !other.isObsolete && other.names.includes(name)) other.note(name, event.id);
    }
    this.#on.event(name, event);
  }

  /** The server's last word: on one of the sessions, or on the whole. */
  #refused(connection, error) {
    const { names } = connection;
    this.#connections.delete(connection);
    for (const name of names) if (this.#tellers.get(name) === connection) this.#tellers.delete(name);
    if (names.length === 1) this.#lose(names[0], error);
    else if (error?.code === "unknown_session" && names.includes(error.sessionId)) this.#lose(error.sessionId, error);
    else this.#part();
    this.#arrange();
  }

  #lose(name, error) {
    if (!this.#places.has(name)) return;
    this.#forget(name);
    this.#on.end(name, error);
  }

  #forget(name) {
    this.#places.delete(name);
    this.#tellers.delete(name);
    for (const connection of this.#connections) if (connection.names.includes(name)) connection.left.add(name);
  }

  #part() {
    this.#isApart = true;
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.#join(), APART_MS);
    this.#again.unref?.();
  }

  /** The old ones go first: a browser may have no room for one more. */
  #join() {
    this.#isApart = false;
    this.#tellers.clear();
    for (const connection of this.#connections) this.#end(connection);
    this.#arrange();
  }
}
