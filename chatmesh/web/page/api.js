// Calls to the server. Each is safe to repeat, so it is repeated until the server has said yes or no.

const ATTEMPT_MS = 15_000;
const FIRST_PAUSE_MS = 400;
const LONGEST_PAUSE_MS = 10_000;

/** Whether the same call may have another answer soon. A message that the server chokes on would choke it for ever. */
const passesBy = (status, isRead) => (isRead ? status >= 500 : status >= 502 && status <= 504);

/** The server said no; `message` is its reason, written for people. */
export class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

/** 128 random bits that fit into an id. (crypto.randomUUID is missing on plain http, away from localhost.) */
export function randomId(prefix) {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return prefix + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Milliseconds to wait after so many failures: doubled each time, and spread, so that a herd does not come at once. */
export function backoff(failures) {
  return Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures) * (0.5 + Math.random() / 2);
}

export class Session {
  constructor(id) {
    this.path = `/v1/sessions/${id}`;
  }

  /** Everything said so far, and the position behind it; null where nobody has said anything yet. */
  async history() {
    const rows = [];
    let position = null;
    let after = null;
    try {
      do {
        const query = new URLSearchParams(after === null ? { limit: 200 } : { limit: 200, after });
        const page = await call(`${this.path}/messages?${query}`);
        rows.push(...page.messages);
        position = page.position;
        after = page.next;
      } while (after !== null);
    } catch (error) {
      if (error instanceof Refused && error.status === 404) return null;
      throw error;
    }
    return { rows, position };
  }

  /** Done once the server has made the message durable. The same id and body every time: it is one message. */
  async send(messageId, text, model) {
    const body = JSON.stringify({ message: text, message_id: messageId, context: { model } });
    await call(`${this.path}/messages`, { method: "POST", body, headers: { "Content-Type": "application/json" } });
  }

  /** What the user said in a message that began elsewhere. */
  async said(messageId) {
    return (await call(`${this.path}/messages/${messageId}`)).message;
  }
}

async function call(path, options) {
  for (let failures = 0; ; failures += 1) {
    let pause = backoff(failures);
    try {
      const response = await fetch(path, { ...options, signal: AbortSignal.timeout(ATTEMPT_MS) });
      if (!passesBy(response.status, options === undefined)) return await read(response);
      pause = Math.max(pause, 1000 * Number(response.headers.get("Retry-After")) || 0);
    } catch (error) {
      if (error instanceof Refused) throw error;
    }
    await new Promise((resume) => setTimeout(resume, pause));
  }
}

async function read(response) {
  const text = await response.text();
  const body = parse(text);
  if (response.ok && body !== null) return body;
  throw new Refused(response.status, body?.detail ?? `The server answered ${response.status}, and no more.`);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
