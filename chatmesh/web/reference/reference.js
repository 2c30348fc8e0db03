// The API's page: everything on it is made of /openapi.json.

import { element, prose } from "/reference/nodes.js";
import { methodNode, operationNode } from "/reference/operation.js";
import { Schemas } from "/reference/schema.js";

const WIDE = matchMedia("(min-width: 64rem)");

const byId = (id) => document.getElementById(id);

async function load() {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  return answer.json();
}

/** `[{name, description, operations: [[method, path, operation]]}]` */
function groups({ tags, paths }) {
  const all = Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => [method, path, operation]),
  );
  return tags.map((tag) => ({ ...tag, operations: all.filter(([, , { tags: [name] }]) => name === tag.name) }));
}

function contentsNode({ name, operations }) {
  const links = operations.map(([method, , { operationId, summary }]) =>
    element("li", {}, element("a", { href: `#${operationId}` }, methodNode(method), " ", summary.replace(/\.$/, ""))),
  );
  return [element("p", {}, name), element("ul", {}, ...links)];
}

function groupNodes(api, schemas, { name, description, operations }) {
  return [
    element("h2", {}, name),
    element("p", { class: "facts" }, ...prose(description)),
    ...operations.map(([method, path, operation]) => operationNode(api, schemas, method, path, operation)),
  ];
}

function show(api) {
  const schemas = new Schemas(api.components);
  byId("version").textContent = `API ${api.info.version}`;
  byId("about").append(...prose(api.info.description));
  const contents = byId("contents").firstElementChild;
  contents.append(...groups(api).flatMap(contentsNode));
  contents.open = WIDE.matches;
  WIDE.addEventListener("change", () => (contents.open = WIDE.matches));
  contents.addEventListener("click", ({ target }) => {
    if (target.closest("a")) contents.open = WIDE.matches;
  });
  byId("reference").append(...groups(api).flatMap((group) => groupNodes(api, schemas, group)));
  if (location.hash) byId(location.hash.slice(1))?.scrollIntoView();
}

try {
  show(await load());
} catch (error) {
  byId("about").textContent = `The description could not be read: ${error.message}. Load this page again.`;
}
