// The answer to one message.

import { ChatmeshError } from "./caller.js";
import { Stream } from "./stream.js";

/**
 * An async iterator of `{text, delta, chunk, isFinal, isVerified}`: `text` is the whole answer so far, which is also right
 * after a reset; `delta` is what has come now.
 */
export class Answer {
  /** Of the final chunk; null before it. */
  final = null;
  #session;
  #stream;
  #text = "";

  constructor(session, messageId, reader) {
    this.#session = session;
    this.messageId = messageId;
    this.#stream = new Stream(reader, { isShared: false });
  }

  get finishReason() {
    return this.final?.metadata?.finish_reason ?? null;
  }

  async *[Symbol.asyncIterator]() {
    for await (const event of this.#stream) {
      if (event.type === "reset") {
        this.#text = "";
        yield { text: "", delta: "", chunk: null, isFinal: false, isVerified: null };
        continue;
      }
      const { chunk, isVerified } = event;
      const delta = chunk.chunk_type === "content" ? chunk.chunk : "";
      this.#text += delta;
      if (chunk.is_final) this.final = chunk;
      yield { text: this.#text, delta, chunk, isFinal: chunk.is_final === true, isVerified };
      if (chunk.is_final) return;
    }
  }

  /** The whole answer, once it has ended. Throws ChatmeshError where it failed. */
  async text() {
    for await (const update of this) if (update.isFinal) break;
    const error = this.final?.error;
    if (error) throw new ChatmeshError(error.message, { code: error.code });
    return this.#text;
  }

  /** Stops it at the server, for everybody. What was said stays, and its end still comes. */
  stop() {
    return this.#session.stop(this.messageId);
  }

  /** Reads no more. The answer goes on. */
  close() {
    this.#stream.close();
  }
}
