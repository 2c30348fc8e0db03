/** Settings of a {@link Chatmesh}. */
export interface Options {
  /** Where pods are: `https://chat.example.org`. Without it, where the page is from. */
  base?: string;
  /** A key or token, or a function that gives one; it is asked again when a pod says 401. */
  token?: string | (() => string | Promise<string>) | null;
  /** Gets a session's id, gives a ticket for its events: for pages that may hold no token. Asked for each connection. */
  ticket?: (sessionId: string) => Promise<string>;
  /** Milliseconds of silence that count as a dead connection; 45,000 without it. */
  stallMs?: number;
  /** One connection for all tabs of the origin, whichever sessions they follow; true in a browser. */
  share?: boolean;
  /** In the place of the global one. */
  fetch?: typeof globalThis.fetch;
}

export interface Signalled {
  signal?: AbortSignal;
}

/** What a message may bring; other names are handed to the worker as they are. */
export interface Say extends Signalled {
  /** Makes repeating safe; a new one without it. */
  messageId?: string;
  model?: string;
  max_tokens?: number;
  temperature?: number;
  system_prompt?: string;
  on_busy?: "queue" | "reject" | "interrupt";
  conversation_history?: { role: string; content: string }[];
  [name: string]: unknown;
}

/** As it stands on the wire. */
export interface Chunk {
  session_id: string;
  message_id: string;
  /** From 0 within a message; rises by one, over attempts too. */
  chunk_id: number;
  chunk: string;
  chunk_type: "content" | "error" | "metadata" | "system";
  is_final: boolean;
  metadata: Metadata;
  error?: { code: string; message: string };
  timestamp?: string;
  correlation_id?: string;
}

export interface Metadata {
  model?: string;
  attempt?: number;
  /** In the final chunk. */
  finish_reason?: "stop" | "length" | "tool_calls" | "content_filter" | "error" | "cancelled";
  digest?: string;
  tokens_used?: number;
  [name: string]: unknown;
}

export type Status = "queued" | "running" | "done" | "stopped" | "failed";

/** Of the history: what was asked and what was answered share a `message_id`. */
export interface Row {
  message_id: string;
  role: "user" | "assistant";
  content: string;
  status: Status;
  finish_reason: string | null;
  created_at: string | null;
  model?: string | null;
  attempt?: number;
  error?: { code: string; message: string };
  [name: string]: unknown;
}

export interface History {
  rows: Row[];
  /** Where a stream goes on without a gap; null where nobody has said anything yet. */
  position: string | null;
}

export interface SessionEntry {
  session_id: string;
  last_message_id: string | null;
  updated_at: string | null;
}

export interface OneMessage extends Row {
  session_id: string;
  /** What the user said. */
  message: string;
}

export type StreamEvent =
  | { type: "history"; rows: Row[] }
  /** `isVerified`, of the final chunk: whether the text is what the server stored; null where nobody can tell. */
  | { type: "chunk"; chunk: Chunk; isVerified: boolean | null }
  /** Drop the text of that message, or of all where none is named. */
  | { type: "reset"; reason: string; messageId: string | null };

export interface Follow {
  from?: "start";
  position?: string | null;
  /** All that was said before comes first, as one event; also again where everything shown is void. */
  history?: boolean;
  /** Nobody has said anything yet, so there is no history to ask for. */
  isNew?: boolean;
  share?: boolean;
}

/** A session's events: each once, in order, over as many connections as it takes. Tells `link` when that changes. */
export class Stream extends EventTarget implements AsyncIterable<StreamEvent> {
  private constructor();
  readonly position: string | null;
  readonly isLive: boolean;
  /** How often it was connected; from 2 on it was resumed. */
  readonly connects: number;
  /** Ids of the first and the last chunk that came of a message, and how many were missing or came twice. */
  count(messageId: string): { first: number; last: number; lost: number; repeated: number } | null;
  /** Breaks the connection as a bad network would. It comes back by itself. */
  cut(): void;
  /** Reads no more. Answers go on. */
  close(): void;
  [Symbol.asyncIterator](): AsyncGenerator<StreamEvent, void, void>;
}

export interface Update {
  /** The whole answer so far. */
  text: string;
  /** What has come now. */
  delta: string;
  /** Null where the text was taken back. */
  chunk: Chunk | null;
  isFinal: boolean;
  isVerified: boolean | null;
}

/** The answer to one message. */
export class Answer implements AsyncIterable<Update> {
  private constructor();
  readonly messageId: string;
  /** The final chunk; null before it. */
  readonly final: Chunk | null;
  readonly finishReason: Metadata["finish_reason"] | null;
  /** The whole answer, once it has ended. Throws ChatmeshError where it failed. */
  text(): Promise<string>;
  /** Stops it at the server, for everybody. What was said stays, and its end still comes. */
  stop(): Promise<unknown>;
  /** Reads no more. The answer goes on. */
  close(): void;
  [Symbol.asyncIterator](): AsyncGenerator<Update, void, void>;
}

export class Session {
  private constructor();
  readonly id: string;
  /** Says something. Resolves once it is durable. */
  send(message: string, options?: Say): Promise<Answer>;
  /** The same without reading: for whoever follows the session. Resolves with the message's id. */
  post(message: string, options?: Say): Promise<string>;
  /** The answer to a message that was sent, from its beginning. */
  answer(messageId: string): Answer;
  follow(options?: Follow): Stream;
  history(options?: Signalled): Promise<History>;
  message(messageId: string, options?: Signalled): Promise<OneMessage>;
  /** Stops a message at the server, running or queued. What was said stays. */
  stop(messageId: string, options?: Signalled): Promise<unknown>;
  /** Removes the session and all that was said in it. */
  erase(options?: Signalled): Promise<unknown>;
}

/** A mesh of pods behind one address. */
export class Chatmesh {
  constructor(options?: Options);
  /** Throws TypeError where the id is none: 1 to 128 of A-Z, a-z, 0-9, _ and -. */
  session(id: string): Session;
  /** Any other call of the API, `{method, body, signal}`: the body of its answer. It is repeated like all of them. */
  call(path: string, options?: Signalled & { method?: string; body?: unknown }): Promise<unknown>;
  /** Names of the models that are served now. */
  models(options?: Signalled): Promise<string[]>;
  /** The caller's sessions, in the order of their ids. */
  sessions(options?: Signalled): AsyncGenerator<SessionEntry, void, void>;
}

/** The server said no. `message` is its reason, for people; `code` is for programs. */
export class ChatmeshError extends Error {
  readonly status: number;
  readonly code: string;
  readonly retryAfterMs: number;
  /** Of several that were asked for at once, the one that is meant. */
  readonly sessionId: string | null;
}

/** 128 random bits that fit into an id. */
export function randomId(prefix?: string): string;
