// The page: which session it shows, the composer, and the way from the stream to the conversation.

import { Refused, Session, randomId } from "/page/api.js";
import { Conversation } from "/page/conversation.js";
import { Stream } from "/page/stream.js";

const ID = /^[A-Za-z0-9_-]{1,128}$/;
const VOICE_MS = 7000; // long enough for a screen reader to have taken it, then out of the way of its cursor

const byId = (id) => document.getElementById(id);
const [log, hello, pill, voice] = ["log", "hello", "pill", "voice"].map(byId);
const [composer, text, model] = ["composer", "text", "model"].map(byId);

// --- The session: in the URL, so that a reload stays in it ----------------------------------------------------------

const address = new URL(location.href);
const asked = address.searchParams.get("session") ?? "";
const isBegun = ID.test(asked);
const id = isBegun ? asked : randomId("chat_");
if (!isBegun) {
  address.searchParams.set("session", id);
  history.replaceState(null, "", address);
}

const session = new Session(id);
const conversation = new Conversation(log, byId("turn"));
const stream = new Stream(`${session.path}/events`, { chunk, reset, health });

/** Shows what was said so far, then goes on behind it. */
async function load() {
  stream.close();
  const told = await session.history();
  conversation.fill(told?.rows ?? []);
  stream.open(told?.position ?? null);
}

// --- From the stream ------------------------------------------------------------------------------------------------

function chunk(body) {
  const { turn, isNew, isEnd } = conversation.take(body);
  if (isNew) askedElsewhere(turn);
  if (isEnd) speak(turn.answer || "The answer has ended.");
  greet();
}

async function askedElsewhere(turn) {
  try {
    turn.say(await session.said(turn.id));
  } catch (error) {
    if (!(error instanceof Refused)) throw error; // an answer without a question that anybody kept
  }
}

function reset(body) {
  if (body.message_id) conversation.clear(body.message_id);
  else load().catch(fail);
}

function health(isUp) {
  pill.textContent = isUp ? "" : "reconnecting…";
}

function fail(error) {
  pill.textContent = error.message;
}

function speak(words) {
  voice.textContent = words;
  clearTimeout(speak.timer);
  speak.timer = setTimeout(() => voice.replaceChildren(), VOICE_MS);
}

function greet() {
  hello.hidden = !conversation.isEmpty;
}

// --- The composer ---------------------------------------------------------------------------------------------------

let returned = null; // a refused turn whose words are in the composer again

/** Messages go out one after the other, so that they are answered in the order in which they were written. */
async function send(turn, words, modelName) {
  try {
    await session.send(turn.id, words, modelName);
    conversation.accepted(turn);
  } catch (error) {
    conversation.refused(turn, error.message);
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
  const modelName = model.value;
  if (returned !== null) conversation.remove(returned);
  returned = null;
  const turn = conversation.send(randomId("msg_"), words);
  text.value = "";
  fit();
  greet();
  text.focus();
  isAtEnd = true;
  ready = ready.then(() => send(turn, words, modelName));
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

model.addEventListener("change", () => remember("setItem", "chatmesh.model", model.value));
const liked = remember("getItem", "chatmesh.model");
if ([...model.options].some((option) => option.value === liked)) model.value = liked;

function remember(method, ...values) {
  try {
    return localStorage[method](...values);
  } catch {
    return null; // a browser that keeps nothing
  }
}

// --- Following the text, but only for a reader who is at its end ------------------------------------------------------

let isAtEnd = true;
let lastY = 0;

addEventListener("scroll", () => {
  const left = document.documentElement.scrollHeight - innerHeight - scrollY;
  if (left < 2) isAtEnd = true;
  else if (scrollY < lastY) isAtEnd = false;
  else if (left < 40) isAtEnd = true;
  lastY = scrollY;
}, { passive: true });

const follow = new ResizeObserver(() => {
  if (isAtEnd) scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
});
follow.observe(log);
follow.observe(composer);

// --- Begin ------------------------------------------------------------------------------------------------------------

// A page that comes back from the browser's memory has lost its stream.
addEventListener("pageshow", (event) => event.persisted && stream.resume());

// A session made just now has no history to ask for.
let ready = isBegun ? load().catch(fail) : Promise.resolve(stream.open(null));
ready.then(greet);
