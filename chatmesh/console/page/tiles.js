// The five key metrics of the pod that serves this page.

import { duration, element, figure, keep, say, size } from "/ops/words.js";

const LEVELS = { good: "as it should be", look: "worth a look", bad: "too much", none: "nothing measured yet" };
const per = (unit) => (value) => `${figure(value)} ${unit}`;
const time = (seconds) => duration(1000 * seconds);

const TILES = {
  publish_rate: { title: "Published", unit: "a second", show: figure, more: subjects },
  delivery_lag: { title: "From publish to delivery", unit: "for 99 of 100, at most", show: time, more: mean(time) },
  message_size: { title: "Message size", unit: "for 99 of 100, at most", show: size, more: mean(size) },
  errors: { title: "Errors", unit: "a minute", show: figure, more: () => [] },
  subscriptions: { title: "Subscriptions", unit: "of this pod", show: figure, more: each },
};
const LIMITS = { delivery_lag: time, message_size: size, errors: per("a minute"), subscriptions: figure };

/** `members`: who says how many subscriptions it has. */
export function showTiles(list, tiles, members = []) {
  for (const tile of tiles) if (tile.name === "subscriptions") tile.members = members;
  keep(list, tiles, ({ name }) => name, make, update);
}

function make(tile) {
  const item = element("li", "", { class: "tile" });
  const { title } = TILES[tile.name];
  const value = element("p", "", { class: "value" });
  value.append(...["strong", "small"].map((name) => element(name)));
  item.append(element("h3", title), value, element("p", "", { class: "level" }), element("p", "", { class: "parts" }));
  item.append(element("p", "", { class: "limits" }));
  return item;
}

function update(item, tile) {
  const { unit, show, more } = TILES[tile.name];
  const isKnown = tile.value !== null;
  item.dataset.level = tile.level;
  say(item.querySelector("strong"), isKnown ? show(tile.value) : "–");
  say(item.querySelector("small"), unit);
  say(item.querySelector(".level"), LEVELS[tile.level]);
  say(item.querySelector(".parts"), more(tile).join("\n"));
  const limit = LIMITS[tile.name];
  const [look, bad] = tile.thresholds.map((value) => limit?.(value));
  say(item.querySelector(".limits"), look ? `a look from ${look}, too much from ${bad}` : "");
}

function subjects({ parts }) {
  return Object.entries(parts)
    .slice(0, 4)
    .map(([subject, rate]) => `${figure(rate)}\u2002${subject}`);
}

function each({ members }) {
  const told = members.filter(({ state, subscriptions }) => state === "alive" && subscriptions !== null);
  const byId = new Map(told.map((member) => [member.id, member.subscriptions])); // pod and worker of one process have one id
  return [...byId].sort(([, one], [, other]) => other - one).slice(0, 4).map(([id, number]) => `${number}\u2002${id}`);
}

function mean(show) {
  return (tile) => (tile.mean ? [`${show(tile.mean)} on average`] : []);
}
