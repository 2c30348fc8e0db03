// The caller's key, where the server asks for one: kept until the tab is closed, and sent to this server only.

import { inTab } from "/page/kept.js";

const NAME = "chatmesh.key";

export class Key {
  #dialog;
  #asking = null;

  constructor(dialog) {
    this.#dialog = dialog;
  }

  get value() {
    return inTab.get(NAME) ?? "";
  }

  /** Asks for another one, `reason` being why, and begins the page anew with it. Never resolves. */
  ask(reason) {
    this.#asking ??= new Promise(() => this.#show(reason));
    return this.#asking;
  }

  #show(reason) {
    const form = this.#dialog.querySelector("form");
    // The first time there is nothing to be sorry about.
    this.#dialog.querySelector(".reason").textContent = this.value === "" ? "" : reason;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      inTab.set(NAME, form.elements.key.value.trim());
      location.reload();
    });
    this.#dialog.addEventListener("cancel", (event) => event.preventDefault()); // there is nothing behind it
    this.#dialog.showModal();
  }
}
