// The picker of models: what is served now, and the one that was chosen here before.

import { forGood } from "/page/kept.js";

const NAME = "chatmesh.model";

export class Models {
  #mesh;
  #select;

  constructor(mesh, select) {
    this.#mesh = mesh;
    this.#select = select;
    select.addEventListener("change", () => forGood.set(NAME, select.value));
    select.addEventListener("focus", () => this.load().catch(() => {})); // what is shown stays
  }

  /** The chosen one; undefined: whichever the server takes without being told. */
  get chosen() {
    return this.#select.value || undefined;
  }

  /** Throws ChatmeshError. */
  async load() {
    const served = (await this.#mesh.models()).filter((name) => !name.includes("*"));
    const names = ["", ...served];
    if (names.join() === Array.from(this.#select.options, ({ value }) => value).join()) return;
    const wanted = this.#select.value || forGood.get(NAME);
    this.#select.replaceChildren(...names.map((name) => new Option(name || "Default model", name)));
    if (names.includes(wanted)) this.#select.value = wanted;
  }
}
