// What has come and was not taken yet.

const FULL = 256; // from here on, whoever can wait is asked to

export class Queue {
  #items = [];
  #taker = null;
  #room = null;

  get length() {
    return this.#items.length;
  }

  /** A promise where there are many already: it is kept once there is room. Nobody has to wait for it. */
  push(item) {
    if (this.#taker !== null) {
      this.#taker(item);
      this.#taker = null;
      return undefined;
    }
    this.#items.push(item);
    if (this.#items.length < FULL) return undefined;
    this.#room ??= deferred();
    return this.#room.promise;
  }

  /** Of one taker at a time. */
  take() {
    const item = this.#items.shift();
    if (this.#items.length < FULL / 2) this.#giveRoom();
    return item !== undefined ? item : new Promise((resolve) => (this.#taker = resolve));
  }

  clear() {
    this.#items.length = 0;
    this.#giveRoom();
  }

  #giveRoom() {
    this.#room?.resolve();
    this.#room = null;
  }
}

function deferred() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}
