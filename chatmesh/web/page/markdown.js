// Markdown as it grows: what is whole stays as it is, and only the end is made anew.
//
// In: the text, piece by piece. Out: DOM nodes, built one by one: what a model says never becomes HTML, and its pictures
// are links, so that looking at an answer tells nobody anything.

import { Lexer } from "/page/vendor/marked.js";
import { codeBlock } from "/page/code.js";

const OPTIONS = { gfm: true, breaks: true };
const UNSETTLED = 2; // blocks at the end that what comes may still change: a paragraph becomes a heading, a list goes on
const SAFE = new Set(["http:", "https:", "mailto:"]);
const ENTITY = /&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});/gi;

/** `onBlock(text)` is told each block once it is whole. */
export class Markdown {
  #element;
  #onBlock;
  #level = 2; // of the last heading; the answer itself has one of this level
  #held = ""; // a CR may be half of a CRLF
  #rest = ""; // the text of the blocks that are not settled
  #shown = []; // those blocks: {raw, node, update}
  #frame = null;

  constructor(element, onBlock = () => {}) {
    this.#element = element;
    this.#onBlock = onBlock;
  }

  add(text) {
    const all = this.#held + text;
    this.#held = all.endsWith("\r") ? "\r" : "";
    this.#rest += all.slice(0, all.length - this.#held.length).replace(/\r\n?/g, "\n");
    // A page that nobody sees gets no frames; it is drawn when it is looked at.
    this.#frame ??= requestAnimationFrame(() => this.draw());
  }

  /** All of it is there. */
  end() {
    this.draw();
    for (const { node } of this.#shown) this.#onBlock(spoken(node));
    this.#shown = [];
    this.#rest = "";
  }

  clear() {
    this.#rest = this.#held = "";
    this.#level = 2;
    this.#shown = [];
    this.#element.replaceChildren();
  }

  draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = null;
    const tokens = new Lexer(OPTIONS).lex(this.#rest);
    const blocks = tokens.filter(({ type }) => type !== "space" && type !== "def");
    levelled(blocks, this.#level);
    blocks.forEach((token, index) => this.#show(token, index));
    for (const { node } of this.#shown.splice(blocks.length)) node.remove();
    this.#settle(tokens, blocks);
  }

  #show(token, index) {
    const shown = this.#shown[index];
    if (shown === undefined) return this.#put(index, made(token), (block) => this.#element.append(block.node));
    if (shown.raw === token.raw && shown.type === token.type) return undefined;
    if (shown.type === token.type && shown.update) {
      shown.update(token);
      shown.raw = token.raw;
      return undefined;
    }
    return this.#put(index, made(token), (block) => shown.node.replaceWith(block.node));
  }

  #put(index, block, place) {
    place(block);
    this.#shown[index] = block;
  }

  #settle(tokens, blocks) {
    const last = blocks.at(-UNSETTLED - 1);
    if (last === undefined) return;
    const settled = tokens.slice(0, tokens.indexOf(last) + 1);
    const end = endOf(settled, this.#rest);
    if (end < 0) return;
    this.#level = settled.findLast(({ type }) => type === "heading")?.level ?? this.#level;
    this.#rest = this.#rest.slice(end);
    for (const { node } of this.#shown.splice(0, blocks.length - UNSETTLED)) this.#onBlock(spoken(node));
  }
}

/** Code is said to be there, and read by whoever goes there. */
function spoken(node) {
  if (node.localName !== "figure") return node.textContent;
  const language = node.querySelector("figcaption span").textContent;
  return language ? `Code in ${language}.` : "Code.";
}

/** Where the last of these ends in the text; -1 where that can't be said. What the lexer says of a list has lost the space behind it. */
function endOf(tokens, text) {
  let end = 0;
  for (const { raw } of tokens) {
    const begin = text.indexOf(raw, end);
    if (begin < 0) return -1;
    end = begin + raw.length;
  }
  return end;
}

/** Headings below each other without a step left out, whatever the model begins with: people jump from one to the next. */
function levelled(blocks, level) {
  for (const token of blocks) {
    if (token.type === "heading") level = token.level = Math.min(token.depth + 2, level + 1, 6);
  }
}

function made(token) {
  if (token.type === "code") {
    const { node, update } = codeBlock(token.text, token.lang);
    return { type: token.type, raw: token.raw, node, update: (next) => update(next.text, next.lang) };
  }
  return { type: token.type, raw: token.raw, node: block(token), update: null };
}

// --- Blocks

function block(token) {
  switch (token.type) {
    case "heading":
      return make(`h${token.level ?? 3}`, inline(token.tokens)); // in a quotation or a list all are alike
    case "hr":
      return make("hr");
    case "blockquote":
      return make("blockquote", blocks(token.tokens));
    case "list":
      return list(token);
    case "table":
      return table(token);
    case "code":
      return codeBlock(token.text, token.lang).node;
    default:
      // A paragraph, or what is shown as it stands: HTML among it.
      return make("p", token.tokens ? inline(token.tokens) : [token.raw.trimEnd()]);
  }
}

const blocks = (tokens) => tokens.filter(({ type }) => type !== "space" && type !== "def").map(block);

function list(token) {
  const element = make(token.ordered ? "ol" : "ul", token.items.map(item));
  if (token.ordered && token.start > 1) element.start = token.start;
  return element;
}

function item({ tokens }) {
  // A tight list's items have text where loose ones have paragraphs.
  return make("li", tokens.flatMap((token) => (token.type === "text" || token.type === "checkbox" ? inline([token]) : blocks([token]))));
}

function table({ header, rows, align }) {
  const row = (cells, name) =>
    make("tr", cells.map((cell, column) => {
      const element = make(name, inline(cell.tokens));
      if (align[column]) element.classList.add(align[column]);
      return element;
    }));
  const head = make("thead", [row(header, "th")]);
  const body = make("tbody", rows.map((cells) => row(cells, "td")));
  const frame = make("div", [make("table", [head, body])]);
  frame.className = "wide";
  frame.tabIndex = 0; // it scrolls, so the keyboard has to reach it
  frame.role = "region";
  frame.ariaLabel = "Table";
  return frame;
}

// --- In a line

const inline = (tokens) => tokens.flatMap(piece);

function piece(token) {
  switch (token.type) {
    case "text":
      return token.tokens ? inline(token.tokens) : [decoded(token.text)];
    case "escape":
      return [token.text];
    case "strong":
    case "em":
    case "del":
      return [make(token.type, inline(token.tokens))];
    case "codespan":
      return [make("code", [token.text])];
    case "br":
      return [make("br"), "\n"];
    case "checkbox":
      return [token.checked ? "☑ " : "☐ "];
    case "link":
      return link(token.href, inline(token.tokens), token.title);
    case "image":
      return link(token.href, [decoded(token.text) || token.href], token.title);
    default:
      return [token.raw];
  }
}

function link(href, content, title) {
  const address = URL.parse?.(href) ?? parsed(href);
  if (address === null || !SAFE.has(address.protocol)) return content;
  const element = make("a", content);
  element.href = address.href;
  element.target = "_blank";
  element.rel = "noopener noreferrer nofollow";
  if (title) element.title = title;
  return [element];
}

function parsed(href) {
  try {
    return new URL(href);
  } catch {
    return null;
  }
}

/** `&amp;` and its like. What is parsed is one entity and nothing else, in a document that runs nothing. */
const decoded = (text) =>
  text.replace(ENTITY, (entity) => new DOMParser().parseFromString(entity, "text/html").body.textContent);

function make(name, content = []) {
  const element = document.createElement(name);
  element.append(...content);
  return element;
}
