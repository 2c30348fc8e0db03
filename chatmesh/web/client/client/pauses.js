// How long to wait before the next try.

const FIRST_MS = 400;
const LONGEST_MS = 15_000;
const LONGEST_ASKED_MS = 120_000; // a server that asks for more gets asked anyway

/** Milliseconds after so many failures: doubled each time, and spread, so that a herd does not come at once. */
export function backoff(failures, random = Math.random) {
  return Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failures, 16)) * (0.5 + random() / 2);
}

/** What a `Retry-After` header asks for, in milliseconds: seconds, or a date. 0 where there is none. */
export function retryAfter(header, now = Date.now()) {
  if (!header) return 0;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isFinite(ms) ? Math.min(LONGEST_ASKED_MS, Math.max(0, ms)) : 0;
}

/** Resolves after so long, or as soon as the signal aborts; never rejects. */
export function sleep(ms, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
  });
}
