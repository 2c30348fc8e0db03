// Follows sessions and says on stdout what it hears: one line of JSON for each event, with the name of whoever heard it.
//
// Arguments: where pods are, and JSON: `{options, follow, tabs, tokens, session, sessions}`, the last one by tab. Commands come on stdin, one JSON a line:
// `{"tab": 0, "do": "close"}`, or `cut`, or `open` for one more, or `hurry` for one that takes its events slowly.
import { createInterface } from "node:readline";

const { Chatmesh } = await import(`${process.env.CLIENT}/client.js`);
const [base, settings] = [process.argv[2], JSON.parse(process.argv[3])];
const { options = {}, follow = {}, tabs = 1, session: id = "s", sessions = [] } = settings;
const tell = (line) => console.log(JSON.stringify(line));

let asked = 0;
if (options.token === "fresh") options.token = () => (asked++ === 0 ? "old" : "new");
if (options.ticket) options.ticket = async (session) => `${session}-${(asked += 1)}`;

const streams = [];
const tokenOf = (tab) => (settings.tokens ? { token: settings.tokens[tab] } : {});

async function open(tab) {
  const stream = (streams[tab] = new Chatmesh({ base, ...options, ...tokenOf(tab) }).session(sessions[tab] ?? id).follow(follow));
  stream.addEventListener("link", () => tell({ tab, type: "link", isLive: stream.isLive, connects: stream.connects }));
  try {
    for await (const event of stream) {
      tell({ tab, ...event, position: stream.position, count: event.chunk && stream.count(event.chunk.message_id) });
      if (settings.slowly && tab === 0) await new Promise((resume) => setTimeout(resume, settings.slowly));
    }
    tell({ tab, type: "end" });
  } catch (error) {
    tell({ tab, type: "error", name: error.name, status: error.status, code: error.code, message: error.message });
  }
}

for (let tab = 0; tab < tabs; tab += 1) open(tab);

createInterface({ input: process.stdin }).on("line", (line) => {
  const { tab, do: what } = JSON.parse(line);
  if (what === "open") open(tab);
  else if (what === "hurry") settings.slowly = 0;
  else streams[tab][what]();
});
