// The way in: a mesh of pods behind one address, and its sessions.

import { Answer } from "./answer.js";
import { Caller, ChatmeshError } from "./caller.js";
import { Source } from "./source.js";
import { Stream } from "./stream.js";
import { SharedSource, canShare } from "./tabs.js";

const ID = /^[A-Za-z0-9_-]{1,128}$/;

/** 128 random bits that fit into an id. (crypto.randomUUID is missing on plain http, away from localhost.) */
export function randomId(prefix = "") {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return prefix + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Chatmesh {
  #options;
  #caller;

  /**
   * `base`: where pods are; without it, where the page is from. `token`: a key or token, or a function that gives one.
   * `ticket`: a function that gets a session's id and gives a ticket for its events, for pages that may hold no token.
   * `stallMs`: silence that counts as a dead connection. `share`: one connection for all tabs, in a browser.
   */
  constructor(options = {}) {
    this.#options = { share: typeof document !== "undefined", ...options };
    this.#caller = new Caller(options);
  }

  session(id) {
    return new Session(id, this.#caller, this.#options);
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
}

export class Session {
  #path;
  #caller;
  #options;

  constructor(id, caller, options) {
    if (!ID.test(id)) throw new TypeError("A session's id is 1 to 128 of A-Z, a-z, 0-9, _ and -.");
    this.id = id;
    this.#path = `/v1/sessions/${id}`;
    this.#caller = caller;
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
    const beginning = { message_id: messageId };
    return new Answer(this, messageId, this.#reader(beginning));
  }

  /**
   * The session's events, for as long as they are read. `history`: all that was said before comes first. `position`: behind
   * that one. `from: "start"`: all that is kept. Without any: the unfinished answer, then what comes. `isNew`: nobody has
   * said anything yet, so there is no history to ask for.
   */
  follow({ from, position, history = false, isNew = false, share = this.#options.share } = {}) {
    const beginning = from === "start" || history ? { from: "start" } : {};
    return new Stream(this.#reader(beginning), { position, history, isNew, isShared: share && canShare() });
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

  #reader(beginning) {
    const open = (start) => (position, signal) => this.#open(start, position, signal);
    const alone = (position, on) => new Source(open(beginning), position, on, this.#options);
    return {
      alone,
      share: (position, on) => new Elected(this.#channelName(beginning), alone, position, on, this.#options),
      message: (id, on) => new Source(open({ message_id: id }), null, on, this.#options),
      history: () => this.history(),
    };
  }

  async #open(beginning, position, signal) {
    const { ticket } = this.#options;
    const query = new URLSearchParams(beginning);
    if (position !== null) query.delete("from"); // a position says where
    if (ticket) query.set("ticket", await ticket(this.id));
    const headers = { Accept: "text/event-stream" };
    if (position !== null) headers["Last-Event-ID"] = position;
    const address = query.size ? `${this.#path}/events?${query}` : `${this.#path}/events`;
    return this.#caller.fetch(address, { headers, signal, isAnonymous: Boolean(ticket) });
  }

  /** The same for tabs that may hear each other: of the same address, session and caller. Null: nobody may. */
  async #channelName(beginning) {
    const token = await this.#caller.token();
    const who = token === "" ? "" : await fingerprint(token);
    // The number is that of what tabs say to each other: a tab may be older than the server's last update.
    return who === null ? null : `chatmesh 1 ${this.#caller.base}${this.#path} ${beginning.from ?? ""} ${who}`;
  }
}

/** A SharedSource whose name is known later, or a Source of its own where it has none. */
class Elected {
  #source = null;
  #isClosed = false;

  constructor(name, alone, position, on, options) {
    this.#begin(name, alone, position, on, options);
  }

  async #begin(name, alone, position, on, options) {
    const known = await name.catch(() => null);
    if (this.#isClosed) return;
    this.#source = known === null ? alone(position, on) : new SharedSource(known, alone, position, on, options);
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
