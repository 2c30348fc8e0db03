// Puts the component Chat of the file in the second argument on a page of the pod whose URL is the first one, types what
// the third one says, and sends it. One JSON line for every change: the texts of the paragraphs that people see.
import { transformSync } from "esbuild";
import { JSDOM } from "jsdom";
import { readFileSync, writeFileSync } from "node:fs";

const [url, source, text] = process.argv.slice(2);

const page = new JSDOM("<div id=root></div>", { url, pretendToBeVisual: true });
const { window } = page;
Object.assign(globalThis, { window, document: window.document, FormData: window.FormData });
// A browser's fetch takes the page's address for what is relative, and Node has no page.
const { fetch } = globalThis;
globalThis.fetch = (address, options) => fetch(new URL(address, window.location.href), options);
// React looks at which event is being handled.
Object.defineProperty(globalThis, "event", { get: () => window.event });

writeFileSync("./snippet.mjs", transformSync(readFileSync(source, "utf8"), { loader: "jsx", jsx: "automatic" }).code);
const { createElement } = await import("react");
const { createRoot } = await import("react-dom/client");
const { Chat } = await import("./snippet.mjs");

const root = window.document.getElementById("root");
const seen = () => [...root.querySelectorAll("p")].map((each) => each.textContent);
new window.MutationObserver(() => console.log(JSON.stringify(seen()))).observe(root, {
  subtree: true,
  childList: true,
  characterData: true,
});
createRoot(root).render(createElement(Chat, { id: "page" }));

const wait = setInterval(() => {
  const input = root.querySelector("input");
  if (input === null) return;
  clearInterval(wait);
  input.value = text;
  root.querySelector("form").requestSubmit();
}, 10);
