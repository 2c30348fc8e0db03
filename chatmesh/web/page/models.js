// The picker of models: what is served now, and the one that was chosen here before.

const NAME = "chatmesh.model";

export class Models {
  #mesh;
  #select;

  constructor(mesh, select) {
    this.#mesh = mesh;
    this.#select = select;
    select.addEventListener("change", () => remember("setItem", NAME, select.value));
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
    const wanted = this.#select.value || remember("getItem", NAME);
    this.#select.replaceChildren(...names.map((name) => new Option(name || "Default model", name)));
    if (names.includes(wanted)) this.#select.value = wanted;
  }
}

function remember(method, ...values) {
  try {
    return localStorage[method](...values);
  } catch {
    return null; // a browser that keeps nothing
  }
}
