// The page that compares sensors: each channel in one chart, with a line for each sensor.

import { AddressState } from "./address.js";
import { hasTimes } from "./channelchart.js";
import { CompareChart, SeriesGroup } from "./comparechart.js";
import { compareLink, MAX_COMPARED } from "./comparelink.js";
import { Feed, fetchJson, showLink } from "./feed.js";
import { element, formatTime, setClass, setText } from "./format.js";
import { Ranges } from "./ranges.js";
import { Series } from "./series.js";

const INTERVAL_MS = 2000;
const VIEW_PAUSE_MS = 60;

const byId = (id) => document.getElementById(id);
const address = new AddressState();
const ranges = new Ranges(address, { shown: () => group, onView: setView, onScale: (all) => redraw({ all }) });
const nodes = [...document.querySelectorAll("#compared [data-sensor]")];
const sensors = nodes.map((node, index) => ({ id: node.dataset.sensor, node, tone: `line-${index + 1}`, series: new Series(node.dataset.sensor, ranges.view), link: "" }));
const ids = sensors.map(({ id }) => id);
const group = new SeriesGroup(sensors.map(({ series }) => series));
const options = { ranges, point: (at) => redraw({ at }), select: (selected) => redraw({ selected }) };
const figures = [...document.querySelectorAll("figure.channel")];
const charts = figures.map((figure, index) => new CompareChart(figure, sensors, group, { ...options, withTimes: hasTimes(index, figures.length) }));
let timer = 0;
redraw({ all: ranges.all });

function redraw(change) {
  for (const chart of charts) {
    Object.assign(chart, change);
    chart.surface.request();
  }
}

/** Shows what there is at once, and fetches the rest when no other view has been chosen for a moment. */
function setView(view) {
  for (const { series } of sensors) series.setView(view);
  redraw({ at: null });
  if (sensors.length) ranges.say(group);
  showSoon(VIEW_PAUSE_MS);
}

function showSoon(pause) {
  clearTimeout(timer);
  timer = setTimeout(() => sensors.forEach((sensor) => show(sensor).catch(() => {})), pause); // the next update says what is wrong
}

async function show(sensor) {
  await sensor.series.update();
  for (const chart of charts) chart.show();
  ranges.say(group);
  if (sensor.series.read < 1) showSoon(0);
}

async function update(sensor, entry) {
  const channels = JSON.stringify(entry.channels);
  if (sensor.channels && sensor.channels !== channels) {
    window.location.reload(); // another run: the server rendered the charts of other channels
    return;
  }
  sensor.channels = channels;
  setText(byId("clock"), `${formatTime(Date.now())} UTC`);
  state(sensor, entry.state, entry.reason ?? "");
  // An unreadable database does not mean that the connection to the server is lost.
  await show(sensor).catch((error) => {
    if (!error.status) throw error;
    state(sensor, entry.state, error.message);
  });
}

function state({ node }, name, reason) {
  setText(node.querySelector(".pill"), name);
  setClass(node.querySelector(".pill"), `pill ${name}`);
  setText(node.querySelector(".reason"), reason);
}

/** Shows the connection to the server: lost only if no sensor has an answer, since one may have left the fleet. */
function setLink(sensor, link, reason) {
  sensor.link = link;
  if (link === "lost") state(sensor, "absent", reason);
  if (link !== "lost" || sensors.every((other) => other.link === "lost")) showLink(link, reason);
}

for (const sensor of sensors) {
  const { id, node } = sensor;
  node.addEventListener("pointerenter", () => redraw({ highlighted: id }));
  node.addEventListener("pointerleave", () => redraw({ highlighted: null }));
  node.querySelector("button").addEventListener("click", () => open(ids.filter((other) => other !== id)));
  new Feed(() => `/workers/${encodeURIComponent(id)}`, INTERVAL_MS, (entry) => update(sensor, entry), (...link) => setLink(sensor, ...link));
}
if (!sensors.length) new Feed(() => "/livez", 2 * INTERVAL_MS, () => {}, showLink);

const open = (wanted) => window.location.assign(compareLink(wanted, window.location.search));

// Sensors are added by their id, or by their place.

const form = byId("add");
const input = byId("add-name");
let identities = null;

async function suggest() {
  identities ??= await fetchJson("/api/sensors");
  if (byId("add-names").childElementCount) return;
  const names = [...new Set(identities.location.filter(Boolean))].sort();
  byId("add-names").replaceChildren(...[...identities.ids, ...names].map((value) => Object.assign(element("option"), { value })));
}

input.addEventListener("focus", () => suggest().catch(() => {})); // without suggestions it can be typed
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = input.value.trim().toLowerCase();
  if (!name) return;
  try {
    await suggest();
    const found = identities.ids.filter((id, index) => [id, identities.location[index], identities.location[index]?.split(",")[0]].some((text) => text?.toLowerCase() === name));
    const fresh = found.filter((id) => !ids.includes(id));
    if (!fresh.length) setText(byId("remark"), found.length ? `${input.value.trim()} is shown already.` : `There is no sensor and no place ${input.value.trim()}.`);
    else open([...ids, ...fresh].slice(0, MAX_COMPARED));
  } catch (error) {
    setText(byId("remark"), error.message);
  }
});
