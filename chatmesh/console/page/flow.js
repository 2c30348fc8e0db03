// Dots that travel along lines: one for a batch or a message, as they were counted. No dots where motion is not wanted.

const MOST_A_SECOND = 12; // past it a dot stands for several
const MOST = 120;
const TRAVEL_MS = 900;

const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Flow {
  #layer;
  #dots = new Set();
  #isRunning = false;
  #rests = new Map();

  constructor(layer) {
    this.#layer = layer;
  }

  /** How many of `perSecond` one dot stands for. */
  static worth(perSecond) {
    return Math.max(1, Math.ceil(perSecond / MOST_A_SECOND));
  }

  /** Spreads a second's worth over the next second. `ways()` gives the paths that one dot takes, one after the other. */
  send(kind, perSecond, ways) {
    if (still.matches || document.hidden) return;
    const due = perSecond / Flow.worth(perSecond) + (this.#rests.get(kind) ?? 0);
    const whole = Math.floor(due);
    this.#rests.set(kind, due - whole);
    const now = performance.now();
    for (let number = 0; number < whole && this.#dots.size < MOST; number += 1) {
      const legs = ways();
      if (legs.length) this.#add(kind, legs, now + ((number + Math.random() * 0.5) * 1000) / whole);
    }
    if (!this.#isRunning) requestAnimationFrame((at) => this.#step(at));
    this.#isRunning = true;
  }

  clear() {
    for (const dot of this.#dots) dot.element.remove();
    this.#dots.clear();
  }

  #add(kind, legs, begins) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    element.setAttribute("r", kind === "asks" ? 2.5 : 3);
    element.setAttribute("class", `dot ${kind}`);
    element.setAttribute("opacity", 0);
    this.#layer.append(element);
    this.#dots.add({ element, legs, begins });
  }

  #step(at) {
    for (const dot of this.#dots) this.#move(dot, (at - dot.begins) / TRAVEL_MS);
    this.#isRunning = this.#dots.size > 0;
    if (this.#isRunning) requestAnimationFrame((next) => this.#step(next));
  }

  #move(dot, way) {
    if (way < 0) return;
    const leg = dot.legs[Math.floor(way)];
    if (leg === undefined || !leg.path.isConnected) {
      dot.element.remove();
      this.#dots.delete(dot);
      return;
    }
    const part = eased(way % 1);
    const { x, y } = leg.path.getPointAtLength(leg.path.getTotalLength() * (leg.isBack ? 1 - part : part));
    dot.element.setAttribute("cx", x);
    dot.element.setAttribute("cy", y);
    dot.element.setAttribute("opacity", 1);
  }
}

const eased = (part) => part * part * (3 - 2 * part);
