// Whether the page hears the server: live, reconnecting (after a while only: most breaks are over before anybody cares), resumed.

const SHOWN_LOST_MS = 3000;
const SHOWN_RESUMED_MS = 4000;

export class Pill {
  #element;
  #timer;

  constructor(element) {
    this.#element = element;
  }

  /** `isAgain`: it was up before. */
  up(isAgain) {
    this.#show(isAgain ? "resumed" : "live", isAgain ? "resumed" : "live");
    if (isAgain) this.#timer = setTimeout(() => this.#show("live", "live"), SHOWN_RESUMED_MS);
  }

  down() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#show("lost", "reconnecting…"), SHOWN_LOST_MS);
  }

  fail(words) {
    this.#show("lost", words);
  }

  #show(state, words) {
    clearTimeout(this.#timer);
    this.#element.dataset.state = state;
    this.#element.textContent = words;
  }
}
