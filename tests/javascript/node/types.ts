// What a program would write: it has to be well-typed.
import { Answer, Chatmesh, ChatmeshError, Session, Stream, randomId } from "chatmesh-client";
import type { Chunk, Row } from "chatmesh-client";

const mesh = new Chatmesh({ base: "http://127.0.0.1", token: async () => "key", share: false, stallMs: 1000 });
const session: Session = mesh.session(randomId("chat_"));

export async function all(signal: AbortSignal): Promise<string> {
  const answer: Answer = await session.send("hello", { model: "echo", on_busy: "queue", signal, anything: { else: 1 } });
  for await (const { text, delta, chunk, isFinal, isVerified } of answer) {
    const told: [string, string, Chunk | null, boolean, boolean | null] = [text, delta, chunk, isFinal, isVerified];
    if (told[3] && answer.finishReason === "stop") break;
  }
  await answer.stop();
  const stream: Stream = session.follow({ history: true });
  stream.addEventListener("link", () => stream.cut());
  for await (const event of stream) {
    if (event.type === "history") event.rows.map((row: Row) => row.content);
    else if (event.type === "reset") event.messageId?.length;
    else stream.count(event.chunk.message_id)?.lost.toFixed();
  }
  for await (const { session_id, updated_at } of mesh.sessions()) console.log(session_id, updated_at?.length);
  const names: string[] = await mesh.models({ signal });
  // @ts-expect-error - a stream is got from a session
  new Stream();
  return names.join() + (new ChatmeshError("no").code satisfies string);
}
