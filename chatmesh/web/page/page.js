// The page: which session it shows, the composer, and the way from the stream to the conversation.

import { Chatmesh, ChatmeshError, randomId } from "/client.js";
import { Conversation } from "/page/conversation.js";
import { followEnd } from "/page/follow.js";
import { Key } from "/page/key.js";
import { Models } from "/page/models.js";
import { Pill } from "/page/pill.js";
import { Sessions } from "/page/sessions.js";

const ID = /^[A-Za-z0-9_-]{1,128}$/;
const VOICE_MS = 7000; // long enough for a screen reader to have taken it, then out of the way of its cursor
const MOST_BEFORE = 50; // turns that go along when something is asked again

const byId = (id) => document.getElementById(id);
const [log, hello, voice, chats] = ["log", "hello", "voice", "chats"].map(byId);
const [composer, text, stopButton] = ["composer", "text", "stop"].map(byId);

// --- The session: in the URL, so that a reload stays in it

const address = new URL(location.href);
const asked = address.searchParams.get("session") ?? "";
const id = ID.test(asked) ? asked : randomId("chat_");
if (id !== asked) {
  address.searchParams.set("session", id);
  history.replaceState({ isNew: true }, "", address); // a reload knows it too, until something was said
}

const key = new Key(byId("key"));
const mesh = new Chatmesh({ token: () => key.value });
const session = mesh.session(id);
const models = new Models(mesh, byId("model"));
const pill = new Pill(byId("pill"));
const sessions = new Sessions(mesh, chats.querySelector("ul"), id);
const conversation = new Conversation(log, byId("turn"), { stop, again, speak, change });
const stream = session.follow({ history: true, isNew: history.state?.isNew === true });
let plug = null;
if ("development" in document.documentElement.dataset) offerPlug();
const goToEnd = followEnd(log, composer);
const tabs = new BroadcastChannel(`chatmesh said ${id}`); // what one tab has said the others show before it is answered

/** Loaded in development only. */
async function offerPlug() {
  const { Plug } = await import("/page/plug.js");
  plug = new Plug(byId("plug"), () => stream.cut(), () => mesh.call("/dev/worker/kill", { method: "POST" }));
}

// --- From the stream

let isTold;
const told = new Promise((resolve) => (isTold = resolve)); // the history

async function read() {
  stream.addEventListener("link", () => (stream.isLive ? pill.up(stream.connects > 1) : pill.down()));
  for await (const event of stream) {
    if (event.type === "history") fill(event.rows);
    else if (event.type === "reset") reset(event);
    else chunk(event.chunk);
  }
}

function fill(rows) {
  for (const turn of conversation.fill(rows)) dropIfErased(turn).catch(fail);
  isTold();
  greet();
}

async function dropIfErased(turn) {
  try {
    await session.message(turn.id);
  } catch (error) {
    if (error.status !== 404) throw error;
    if (turn.isWaiting) conversation.remove(turn);
    greet();
  }
}

function chunk(body) {
  const { turn, isNew, isEnd } = conversation.take(body);
  begun();
  if (isNew) askedElsewhere(turn);
  if (isEnd && turn.answer === "") speak("The answer has ended.");
  plug?.show(stream.count(body.message_id));
  greet();
}

function reset({ messageId }) {
  if (messageId !== null) conversation.clear(messageId);
}

async function askedElsewhere(turn) {
  try {
    turn.say((await session.message(turn.id)).message);
  } catch (error) {
    if (!(error instanceof ChatmeshError)) throw error; // an answer without a question that anybody kept
  }
}

function fail(error) {
  if (error.status === 401) key.ask(error.message);
  else pill.fail(error.message);
}

function speak(words) {
  const line = document.createElement("p");
  line.textContent = words;
  voice.append(line);
  setTimeout(() => line.remove(), VOICE_MS);
}

function begun() {
  if (history.state?.isNew) history.replaceState(null, "", address);
}

function greet() {
  hello.hidden = !conversation.isEmpty;
}

function change() {
  stopButton.hidden = conversation.running === null;
}

tabs.addEventListener("message", ({ data }) => {
  conversation.announce(data.id, data.words);
  greet();
});

// --- Stop, and ask again

async function stop(turn) {
  turn.note = "Stopping…";
  try {
    await session.stop(turn.id);
  } catch (error) {
    turn.note = `Not stopped: ${error.message}`;
  }
}

/** The same question as a new message, with what was said before it and without what was answered to it. */
function again(turn) {
  const before = conversation.before(turn).slice(-MOST_BEFORE);
  const told = before.flatMap(({ said, answer }) => [
    { role: "user", content: said },
    { role: "assistant", content: answer },
  ]);
  say(turn.said, { conversation_history: told });
}

stopButton.addEventListener("click", () => {
  const { running } = conversation;
  if (running !== null) stop(running);
  text.focus();
});

addEventListener("keydown", (event) => {
  const isForOthers = event.target.localName === "select" || document.querySelector("dialog[open]");
  if (event.key !== "Escape" || event.isComposing || isForOthers) return;
  if (conversation.running !== null) stop(conversation.running);
});

// --- The composer

let ready = told; // messages go out one after the other, so that they are answered in the order in which they were written
let returned = null; // a refused turn whose words are in the composer again

function say(words, more = {}) {
  const turn = conversation.send(randomId("msg_"), words);
  const options = { model: models.chosen, ...more };
  greet();
  goToEnd();
  ready = ready.then(() => send(turn, words, options));
}

async function send(turn, words, options) {
  try {
    await session.post(words, { messageId: turn.id, ...options });
    conversation.accepted(turn);
    begun();
    tabs.postMessage({ id: turn.id, words });
  } catch (error) {
    conversation.refused(turn, error.message);
    if (error.status === 401) key.ask(error.message);
    if (text.value !== "") return;
    text.value = words;
    fit();
    returned = turn;
  }
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const words = text.value;
  if (words.trim() === "") return;
  if (returned !== null) conversation.remove(returned);
  returned = null;
  text.value = "";
  fit();
  text.focus();
  say(words);
});

text.addEventListener("keydown", (event) => {
  // 229: Safari ends a composition before the keydown of the Enter that ended it.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  composer.requestSubmit();
});

const fit = CSS.supports("field-sizing", "content")
  ? () => {}
  : () => {
      text.style.height = "auto";
      text.style.height = `${text.scrollHeight}px`;
    };
text.addEventListener("input", fit);

// --- The list of chats

byId("open-chats").addEventListener("click", () => {
  chats.showModal();
  sessions.show().catch((error) => {
    chats.close();
    fail(error);
  });
});
chats.addEventListener("click", (event) => {
  if (event.target === chats) chats.close(); // the backdrop
});

// --- Begin

models.load().catch(fail);
read().catch(fail);
