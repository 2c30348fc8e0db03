// Runs the file in the first argument, which expects a browser's EventSource.
import { EventSource } from "eventsource";
import { readFileSync } from "node:fs";

globalThis.EventSource = EventSource;
(0, eval)(readFileSync(process.argv[2], "utf8"));
