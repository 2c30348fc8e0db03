// One operation of the API: what it takes, what it answers, and a request to copy.

import { codeBlock } from "/page/code.js";
import { curl } from "/reference/curl.js";
import { element, folded, prose } from "/reference/nodes.js";

/** The section of an operation; `api` is the whole document. */
export function operationNode(api, schemas, method, path, operation) {
  const { operationId: id, summary, description } = operation;
  return element(
    "section",
    { class: "operation", id },
    element(
      "h3",
      {},
      element("a", { href: `#${id}` }, methodNode(method), " ", element("code", {}, ...breakable(path))),
    ),
    element("p", { class: "summary" }, ...prose(summary)),
    ...(description ? [element("p", {}, ...prose(description))] : []),
    exampleNode(method, path, operation),
    ...requestNodes(schemas, operation),
    ...answerNodes(schemas, operation),
    ...errorNodes(api, operation),
  );
}

export const methodNode = (method) => element("span", { class: `method ${method}` }, method.toUpperCase());

/** A long path may go on in the next line, behind a slash. */
const breakable = (path) => path.split(/(?<=\/)/).flatMap((part) => [part, element("wbr")]);

function requestNodes(schemas, { parameters = [], requestBody }) {
  const fields = parameters.map(({ name, in: where, schema, required, description }) =>
    schemas.field(name, schema, { isRequired: required, text: description, where }),
  );
  const body = requestBody?.content["application/json"].schema;
  return [
    ...(fields.length ? [element("h4", {}, "Parameters"), element("ul", { class: "fields" }, ...fields)] : []),
    ...(body ? [element("h4", {}, "Body"), ...schemas.fields(body)] : []),
  ];
}

const isGood = (status) => status < "400";

function answerNodes(schemas, { responses }) {
  const good = Object.entries(responses).filter(([status]) => isGood(status));
  return [element("h4", {}, "Answers"), ...good.map(([status, answer]) => answerNode(schemas, status, answer))];
}

function answerNode(schemas, status, { description, content = {}, headers = {} }) {
  const own = Object.entries(headers).filter(([, header]) => !header.$ref);
  return element(
    "div",
    { class: "answered" },
    element("p", {}, element("strong", {}, status), " ", ...prose(description)),
    ...Object.entries(content).map(([type, { schema }]) =>
      element("p", { class: "facts" }, element("code", {}, type), ` ${schemas.words(schema)}`),
    ),
    ...(own.length ? [element("ul", { class: "fields" }, ...own.map((each) => headerNode(schemas, ...each)))] : []),
    ...Object.values(content).flatMap(({ schema }) => schemas.inner(schema)),
  );
}

const headerNode = (schemas, name, { schema, description: text }) =>
  schemas.field(name, schema, { text, where: "header" });

/** The codes by status: the bodies are all of one form. */
function errorNodes(api, { responses }) {
  const bad = Object.entries(responses).filter(([status]) => !isGood(status));
  const rows = () =>
    bad.map(([status, answer]) => {
      const { description } = answer.$ref ? api.components.responses[answer.$ref.split("/").at(-1)] : answer;
      return element("li", {}, element("strong", {}, status), " ", ...prose(description));
    });
  const statuses = bad.map(([status]) => status).join(", ");
  return [folded([`Errors: ${statuses}`], () => [element("ul", { class: "errors" }, ...rows())])];
}

function exampleNode(method, path, operation) {
  const { node } = codeBlock(curl(location.origin, method, path, operation), "curl");
  node.querySelector("pre").ariaLabel = `Request of ${operation.operationId}`;
  node.querySelector("button").ariaLabel = `Copy the request of ${operation.operationId}`;
  return node;
}
