// One JSON line for everything that an EventSource of npm hears from the URL in the first argument. The second and third are a
// function of fetches.mjs, and what it is called with.
import { EventSource } from "eventsource";
import * as fetches from "./fetches.mjs";
import { watch } from "./watch.mjs";

const [url, way, argument] = process.argv.slice(2);
const options = way === undefined ? undefined : { fetch: fetches[way](argument) };

process.stdin.resume(); // a source that has closed for good is still asked what it heard
watch(EventSource, url, (heard) => console.log(JSON.stringify(heard)), options);
