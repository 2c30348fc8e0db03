// What needs no server: the parser, pauses, and what was told of a message.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

const modules = `${process.env.CLIENT}/client`;
const { EventParser } = await import(`${modules}/events.js`);
const { backoff, retryAfter } = await import(`${modules}/pauses.js`);
const { Ledger } = await import(`${modules}/told.js`);
const { Queue } = await import(`${modules}/queue.js`);

const STREAM =
  "\uFEFF: open\r\nid: p0\r\nretry: 1234\r\n\r\n" +
  "id: p1\ndata: {\"a\":\ndata: 1}\n\n:\n\n" +
  "event: reset\rid: p2\rdata:{}\r\r" +
  "data: foreign\n\nid: p3\ndata\n\n";
const EVENTS = [
  { name: "", data: "", id: "p0", hasOwnId: true },
  { name: "message", data: '{"a":\n1}', id: "p1", hasOwnId: true },
  { name: "reset", data: "{}", id: "p2", hasOwnId: true },
  { name: "message", data: "foreign", id: "p2", hasOwnId: false },
  { name: "message", data: "", id: "p3", hasOwnId: true },
];

test("a stream has the same events wherever the network cuts it", () => {
  for (let at = 0; at <= STREAM.length; at += 1) {
    const parser = new EventParser("");
    const found = [...parser.feed(STREAM.slice(0, at)), ...parser.feed(STREAM.slice(at))];
    assert.deepEqual(found, EVENTS, `cut at ${at}`);
    assert.deepEqual([parser.lastId, parser.retryMs, parser.hasId], ["p3", 1234, true]);
  }
});

test("an event that no pod sends is refused before it fills the memory", () => {
  const parser = new EventParser("");
  const megabyte = `data: ${"x".repeat(1024 * 1024)}\n`;
  assert.throws(() => {
    for (let number = 0; number < 20; number += 1) parser.feed(megabyte);
  }, RangeError);
});

test("pauses grow, are spread, and end somewhere", () => {
  for (const failures of [0, 1, 5, 50, 5000]) {
    const [least, most] = [backoff(failures, () => 0), backoff(failures, () => 1)];
    assert.ok(least >= 200 && most <= 15_000 && most === 2 * least);
  }
  assert.ok(backoff(3, () => 0.5) > 4 * backoff(0, () => 0.5));
});

test("Retry-After is seconds or a date, and bounded", () => {
  const now = Date.parse("2026-11-26T12:00:00Z");
  assert.equal(retryAfter("7", now), 7000);
  assert.equal(retryAfter("Thu, 26 Nov 2026 12:00:03 GMT", now), 3000);
  assert.equal(retryAfter("Thu, 26 Nov 2026 11:00:00 GMT", now), 0);
  assert.equal(retryAfter("99999999", now), 120_000);
  for (const nonsense of [null, "", "soon", "-3"]) assert.equal(retryAfter(nonsense, now), 0);
});

const chunk = (id, text, more) => ({ message_id: "m", chunk_id: id, chunk: text, chunk_type: "content", ...more });
const digest = (text) => ({ digest: `sha256:${createHash("sha256").update(text).digest("hex")}` });
const final = (id, text) => chunk(id, "", { is_final: true, metadata: digest(text) });

async function verdict(ledger, ...chunks) {
  for (const each of chunks.slice(0, -1)) ledger.add(each);
  return await ledger.add(chunks.at(-1)).verify(chunks.at(-1));
}

test("the digest tells a whole text from one with a hole, or another one", async () => {
  const whole = [chunk(0, "mö"), chunk(1, "re"), final(2, "möre")];
  assert.equal(await verdict(new Ledger(), ...whole), true);
  assert.equal(await verdict(new Ledger(), whole[0], whole[2]), false);
  assert.equal(await verdict(new Ledger(), chunk(0, "möRe"), final(1, "möre")), false);
});

test("thoughts and calls of tools are no part of the text", async () => {
  const thought = chunk(0, '{"type":"reasoning"}', { chunk_type: "metadata" });
  assert.equal(await verdict(new Ledger(), thought, chunk(1, "a"), final(2, "a")), true);
});

test("an answer that was joined in its middle can't be checked, but one that the history began can", async () => {
  assert.equal(await verdict(new Ledger(), chunk(5, "b"), final(6, "ab")), null);
  const ledger = new Ledger();
  ledger.begin("m", "a", false);
  assert.equal(await verdict(ledger, chunk(5, "b"), final(6, "ab")), true);
});

test("after a reset the text begins anew, and the ids go on", async () => {
  const ledger = new Ledger();
  ledger.add(chunk(0, "no"));
  ledger.reset("m");
  assert.equal(await verdict(ledger, chunk(1, "yes"), final(2, "yes")), true);
  assert.deepEqual(ledger.count("m"), { first: 0, last: 2, lost: 0, repeated: 0 });
});

test("what is missing and what came twice is counted", () => {
  const ledger = new Ledger();
  for (const id of [3, 4, 4, 3, 7]) ledger.add(chunk(id, "x"));
  assert.deepEqual(ledger.count("m"), { first: 3, last: 7, lost: 2, repeated: 2 });
  assert.equal(ledger.count("other"), null);
});

test("whoever can wait is asked to, until there is room", async () => {
  const queue = new Queue();
  let waits;
  for (let number = 0; number < 256; number += 1) waits = queue.push(number);
  assert.ok(waits instanceof Promise);
  for (let number = 0; number < 256; number += 1) assert.equal(await queue.take(), number);
  await waits;
  const taken = queue.take();
  assert.equal(queue.push("late"), undefined);
  assert.equal(await taken, "late");
});
