// One JSON line for everything that an EventSource of npm hears from the URL in the first argument.
import { EventSource } from "eventsource";
import { watch } from "./watch.mjs";

process.stdin.resume(); // a source that has closed for good is still asked what it heard
watch(EventSource, process.argv[2], (heard) => console.log(JSON.stringify(heard)));
