// The mesh as a picture: pods on the left, the broker in the middle, workers on the right. A node is grey when its heartbeat
// is late, and leaves when it was silent for long.

import { Flow } from "/ops/flow.js";
import { capital, count, duration, element, figure, listed, say, share } from "/ops/words.js";

const SVG = "http://www.w3.org/2000/svg";
const NARROW = 600;
const MOST_SHOWN = 16; // of each side
const SHORT = new Intl.NumberFormat("en", { notation: "compact" });

export class Picture {
  #place;
  #legend;
  #svg;
  #lines;
  #dots;
  #nodes;
  #broker;
  #flow;
  #known = new Map();
  #last = null;

  constructor(place, legend) {
    this.#place = place;
    this.#legend = legend;
    this.#svg = svg("svg", { role: "img", "aria-labelledby": "picture-title" });
    this.#svg.append(svg("title", { id: "picture-title" }));
    [this.#lines, this.#dots, this.#nodes] = ["lines", "dots", "nodes"].map((name) => svg("g", { class: name }));
    this.#broker = brokerNode();
    this.#svg.append(this.#lines, this.#dots, this.#nodes);
    place.append(this.#svg);
    this.#flow = new Flow(this.#dots);
    new ResizeObserver(() => this.#draw()).observe(place);
  }

  show(look) {
    this.#last = look;
    this.#draw();
    this.#send(look);
  }

  #draw() {
    const look = this.#last;
    if (look === null) return;
    const sides = { pod: side(look, "pod"), worker: side(look, "worker") };
    const room = layout(this.#place.clientWidth, Math.max(sides.pod.length, sides.worker.length, 1));
    this.#svg.setAttribute("viewBox", `0 0 ${room.width} ${room.height}`);
    this.#svg.style.height = `${room.height}px`;
    this.#svg.querySelector("title").textContent = told(look);
    this.#svg.dataset.narrow = room.isNarrow;
    const shown = [...sides.pod, ...sides.worker];
    for (const [key, node] of this.#known) {
      if (!shown.some((member) => keyOf(member) === key)) this.#leave(key, node);
    }
    for (const [role, members] of Object.entries(sides)) {
      members.forEach((member, index) => this.#node(member, room.at(role, index, members.length), room));
    }
    this.#drawBroker(look, room);
  }

  #node(member, at, room) {
    const key = keyOf(member);
    const node = this.#known.get(key) ?? this.#enter(key);
    node.group.style.transform = `translate(${at.x}px, ${at.y}px)`;
    node.group.dataset.state = member.state;
    node.group.dataset.role = member.role;
    node.line.dataset.state = member.state;
    node.line.setAttribute("d", curve(at, room.broker));
    const isLeft = room.isNarrow ? member.role === "pod" : member.role === "worker";
    const x = room.isNarrow ? (member.role === "pod" ? -6 : 6) : member.role === "pod" ? -24 : 24;
    for (const [label, y] of [[node.name, room.isNarrow ? -30 : -3], [node.work, room.isNarrow ? -15 : 15]]) {
      label.setAttribute("x", x);
      label.setAttribute("y", y);
      label.setAttribute("text-anchor", isLeft ? "start" : "end");
    }
    say(node.name, shortened(member.id, room.isNarrow ? 16 : 28));
    say(node.work, doing(member));
    node.halo.setAttribute("r", member.state === "alive" && member.load ? 8 + Math.min(7, Math.sqrt(member.load)) : 0);
  }

  #enter(key) {
    const group = svg("g", { class: "node" });
    const [halo, point] = [svg("circle", { class: "halo", r: 0 }), svg("circle", { class: "point", r: 6 })];
    const [name, work] = [svg("text", { class: "name" }), svg("text", { class: "work" })];
    const line = svg("path", { class: "line" });
    group.append(halo, point, name, work);
    this.#nodes.append(group);
    this.#lines.append(line);
    const node = { group, line, halo, name, work };
    this.#known.set(key, node);
    return node;
  }

  #leave(key, node) {
    this.#known.delete(key);
    node.line.remove();
    node.group.classList.add("leaving");
    const fade = node.group.getAnimations().find(({ animationName }) => animationName === "leave");
    if (fade) fade.finished.finally(() => node.group.remove());
    else node.group.remove();
  }

  #drawBroker(look, room) {
    // Only now: without a place it would stand in the corner until the first look has come.
    if (!this.#broker.isConnected) this.#svg.insertBefore(this.#broker, this.#nodes);
    this.#broker.style.transform = `translate(${room.broker.x}px, ${room.broker.y}px)`;
    const [number, name, fill] = this.#broker.querySelectorAll("text");
    say(number, SHORT.format(look.queue.unanswered));
    number.classList.toggle("long", number.textContent.length > 3);
    say(name, "broker");
    const fullest = Math.max(0, ...look.queue.streams.map(({ ratio }) => ratio ?? 0));
    say(fill, `${share(fullest)} full`);
  }

  #send(look) {
    const asks = (look.rates?.accepted_per_minute ?? 0) / 60;
    const tells = look.batches_per_second ?? 0;
    const pick = { pod: weighted(look, "pod"), worker: weighted(look, "worker") };
    const way = (role, isBack) => {
      const path = this.#known.get(pick[role]())?.line;
      return path ? [{ path, isBack }] : [];
    };
    this.#flow.send("asks", asks, () => [...way("pod", false), ...way("worker", true)]);
    const hasReaders = look.members.some(({ role, state, load }) => role === "pod" && state === "alive" && load);
    this.#flow.send("tells", tells, () => [...way("worker", false), ...(hasReaders ? way("pod", true) : [])]);
    say(this.#legend, legend(look, asks, tells));
  }
}

const keyOf = ({ role, id }) => `${role} ${id}`;

/** The broker shows how many messages have no answer yet. */
function brokerNode() {
  const group = svg("g", { class: "broker" });
  group.append(svg("circle", { r: 30 }), svg("text", { class: "number", y: 9, "text-anchor": "middle" }));
  group.append(svg("text", { class: "name", y: 52, "text-anchor": "middle" }));
  group.append(svg("text", { class: "work", y: 70, "text-anchor": "middle" }));
  return group;
}

const present = (look, role) => look.members.filter((member) => member.role === role && member.state !== "gone");

/** The busiest, where there are too many for the picture; the table has all. */
function side(look, role) {
  const members = present(look, role);
  return members.length <= MOST_SHOWN ? members : [...members].sort((one, other) => other.load - one.load).slice(0, MOST_SHOWN);
}

function layout(width, most) {
  const isNarrow = width < NARROW;
  const step = isNarrow ? 68 : most > 6 ? 48 : 68;
  const height = Math.max(isNarrow ? 240 : 220, step * most + (isNarrow ? 60 : 40));
  const [left, right] = isNarrow ? [10, width - 10] : [width * 0.22, width * 0.78];
  return {
    width,
    height,
    isNarrow,
    broker: { x: width / 2, y: height / 2 },
    at: (role, index, all) => ({
      x: role === "pod" ? left : right,
      y: height / 2 + (index - (all - 1) / 2) * step + (isNarrow ? 8 : 0),
    }),
  };
}

function curve(from, to) {
  const middle = (from.x + to.x) / 2;
  return `M${from.x} ${from.y}C${middle} ${from.y} ${middle} ${to.y} ${to.x} ${to.y}`;
}

function doing(member) {
  if (member.state === "late" || member.state === "silent") return `silent for ${duration(1000 * member.age_seconds)}`;
  if (member.status !== "healthy") return member.status;
  if (member.role === "worker") return member.load ? count(member.load, "answer") : "idle";
  return member.load ? count(member.load, "reader") : "no readers";
}

/** One of that role by chance, the more the more it has to do. */
function weighted(look, role) {
  const alive = look.members.filter((member) => member.role === role && member.state === "alive");
  const busy = new Map();
  for (const message of look.messages) {
    if (message.ended_at !== null) continue;
    const whose = role === "pod" ? message.pods : [message.attempts.at(-1)?.worker_id];
    whose.forEach((id) => busy.set(id, (busy.get(id) ?? 0) + 1));
  }
  const weights = alive.map(({ id, load }) => busy.get(id) ?? load * 0.01);
  const sum = weights.reduce((one, other) => one + other, 0);
  return () => {
    let at = Math.random() * sum;
    const index = sum ? weights.findIndex((weight) => (at -= weight) < 0) : Math.floor(Math.random() * alive.length);
    return alive[index] && keyOf(alive[index]);
  };
}

function legend(look, asks, tells) {
  const hidden = ["pod", "worker"].filter((role) => present(look, role).length > MOST_SHOWN);
  const left = hidden.length ? ` Of ${listed(hidden.map((role) => `${role}s`))} the ${MOST_SHOWN} busiest are shown; the table has all.` : "";
  const worth = Flow.worth(tells);
  const dot = worth > 1 ? `A dot stands for ${worth} batches` : "A dot is a batch on its way from a worker to a reader";
  return `${dot}, a ring is a message. ${figure(tells)} batches and ${figure(asks)} messages a second.${left}`;
}

/** Who is there, in a sentence. */
export function told(look) {
  const here = (role) => look.members.filter((member) => member.role === role && member.state === "alive").length;
  const lost = look.members.filter(({ state }) => state === "late" || state === "silent").map(({ id }) => id.replaceAll("-", "\u2011"));
  const silent = lost.length ? `; ${listed(lost)} ${lost.length > 1 ? "are" : "is"} silent` : "";
  return `${capital(count(here("pod"), "pod"))} and ${count(here("worker"), "worker")}${silent}.`;
}

const shortened = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function svg(name, attributes = {}) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** A row of the table that says the same. */
export function memberRow(member) {
  const row = element("tr");
  const memory = member.memory_mb ? `${figure(member.memory_mb)} MB` : "";
  const cells = [member.state, duration(1000 * member.age_seconds) + " ago", doing(member), memory, member.models.join(", ")];
  row.append(element("th", `${member.role} ${member.id}`, { scope: "row" }));
  row.append(...cells.map((cell) => element("td", cell)));
  return row;
}
