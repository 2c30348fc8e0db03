// In development: break the connection, and see that nothing is lost and nothing comes twice.

export class Plug {
  #element;
  #count;

  constructor(element, pull) {
    this.#element = element;
    this.#count = element.querySelector(".count");
    element.querySelector("button").addEventListener("click", pull);
    element.hidden = !("development" in document.documentElement.dataset);
  }

  /** What came of an answer, as a Stream counts it. */
  show(count) {
    if (count === null || this.#element.hidden) return;
    const { first, last, lost, repeated } = count;
    this.#count.textContent = `chunks ${first + 1}–${last + 1}, lost ${lost}, repeated ${repeated}`;
  }
}
