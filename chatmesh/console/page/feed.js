// What the page asks the pod: one stream of looks, lists, and what is done.

import { Caller, ChatmeshError } from "/client/caller.js";
import { Source } from "/client/source.js";

const PATIENCE_MS = 15_000;

export class Feed {
  #caller;

  constructor(token) {
    this.#caller = new Caller({ token });
  }

  /** `on`: `frame(look)`, `away(reason)`, `link(isUp)`, `end(error)`. */
  follow(on) {
    const open = (_position, signal) =>
      this.#caller.fetch("/v1/ops/events", { signal, headers: { Accept: "text/event-stream" } });
    return new Source(open, null, {
      event({ name, data }) {
        if (name === "frame") on.frame(JSON.parse(data));
        if (name === "away") on.away(JSON.parse(data).reason);
      },
      link: on.link,
      sign() {},
      end: on.end,
    });
  }

  read(path, signal) {
    return this.#caller.json(`/v1/ops/${path}`, { signal });
  }

  /** One try: who waits for it wants to know at once what came of it. */
  async once(method, path) {
    const response = await this.#caller.fetch(`/v1/ops/${path}`, { method, signal: AbortSignal.timeout(PATIENCE_MS) });
    const body = await response.json().catch(() => null);
    if (response.ok) return body;
    throw new ChatmeshError(body?.detail ?? `The server answered ${response.status}.`, { status: response.status });
  }
}
