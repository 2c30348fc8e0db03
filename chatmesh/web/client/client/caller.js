// Calls to the server. Each is safe to repeat, so it is repeated until the server has said yes or no.

import { backoff, retryAfter, sleep } from "./pauses.js";

const ATTEMPT_MS = 15_000;
const FINAL = new Set([401, 403, 404, 422]); // of a stream, where chatmesh itself says so

/** Whether the same call may have another answer soon. A message that the server chokes on would choke it for ever. */
const passesBy = (status, isRead) =>
  status === 408 || (isRead ? status === 429 || status >= 500 : status >= 502 && status <= 504);

/** The server said no. `message` is its reason, for people; `code` is for programs, and stays the same over versions. */
export class ChatmeshError extends Error {
  name = "ChatmeshError";

  constructor(message, { status = 0, code = "", retryAfterMs = 0, sessionId = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
    this.sessionId = sessionId;
  }
}

export class Caller {
  #token;
  #fetch;

  /** `token`: text, or a function that gives a fresh one, perhaps later. */
  constructor({ base = "", token = null, fetch = null } = {}) {
    const here = globalThis.location?.href;
    // Fails here and now where it is no address, instead of being tried for ever.
    this.base = new URL(base || "/", here).href.replace(/\/$/, "");
    this.#token = token;
    this.#fetch = fetch ?? ((...all) => globalThis.fetch(...all));
  }

  /** The token as of now; empty where there is none. */
  async token() {
    return (typeof this.#token === "function" ? await this.#token() : this.#token) || "";
  }

  /** One attempt; a second one where the token was too old and there is a fresh one. */
  async fetch(path, { isAnonymous = false, ...options } = {}) {
    if (isAnonymous) return this.#send(path, options, "");
    const token = await this.token();
    const response = await this.#send(path, options, token);
    const fresh = response.status === 401 ? await this.token() : token;
    if (fresh === token) return response;
    await response.body?.cancel();
    return this.#send(path, options, fresh);
  }

  #send(path, { headers = {}, ...options }, token) {
    const all = token ? { ...headers, Authorization: `Bearer ${token}` } : headers;
    return this.#fetch(this.base + path, { cache: "no-store", ...options, headers: all });
  }

  /** The answer's body. Throws ChatmeshError where the server said no, and the signal's reason where it was given up. */
  async json(path, { method = "GET", body, signal } = {}) {
    const options = { method };
    if (body !== undefined) {
      options.body = JSON.stringify(body);
      options.headers = { "Content-Type": "application/json" };
    }
    for (let failures = 0; ; failures += 1) {
      signal?.throwIfAborted();
      const pause = await this.#attempt(path, options, signal, backoff(failures));
      if ("answer" in pause) return pause.answer;
      await sleep(pause.ms, signal);
    }
  }

  async #attempt(path, options, signal, ms) {
    const patience = AbortSignal.timeout(ATTEMPT_MS);
    try {
      const either = signal ? AbortSignal.any([signal, patience]) : patience;
      const response = await this.fetch(path, { ...options, signal: either });
      const body = await parsed(response);
      if (passesBy(response.status, options.method === "GET"))
        return { ms: Math.max(ms, retryAfter(response.headers.get("Retry-After"))) };
      if (response.ok && body !== null) return { answer: body };
      throw refusal(response, body);
    } catch (error) {
      if (error instanceof ChatmeshError) throw error;
      return { ms }; // no answer: the network, or too late
    }
  }
}

/** Why a stream was not given, where that is chatmesh's own last word; null: it may be given soon. */
export async function finalWord(response) {
  if (!FINAL.has(response.status)) return null;
  const body = await parsed(response);
  return body?.code ? refusal(response, body) : null;
}

function refusal(response, body) {
  const problem = body?.error && typeof body.error === "object" ? body.error : body; // OpenAI's form, or RFC 9457's
  const said = problem?.detail ?? problem?.message;
  return new ChatmeshError(said ?? `The server answered ${response.status}, and no more.`, {
    status: response.status,
    code: problem?.code ?? "",
    retryAfterMs: retryAfter(response.headers.get("Retry-After")),
    sessionId: problem?.session_id ?? null,
  });
}

async function parsed(response) {
  try {
    return JSON.parse(await response.text());
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
