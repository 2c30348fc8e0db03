// Elements with text in them. Text stays text: nothing here is ever read as HTML.

/** An element; `children` are nodes or texts. */
export function element(name, { class: className, ...properties } = {}, ...children) {
  const node = document.createElement(name);
  if (className) node.className = className;
  Object.assign(node, properties);
  node.append(...children);
  return node;
}

/** What stands between backticks in `text` becomes code. */
export function prose(text) {
  return text.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

/** Opens below `summary`; `fill()` gives the nodes, the first time that it is opened. */
export function folded(summary, fill) {
  const node = element("details", {}, element("summary", {}, ...summary));
  node.addEventListener("toggle", () => node.append(...fill()), { once: true });
  return node;
}
