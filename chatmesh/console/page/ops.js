// The operator's page: looks come once a second and are drawn; lists are read when they are asked for.

import { Feed } from "/ops/feed.js";
import { Letters, SessionList, showQueue } from "/ops/lists.js";
import { memberRow, Picture, told } from "/ops/picture.js";
import { Replay } from "/ops/replay.js";
import { showTiles } from "/ops/tiles.js";
import { Waterfall } from "/ops/waterfall.js";
import { capital, count, figure, listed, say, setClock, size } from "/ops/words.js";
import { Key } from "/page/key.js";
import { Pill } from "/page/pill.js";

const HIDDEN_MS = 60_000;

const byId = (id) => document.getElementById(id);

const key = new Key(byId("key"));
const feed = new Feed(() => key.value);
const pill = new Pill(byId("pill"));
const picture = new Picture(byId("picture"), byId("legend"));
const replay = new Replay(byId("replay"), feed, fail);
const show = (sessionId) => replay.show(sessionId);
const waterfall = new Waterfall(
  { list: byId("waterfall"), axis: byId("axis"), empty: byId("no-messages"), more: byId("more-messages") },
  show,
);
const letters = new Letters(
  feed,
  { list: byId("letter-rows"), empty: byId("no-letters"), counted: byId("letters-count"), said: byId("letters-said") },
  { confirm, fail },
);
const sessions = new SessionList(
  feed,
  { form: byId("search"), list: byId("session-rows"), empty: byId("no-sessions"), more: byId("more-sessions"), seen: byId("sessions-seen") },
  { replay: show, fail },
);
const queue = { list: byId("requests"), empty: byId("no-requests"), counted: byId("queue-count"), fills: byId("fills") };

function fail(error) {
  if (error.status === 401 || error.status === 403) key.ask(error.message);
  else pill.fail(error.message);
}

function draw(look) {
  setClock(look.now);
  delete document.body.dataset.away;
  say(byId("headline"), headline(look));
  say(byId("pace"), pace(look));
  picture.show(look);
  byId("members").querySelector("tbody").replaceChildren(...look.members.map(memberRow));
  say(byId("whose"), `of this pod, ${look.pod_id}`);
  showTiles(byId("tiles"), look.tiles, look.members);
  say(byId("readers"), readers(look.readers));
  waterfall.show(look);
  showQueue(queue, look.queue);
  letters.look(look.queue.dead_letters);
  sessions.tick();
}

function headline(look) {
  const { requests, unanswered } = look.queue;
  const beats = look.members.reduce((sum, { role, load }) => sum + (role === "worker" ? load : 0), 0);
  // Of a long queue only the beginning is read at each look; heartbeats count all, some seconds late.
  const isWhole = unanswered <= requests.length;
  const work = isWhole ? requests.filter(({ stage }) => stage === "running").length : Math.min(beats, unanswered);
  const waits = unanswered - work;
  const parts = [work ? `${count(work, "answer")} being written` : "no answer being written"];
  parts.push(waits > 0 ? `${count(waits, "message")} waiting` : "nothing waiting");
  return `${told(look)} ${capital(listed(parts))}.`;
}

function pace({ rates, queue: { dead_letters: dead } }) {
  if (rates === null) return "";
  const parts = [`${figure(rates.accepted_per_minute)} messages a minute`];
  if (rates.tokens_per_second !== null) parts.push(`${figure(rates.tokens_per_second)} tokens a second`);
  parts.push(`${figure(rates.takeovers_per_minute)} takeovers a minute`);
  if (dead) parts.push(`${dead} dead ${dead === 1 ? "letter" : "letters"}`);
  return parts.join(" · ");
}

function readers({ open, behind, most_waiting: waiting, fell_behind: slow, cut, healed }) {
  const past = [];
  if (slow) past.push(`${count(slow, "reader")} fell behind`);
  if (cut) past.push(`${count(cut, "reader")} ${cut === 1 ? "was" : "were"} cut since nothing was taken`);
  if (healed) past.push(`${count(healed, "record")} ${healed === 1 ? "was" : "were"} read from the transcript, not live`);
  return `${now(open, behind, waiting)} ${past.length ? `In the last minute ${listed(past)}.` : "None fell behind in the last minute."}`;
}

function now(open, behind, waiting) {
  if (!open) return "No readers at this pod.";
  const how = behind ? `${behind} of them reading on from the transcript` : "live";
  return `${capital(count(open, "reader"))} at this pod, ${how}${waiting ? `, at most ${size(waiting)} waiting for one` : ""}.`;
}

/** Asks in a dialog; resolves with whether it was meant. */
function confirm(title, text, yes) {
  const dialog = byId("confirm");
  say(byId("confirm-title"), title);
  say(byId("confirm-text"), text);
  say(dialog.querySelector(".chief"), yes);
  dialog.showModal();
  const answered = new AbortController();
  const { signal } = answered;
  // Not `close`: it comes late, perhaps when the next question stands there already.
  return new Promise((resolve) => {
    const answer = (isMeant) => {
      answered.abort();
      resolve(isMeant);
    };
    dialog.addEventListener("submit", ({ submitter }) => answer(submitter?.value === "yes"), { signal });
    dialog.addEventListener("cancel", () => answer(false), { signal });
  });
}

let connects = 0;
let isAway = false;

const on = {
  frame(look) {
    if (isAway) pill.up(true);
    isAway = false;
    draw(look);
  },
  away(reason) {
    isAway = true;
    document.body.dataset.away = "";
    pill.fail(`nothing is seen: ${reason}`);
  },
  link(isUp) {
    if (isUp) pill.up((connects += 1) > 1);
    else pill.down();
  },
  end: (error) => error && fail(error),
};

let source = feed.follow(on);
let hiding;
sessions.read();

// Nobody looks at a page that is hidden, and looks cost the broker something.
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) {
    hiding = setTimeout(() => (source = source?.close()), HIDDEN_MS);
  } else {
    source ??= feed.follow(on);
  }
});
