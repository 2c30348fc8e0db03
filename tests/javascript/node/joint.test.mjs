// One connection for several sessions, without a server: which are made and closed, and what is told of what they say.
import assert from "node:assert/strict";
import { test } from "node:test";

const modules = `${process.env.CLIENT}/client`;
const { Joint } = await import(`${modules}/joint.js`);

const MOST_MS = 10_000;
const look = () => new Promise((resume) => setTimeout(resume, 10));

/** Returns once the condition holds; fails at the deadline. */
async function until(condition) {
  for (const end = Date.now() + MOST_MS; !condition(); await look())
    if (Date.now() > end) assert.fail(`it did not hold within ${MOST_MS} ms: ${condition}`);
}

const problem = (status, body) => new Response(JSON.stringify(body), { status });

/** Pods in words: each connection that was asked for, and what it says. `refuse(asked)`: a problem instead of a stream. */
class Pods {
  isForSeveral = true;
  asked = [];
  refuse = () => null;

  one = async (name, place, signal) => this.#open([[name, place]], signal);
  several = async (sessions, signal) => this.#open(sessions, signal);

  #open(sessions, signal) {
    const asked = { sessions: sessions.map((pair) => pair.join(":")), isOpen: true };
    this.asked.push(asked);
    const refused = this.refuse(asked);
    if (refused) {
      asked.isOpen = false;
      return refused;
    }
    const body = new ReadableStream({
      start(controller) {
        asked.say = (text) => controller.enqueue(new TextEncoder().encode(text));
        signal.addEventListener("abort", () => {
          asked.isOpen = false;
          controller.error(signal.reason);
        });
      },
    });
    return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  }

  get open() {
    return this.asked.filter(({ isOpen }) => isOpen).map(({ sessions }) => sessions.join(" "));
  }
}

const opening = (...places) => `: open\nid: ${places}\nretry: 1\n\n`;
const again = (...places) => `id: ${places}\nevent: position\ndata: {}\n\n`;
const chunk = (name, ...places) => `id: ${places}\ndata: {"session_id":"${name}"}\n\n`;

function joint() {
  const pods = new Pods();
  const heard = [];
  const on = {
    event: (name, { name: kind, id }) => heard.push(`${name} ${kind} ${id}`),
    link: (name, isUp) => heard.push(`${name} ${isUp ? "up" : "down"}`),
    sign() {},
    end: (name, error) => heard.push(`${name} ended ${error.code}`),
  };
  return { pods, heard, joint: new Joint(pods, on, {}) };
}

test("changes that come together make one connection, and a single session has its own route", async () => {
  const { pods, heard, joint: all } = joint();
  all.add("a", "");
  await until(() => pods.asked.length === 1);
  pods.asked[0].say(opening("a0"));
  await until(() => heard.includes("a up"));
  all.add("b", "start");
  all.add("c", "c7");
  await until(() => pods.asked.length === 2);
  assert.deepEqual(pods.asked[1].sessions, ["a:a0", "b:start", "c:c7"]);
  assert.deepEqual(pods.open, ["a:", "a:a0 b:start c:c7"], "the old one stays until the new one is there");
  pods.asked[1].say(opening("a0", "b0", "c7"));
  await until(() => pods.open.length === 1);
  all.close();
  await until(() => pods.open.length === 0);
  assert.deepEqual(heard, ["a up", "a  a0", "a up", "b up", "c up", "b  b0"]);
});

test("what comes over the old connection and over the new one is told once, and nothing is missing", async () => {
  const { pods, heard, joint: all } = joint();
  all.add("a", "a0");
  all.add("b", "b0");
  await until(() => pods.asked.length === 1);
  const old = pods.asked[0];
  old.say(opening("a0", "b0") + chunk("a", "a1", "b0"));
  await until(() => heard.includes("a message a1"));
  all.add("c", "c0");
  await until(() => pods.asked.length === 2);
  assert.deepEqual(pods.asked[1].sessions, ["a:a1", "b:b0", "c:c0"]);
  old.say(chunk("a", "a2", "b0") + chunk("a", "a3", "b0"));
  await until(() => heard.includes("a message a3"));
  const fresh = pods.asked[1];
  fresh.say(opening("a1", "b0", "c0") + chunk("a", "a2", "b0", "c0") + chunk("b", "a2", "b1", "c0"));
  fresh.say(chunk("a", "a3", "b1", "c0") + chunk("a", "a4", "b1", "c0"));
  await until(() => heard.includes("a message a4"));
  await until(() => !old.isOpen);
  all.close();
  const told = heard.filter((line) => line.includes("message"));
  assert.deepEqual(told, ["a1", "a2", "a3", "b1", "a4"].map((id) => `${id[0]} message ${id}`));
  assert.ok(!heard.includes("a down"));
});

test("the opening block once more, for an EventSource that forgets it, is no news", async () => {
  const { pods, heard, joint: all } = joint();
  all.add("a", "a0");
  await until(() => pods.asked.length === 1);
  pods.asked[0].say(opening("a0") + again("a0") + chunk("a", "a1"));
  await until(() => heard.includes("a message a1"));
  all.add("b", "b0");
  await until(() => pods.asked.length === 2);
  pods.asked[0].say(chunk("a", "a2"));
  await until(() => heard.includes("a message a2"));
  pods.asked[1].say(opening("a1", "b0") + again("a1", "b0") + chunk("a", "a2", "b0") + chunk("a", "a3", "b0"));
  await until(() => heard.includes("a message a3"));
  all.close();
  assert.deepEqual(heard, ["a up", "a message a1", "a message a2", "a up", "b up", "a message a3"]);
});

test("a connection that is cut comes back with the newest positions of all", async () => {
  const { pods, heard, joint: all } = joint();
  all.add("a", "a0");
  all.add("b", "");
  await until(() => pods.asked.length === 1);
  pods.asked[0].say(opening("a0", "b0") + chunk("a", "a1", "b0"));
  await until(() => heard.includes("a message a1"));
  all.cut();
  await until(() => pods.asked.length === 2);
  assert.deepEqual(pods.asked[1].sessions, ["a:a1", "b:b0"]);
  assert.ok(heard.includes("a down") && heard.includes("b down"));
  all.close();
});

test("one session that is refused costs the others nothing", async () => {
  const { pods, heard, joint: all } = joint();
  pods.refuse = ({ sessions }) =>
    sessions.some((each) => each.startsWith("b:")) && problem(404, { code: "unknown_session", session_id: "b" });
  for (const name of ["a", "b", "c"]) all.add(name, `${name}0`);
  await until(() => pods.asked.length === 2);
  assert.deepEqual(pods.open, ["a:a0 c:c0"]);
  assert.deepEqual(heard, ["b ended unknown_session"]);
  all.close();
});

test("a pod that does not know the route gets a connection for each session", async () => {
  const { pods, heard, joint: all } = joint();
  pods.refuse = ({ sessions }) => sessions.length > 1 && problem(404, { code: "not_found" });
  all.add("a", "a0");
  all.add("b", "b0");
  await until(() => pods.open.length === 2);
  assert.deepEqual(pods.open, ["a:a0", "b:b0"]);
  pods.asked[1].say(opening("a0") + chunk("a", "a1"));
  await until(() => heard.includes("a message a1"));
  all.remove("b");
  await until(() => pods.open.length === 1);
  all.close();
});

test("a session that nobody follows any more is left out by and by, and the last one ends it all", async () => {
  const { pods, heard, joint: all } = joint();
  all.add("a", "a0");
  all.add("b", "b0");
  await until(() => pods.asked.length === 1);
  pods.asked[0].say(opening("a0", "b0"));
  await until(() => heard.includes("b up"));
  all.remove("b");
  pods.asked[0].say(chunk("b", "a0", "b1") + chunk("a", "a1", "b1"));
  await until(() => heard.includes("a message a1"));
  assert.ok(!heard.includes("b message b1"));
  await until(() => pods.asked.length === 2);
  assert.deepEqual(pods.asked[1].sessions, ["a:a1"]);
  all.remove("a");
  await until(() => pods.open.length === 0);
});

test("where one session can't be served now, the others are, until all of them can", async () => {
  const { pods, heard, joint: all } = joint();
  const comeBack = () => new Response("retry: 1\n\n", { headers: { "Content-Type": "text/event-stream" } });
  pods.refuse = ({ sessions }) => sessions.some((each) => each.startsWith("full:")) && comeBack();
  all.add("full", "f0");
  all.add("a", "a0");
  await until(() => pods.open.length === 1);
  assert.deepEqual(pods.open, ["a:a0"]);
  pods.asked.find(({ isOpen }) => isOpen).say(opening("a0") + chunk("a", "a1"));
  await until(() => heard.includes("a message a1"));
  pods.refuse = () => null;
  all.wake();
  await until(() => pods.open.some((sessions) => sessions === "full:f0 a:a1"));
  pods.asked.find(({ sessions, isOpen }) => isOpen && sessions.length === 2).say(opening("f0", "a1"));
  await until(() => heard.includes("full up"));
  await until(() => pods.open.length === 1);
  assert.ok(!heard.includes("a down"));
  all.close();
});

test("a session that is followed anew from elsewhere begins there, and the others go on", async () => {
  const { pods, heard, joint: all } = joint();
  all.add("a", "a5");
  all.add("b", "b0");
  await until(() => pods.asked.length === 1);
  pods.asked[0].say(opening("a5", "b0"));
  await until(() => heard.includes("b up"));
  all.remove("a");
  all.add("a", "start");
  pods.asked[0].say(chunk("a", "a6", "b0") + chunk("b", "a6", "b1"));
  await until(() => pods.asked.length === 2);
  assert.deepEqual(pods.asked[1].sessions, ["b:b1", "a:start"]);
  pods.asked[1].say(opening("b1", "a0") + chunk("a", "b1", "a1"));
  await until(() => heard.includes("a message a1"));
  assert.ok(!heard.includes("a message a6") && heard.includes("b message b1"));
  all.close();
});
