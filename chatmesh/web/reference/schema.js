// What a JSON Schema says: in a few words, and as a list of fields which open where they have fields of their own.

import { element, folded, prose } from "/reference/nodes.js";

const REF = "#/components/schemas/";

/** `chatmesh__ingress__bodies__Function` is a `Function`. */
const nameOf = (schema) => schema.$ref?.slice(REF.length).split("__").at(-1);
const optionsOf = (schema) => schema.anyOf ?? schema.oneOf;

export class Schemas {
  #known;

  constructor(components) {
    this.#known = components?.schemas ?? {};
  }

  /** Its type, as in `list of Chunk or null`. */
  words(schema) {
    if (schema.$ref) return nameOf(schema);
    if ("const" in schema) return JSON.stringify(schema.const);
    if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
    if (optionsOf(schema)) return [...new Set(optionsOf(schema).map((each) => this.words(each)))].join(" or ");
    if (schema.allOf) return this.words(schema.allOf[0]);
    if (schema.contentSchema) return `JSON text: ${this.words(schema.contentSchema)}`;
    if (schema.type === "array") return `list of ${schema.items ? this.words(schema.items) : "anything"}`;
    return schema.type ?? "anything";
  }

  /** The list of its fields: nothing where it has none. */
  fields(schema) {
    const { properties = {}, required = [], description } = this.#resolved(schema);
    const items = Object.entries(properties).map(([name, each]) =>
      this.field(name, each, { isRequired: required.includes(name), text: each.description }),
    );
    return [
      ...(description ? [element("p", {}, ...prose(description))] : []),
      ...(items.length ? [element("ul", { class: "fields" }, ...items)] : []),
    ];
  }

  /** One field. `where`: what it stands in, such as the query. */
  field(name, schema, { isRequired = false, text = "", where = "" } = {}) {
    const facts = [where, this.words(schema), ...limits(schema), isRequired ? "required" : ""];
    return element(
      "li",
      {},
      element("code", { class: "name" }, name),
      " ",
      element("span", { class: "facts" }, facts.filter(Boolean).join(" · ")),
      ...(text ? [element("p", {}, ...prose(text))] : []),
      ...this.inner(schema),
    );
  }

  /** What opens to the fields of what is named in it. */
  inner(schema) {
    return this.#objects(schema).map((each) => folded([nameOf(each) ?? "fields"], () => this.fields(each)));
  }

  /** The schemas with fields that are in it, one level deep. */
  #objects(schema) {
    if (optionsOf(schema)) return optionsOf(schema).flatMap((each) => this.#objects(each));
    if (schema.contentSchema) return this.#objects(schema.contentSchema);
    if (schema.type === "array" && schema.items) return this.#objects(schema.items);
    const whole = this.#resolved(schema);
    if (whole !== schema && !whole.properties) return this.#objects(whole);
    return whole.properties ? [schema] : [];
  }

  #resolved(schema) {
    return schema.$ref ? (this.#known[schema.$ref.slice(REF.length)] ?? {}) : schema;
  }
}

const WORDS = {
  default: (value) => (value === null ? "" : `default ${JSON.stringify(value)}`),
  pattern: (value) => value,
  minimum: (value) => `from ${value}`,
  exclusiveMinimum: (value) => `above ${value}`,
  maximum: (value) => `up to ${value}`,
  maxLength: (value) => `at most ${value} characters`,
  maxItems: (value) => `at most ${value}`,
};

/** What narrows it, of a schema that may be null too. */
function limits(schema) {
  const narrowed = [schema, ...(optionsOf(schema) ?? [])];
  const told = narrowed.flatMap((each) =>
    Object.entries(WORDS).map(([key, say]) => (each[key] === undefined ? "" : say(each[key]))),
  );
  return [...new Set(told)];
}
