// Code in an answer, with a button that copies it.

const SAID_MS = 1600;

/** `{node, update(text, language)}`: it may still grow. */
export function codeBlock(text, language) {
  const node = document.createElement("figure");
  node.className = "code";
  const caption = document.createElement("figcaption");
  const name = document.createElement("span");
  const code = document.createElement("code");
  const frame = document.createElement("pre");
  frame.tabIndex = 0; // it scrolls, so the keyboard has to reach it
  frame.role = "region";
  frame.ariaLabel = "Code";
  frame.append(code);
  caption.append(name, copyButton("Copy code", () => code.textContent));
  node.append(caption, frame);
  const update = (next, nextLanguage) => {
    const known = code.textContent;
    if (next.startsWith(known)) code.append(next.slice(known.length));
    else code.textContent = next;
    code.normalize();
    name.textContent = (nextLanguage ?? "").split(/\s/)[0];
  };
  update(text, language);
  return { node, update };
}

/** A button that copies what `text()` gives, and says so for a moment. */
export function copyButton(label, text) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.textContent = "Copy";
  button.ariaLabel = label;
  button.addEventListener("click", async () => {
    button.textContent = (await copy(text())) ? "Copied" : "Not copied";
    setTimeout(() => (button.textContent = "Copy"), SAID_MS);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // plain http, away from localhost
  }
}

function copyBySelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "unseen";
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  return isCopied;
}
