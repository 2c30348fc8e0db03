// The way in: a mesh of pods behind one address, and its sessions.

import { Answer } from "./answer.js";
import { Caller, ChatmeshError } from "./caller.js";
import { Opener, START, isPosition } from "./opener.js";
import { Source } from "./source.js";
import { Stream } from "./stream.js";
import { Tab, canShare } from "./tabs.js";

const ID = /^[A-Za-z0-9_-]{1,128}$/;

/** 128 random bits that fit into an id. (crypto.randomUUID is missing on plain http, away from localhost.) */
export function randomId(prefix = "") {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return prefix + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Chatmesh {
  #options;
  #caller;
  #opener;
  #tabs = new Map(); // this one among others, by what they have in common

  /**
   * `base`: where pods are; without it, where the page is from. `token`: a key or token, or a function that gives one.
   * `ticket`: a function that gets a session's id and gives a ticket for its events, for pages that may hold no token.
   * `stallMs`: silence that counts as a dead connection. `share`: one connection for all tabs, in a browser.
   */
  constructor(options = {}) {
    this.#options = { share: typeof document !== "undefined", ...options };
    this.#caller = new Caller(options);
    this.#opener = new Opener(this.#caller, options);
  }

  session(id) {
    return new Session(id, this.#caller, this.#opener, (name) => this.#tab(name), this.#options);
  }

  /** Any other call: the body of its answer. */
  call(path, options) {
    return this.#caller.json(path, options);
  }

  /** Names of the models that are served now. */
  async models(options) {
    const { data } = await this.#caller.json("/v1/models", options);
    return data.map(({ id }) => id);
  }

  /** The caller's sessions as an async iterator of `{session_id, last_message_id, updated_at}`, in the order of their ids. */
  async *sessions({ signal } = {}) {
    for await (const page of pages(this.#caller, "/v1/sessions", signal)) yield* page.sessions;
  }

  #tab(name) {
    const known = this.#tabs.get(name);
    if (known) return known;
    const tab = new Tab(name, this.#opener, this.#options, () => this.#tabs.delete(name));
    this.#tabs.set(name, tab);
    return tab;
  }
}

export class Session {
  #path;
  #caller;
  #opener;
  #tab;
  #options;

  constructor(id, caller, opener, tab, options) {
    if (!ID.test(id)) throw new TypeError("A session's id is 1 to 128 of A-Z, a-z, 0-9, _ and -.");
    this.id = id;
    this.#path = `/v1/sessions/${id}`;
    this.#caller = caller;
    this.#opener = opener;
    this.#tab = tab;
    this.#options = options;
  }

  /** Says something. Resolves once it is durable; the same `messageId` again is the same message. Returns its Answer. */
  async send(message, options) {
    const messageId = await this.post(message, options);
    return this.answer(messageId);
  }

  /** The same without reading: for whoever follows the session. Returns the message's id. */
  async post(message, { messageId = randomId("msg_"), signal, ...context } = {}) {
    const body = { message, message_id: messageId, context };
    await this.#caller.json(`${this.#path}/messages`, { method: "POST", body, signal });
    return messageId;
  }

  /** The answer to a message that was sent, from its beginning. */
  answer(messageId) {
    return new Answer(this, messageId, this.#reader("", messageId));
  }

  /**
   * The session's events, for as long as they are read. `history`: all that was said before comes first. `position`: behind
   * that one. `from: "start"`: all that is kept. Without any: the unfinished answer, then what comes. `isNew`: nobody has
   * said anything yet, so there is no history to ask for.
   */
  follow({ from, position, history = false, isNew = false, share = this.#options.share } = {}) {
    return new Stream(this.#reader(from === START || history ? START : ""), { position, history, isNew, isShared: share && canShare() });
  }

  /** Everything said so far, and the position behind it; null where nobody has said anything yet. */
  async history({ signal } = {}) {
    const rows = [];
    let position = null;
    try {
      for await (const page of pages(this.#caller, `${this.#path}/messages`, signal)) {
        rows.push(...page.messages);
        position = page.position;
      }
    } catch (error) {
      if (!(error instanceof ChatmeshError) || error.status !== 404) throw error;
      return { rows: [], position: null };
    }
    return { rows, position };
  }

  /** One message: its state, what was asked and what was answered. */
  message(messageId, options) {
    return this.#caller.json(`${this.#path}/messages/${messageId}`, options);
  }

  /** Stops a message at the server, running or queued. What was said stays. */
  stop(messageId, options) {
    return this.#caller.json(`${this.#path}/messages/${messageId}`, { ...options, method: "DELETE" });
  }

  /** Removes the session and all that was said in it. */
  erase(options) {
    return this.#caller.json(this.#path, { ...options, method: "DELETE" });
  }

  /** `beginning`: the place to begin where there is no position. */
  #reader(beginning, messageId) {
    const alone = (place, on, id) => {
      const open = (position, signal) => this.#opener.one(this.id, position ?? place, signal, id);
      return new Source(open, isPosition(place) ? place : null, on, this.#options);
    };
    return {
      alone: (position, on) => alone(position ?? beginning, on, messageId),
      share: (position, on) => new Elected(this.#sharedTab(), this.id, position ?? beginning, alone, on),
      message: (id, on) => alone("", on, id),
      history: () => this.history(),
    };
  }

  /** This tab among those that may hear each other: of the same address and caller. Null: nobody may. */
  async #sharedTab() {
    const token = await this.#caller.token();
    const who = token === "" ? "" : await fingerprint(token);
    // The number is that of what tabs say to each other: a tab may be older than the server's last update.
    return who === null ? null : this.#tab(`chatmesh 2 ${this.#caller.base} ${who}`);
  }
}

/** A line of a tab that is known later, or a Source of its own where there is none. */
class Elected {
  #source = null;
  #isClosed = false;

  constructor(tab, session, place, alone, on) {
    this.#begin(tab, session, place, alone, on);
  }

  async #begin(tab, session, place, alone, on) {
    const known = await tab.catch(() => null);
    if (this.#isClosed) return;
    this.#source = known === null ? alone(place, on) : known.line(session, place, alone, on);
  }

  cut() {
    this.#source?.cut();
  }

  wake() {
    this.#source?.wake();
  }

  close() {
    this.#isClosed = true;
    this.#source?.close();
  }
}

/** Tells callers apart without saying who they are; null where this browser can't. */
async function fingerprint(token) {
  if (!globalThis.crypto?.subtle) return null;
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token));
  return Array.from(new Uint8Array(hash).subarray(0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function* pages(caller, path, signal) {
  let after = null;
  do {
    const query = new URLSearchParams(after === null ? { limit: 200 } : { limit: 200, after });
    const page = await caller.json(`${path}?${query}`, { signal });
    yield page;
    after = page.next;
  } while (after !== null);
}
