// How event streams are asked for.
//
// A *place* says where one begins: a position, "start" for all that is kept, or "" for the unfinished answer and what comes.

export const START = "start";

/** Whether a place is a position, behind which nothing is lost. */
export const isPosition = (place) => place !== "" && place !== START;

export class Opener {
  #caller;
  #ticket;

  constructor(caller, { ticket } = {}) {
    this.#caller = caller;
    this.#ticket = ticket;
  }

  /** Whether several sessions can be asked for at once: a ticket is for one. */
  get isForSeveral() {
    return !this.#ticket;
  }

  /** A Response with the events of one session, or of one message in it. */
  async one(id, place, signal, messageId) {
    const query = new URLSearchParams();
    if (place === START) query.set("from", START);
    if (messageId) query.set("message_id", messageId);
    if (this.#ticket) query.set("ticket", await this.#ticket(id));
    const headers = isPosition(place) ? { "Last-Event-ID": place } : {};
    return this.#fetch(`/v1/sessions/${id}/events`, query, headers, signal);
  }

  /** The same of several: `[[id, place], …]`. The `id` of an event has a position of each, in this order. */
  several(sessions, signal) {
    const query = new URLSearchParams(sessions.map(([id, place]) => ["session", place ? `${id}:${place}` : id]));
    return this.#fetch("/v1/events", query, {}, signal);
  }

  #fetch(path, query, headers, signal) {
    const all = { Accept: "text/event-stream", ...headers };
    const address = query.size ? `${path}?${query}` : path;
    return this.#caller.fetch(address, { headers: all, signal, isAnonymous: Boolean(this.#ticket) });
  }
}
