// The list of the caller's sessions: what was said last in each, the newest first.

import { inTab } from "/page/kept.js";

const MOST = 500; // looked at
const SHOWN = 50;
const TITLE = "chatmesh.title."; // in sessionStorage: the next one at this browser may be somebody else

export class Sessions {
  #mesh;
  #list;
  #current;

  constructor(mesh, list, current) {
    this.#mesh = mesh;
    this.#list = list;
    this.#current = current;
  }

  /** Reads and shows them. Throws ChatmeshError. */
  async show() {
    const entries = [];
    for await (const entry of this.#mesh.sessions()) if (entries.push(entry) === MOST) break;
    entries.sort((one, other) => (other.updated_at ?? "").localeCompare(one.updated_at ?? ""));
    const shown = entries.slice(0, SHOWN).map((entry) => ({ entry, ...this.#row(entry) }));
    this.#list.replaceChildren(...shown.map(({ row }) => row));
    for (const { entry, title } of shown) title.textContent = await this.#title(entry);
  }

  #row({ session_id: id, updated_at: at, last_message_id: last }) {
    const [row, link, title, when] = ["li", "a", "span", "time"].map((name) => document.createElement(name));
    link.href = `/?session=${id}`;
    if (id === this.#current) link.setAttribute("aria-current", "page");
    title.textContent = inTab.get(TITLE + last) ?? id;
    if (at) {
      when.dateTime = at;
      when.textContent = ago(Date.parse(at) - Date.now());
    }
    link.append(title, when);
    row.append(link);
    return { row, title };
  }

  async #title({ session_id: id, last_message_id: last }) {
    const known = inTab.get(TITLE + last);
    if (known !== null || last === null) return known ?? id;
    try {
      const { message } = await this.#mesh.session(id).message(last);
      const title = message.trim().replace(/\s+/g, " ").slice(0, 120) || id;
      inTab.set(TITLE + last, title);
      return title;
    } catch {
      return id; // erased meanwhile
    }
  }
}

const STEPS = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
];

function ago(ms) {
  const [unit, size] = STEPS.find(([, step]) => -ms >= step) ?? ["minute", 60_000];
  const format = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
  return -ms < 60_000 ? "now" : format.format(Math.round(ms / size), unit);
}
