// In development: break the connection or kill the worker, and see that nothing is lost and nothing comes twice.

export class Plug {
  #element;
  #count;

  /** `pull()` breaks the connection, `kill()` the worker; it may throw. */
  constructor(element, pull, kill) {
    this.#element = element;
    this.#count = element.querySelector(".count");
    const offered = (document.documentElement.dataset.development ?? "").split(" ");
    const [plug, worker] = element.querySelectorAll("button");
    plug.addEventListener("click", pull);
    worker.addEventListener("click", () => kill().catch((error) => (this.#count.textContent = error.message)));
    element.hidden = !offered.includes("plug");
    worker.hidden = !offered.includes("worker");
  }

  /** What came of an answer, as a Stream counts it. */
  show(count) {
    if (count === null || this.#element.hidden) return;
    const { first, last, lost, repeated } = count;
    this.#count.textContent = `chunks ${first + 1}–${last + 1}, lost ${lost}, repeated ${repeated}`;
  }
}
