// A foreign pod: publishes the requests it reads from stdin (one JSON object a line), prints every chunk that it would
// route to its own connections (one JSON object a line). Usage: node pod.mjs URL POD_ID SESSION…
import { createInterface } from "node:readline";
import { connect } from "@nats-io/transport-node";

const [url, podId, ...sessions] = process.argv.slice(2);
const nc = await connect({ servers: url });
const mine = new Set(sessions);

async function route(subscription) {
  for await (const message of subscription) {
    const chunk = message.json();
    if (mine.has(chunk.session_id)) {
      console.log(JSON.stringify({ subject: message.subject, chunk }));
    }
  }
}

route(nc.subscribe(`chat.pod.${podId}.response`));
route(nc.subscribe("chat.session.*.broadcast"));
nc.subscribe(`chat.pod.${podId}.health`, {
  callback: (_error, message) =>
    message.respond(
      JSON.stringify({ pod_id: podId, status: "healthy", active_connections: mine.size, timestamp: new Date() }),
    ),
});
await nc.flush();
console.log(JSON.stringify({ ready: true }));

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  nc.publish(`chat.workflow.execute.${request.session_id}`, line);
}
await nc.drain();
