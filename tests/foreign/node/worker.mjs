// A foreign worker: answers what its queue group hands it, word by word, to one pod (or by broadcast for "-"), singly or
// in the seed's ChunkBatch; prints each request that it got. Usage: node worker.mjs URL POD_ID|- single|batch
import { createInterface } from "node:readline";
import { connect } from "@nats-io/transport-node";

const [url, podId, shape] = process.argv.slice(2);
const nc = await connect({ servers: url });

function answer(request) {
  const words = request.message.split(" ");
  return words.map((word, index) => ({
    session_id: request.session_id,
    message_id: request.message_id,
    chunk_id: index,
    chunk: `${word} `,
    chunk_type: "content",
    is_final: index === words.length - 1,
    metadata: { model: "js", tokens_used: index + 1, ...(index === words.length - 1 && { finish_reason: "stop" }) },
    timestamp: new Date().toISOString(),
    correlation_id: request.correlation_id,
  }));
}

nc.subscribe("chat.workflow.execute.*", {
  queue: "workflow-workers",
  callback: (_error, message) => {
    const request = message.json();
    const { session_id } = request;
    const subject = podId === "-" ? `chat.session.${session_id}.broadcast` : `chat.pod.${podId}.response`;
    const chunks = answer(request);
    const bodies = shape === "batch" ? [{ SessionID: session_id, Chunks: chunks }] : chunks;
    for (const body of bodies) {
      nc.publish(subject, JSON.stringify(body));
    }
    console.log(JSON.stringify({ request }));
  },
});
await nc.flush();
console.log(JSON.stringify({ ready: true }));

for await (const _ of createInterface({ input: process.stdin })) {
  // Until stdin ends.
}
await nc.drain();
