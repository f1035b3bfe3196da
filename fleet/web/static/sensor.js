// The page of a sensor: its channels, episodes, epochs, database, log and controls.

import { AddressState } from "./address.js";
import { ChannelChart, hasTimes } from "./channelchart.js";
import { Control } from "./control.js";
import { Events } from "./events.js";
import { Feed, showLink } from "./feed.js";
import { element, formatBytes, formatInteger, formatMoment, formatTime, formatValue, readable, setClass, setText, withSpaces } from "./format.js";
import { Ranges } from "./ranges.js";
import { Series } from "./series.js";
import { Token } from "./token.js";

const CHANNEL_COLOURS = 8; // in tokens.css
const MAX_READINGS = 20;
const VIEW_PAUSE_MS = 60;
const token = new Token(); // first: it removes the token from the address
const main = document.getElementById("main");
const { sensor } = main.dataset;
const path = `/workers/${encodeURIComponent(sensor)}`;
const ranges = new Ranges(new AddressState(), { shown: () => series, onView: setView, onScale: (all) => redraw({ all }) });
const series = new Series(sensor, ranges.view);

const figures = [...main.querySelectorAll("figure.channel")];
const options = { ranges, point: (at) => redraw({ at }), select: (selected) => redraw({ selected }) };
const charts = figures.map((figure, index) => new ChannelChart(figure, series, { ...options, tone: `channel-${(index % CHANNEL_COLOURS) + 1}`, withTimes: hasTimes(index, figures.length) }));
let latest = {}; // the values of the last reading
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
  series.setView(view);
  redraw({ at: null });
  ranges.say(series);
  showSoon(VIEW_PAUSE_MS);
}

function showSoon(pause) {
  clearTimeout(timer);
  timer = setTimeout(() => show().catch(() => {}), pause); // the next update says what is wrong
}

async function show() {
  await series.update();
  charts.forEach((chart) => chart.show(latest[chart.name] ?? null));
  ranges.say(series);
  showEpisodes();
  if (series.read < 1) showSoon(0);
}

function tableRow(...cells) {
  const row = element("tr");
  row.append(...cells.map((cell) => (cell instanceof Node ? cell : element("td", "", cell))));
  return row;
}

/** Replaces the rows of a list if its `key` has changed. */
function fill(id, rows, key) {
  const list = document.getElementById(id);
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...rows);
}

function showEpisodes() {
  const shown = series.episodes.slice(0, 60);
  const rows = shown.map(({ type, channel, from, first_seq: first, last_seq: last, parameters }) => {
    const kind = element("td");
    kind.append(element("span", `pill ${type}`, withSpaces(type)));
    const texts = Object.entries(parameters ?? {}).map(([name, value]) => `${withSpaces(name)} ${typeof value === "number" ? Number(value.toPrecision(3)) : value}`);
    return tableRow(kind, channelText(channel), formatMoment(from), element("td", "number", formatInteger(last - first + 1)), element("td", "wide", texts.join(", ")));
  });
  fill("episodes", rows.length ? rows : [none(series.isFixed ? "No anomaly in this time." : "No anomaly so far.", 5)], JSON.stringify(shown));
}

/** The names of up to two channels, the number of more. */
function channelText(channel) {
  if (!channel) return "all";
  const names = channel.split(",");
  return names.length > 2 ? `${names.length} channels` : names.map(withSpaces).join(", ");
}

function none(text, columns) {
  const cell = element("td", "wide", text);
  cell.colSpan = columns;
  return tableRow(cell);
}

function showEpochs({ epochs }) {
  const rows = epochs.map((epoch) => {
    const reason = element("td", "reason", epoch.reason);
    if (epoch.injection) reason.append(" ", element("span", `pill ${epoch.injection.type}`, withSpaces(epoch.injection.type)));
    return tableRow(element("td", "number", formatInteger(epoch.first_seq)), formatMoment(Date.parse(epoch.start_time)), reason, epoch.firmware_version ?? "–", element("td", "number", epoch.injection ? "all" : `${(epoch.anomaly_share * 100).toFixed(1)}%`));
  });
  fill("epochs", rows, JSON.stringify(epochs));
}

/** The readings as they are in the database: the channels of the sensor, and the attributes of a reading, which are the
 * columns behind `seq` that neither a channel nor an attribute of the sensor has. */
function showReadings({ samples }) {
  lastSamples = samples;
  if (!channels) return; // they are shown once the channels are known
  const names = channels.map(({ name }) => name);
  const known = new Set([...names, ...Object.keys(attributes)]);
  const all = Object.keys(samples[0] ?? {});
  const further = all.slice(all.indexOf("seq") + 1).filter((name) => !known.has(name) && samples.some((sample) => (sample[name] ?? null) !== null));
  const head = element("tr");
  for (const [label, unit, name] of [["Time", "", ""], ...channels.map(({ name, unit }) => [readable(name), unit, "number"]), ...further.map((name) => [readable(name), "", ""]), ["Anomaly", "", ""]]) {
    const cell = element("th", name, label);
    if (unit) cell.append(" ", element("small", "", unit));
    head.append(cell);
  }
  fill("latest-head", [head], JSON.stringify([channels, further]));
  const rows = samples.map((sample) => {
    const kind = element("td");
    if (sample.anomaly_type) kind.append(element("span", `pill ${sample.anomaly_type}`, withSpaces(sample.anomaly_type)));
    return tableRow(formatTime(Date.parse(sample.timestamp)), ...names.map((name) => element("td", "number", formatValue(sample[name]))), ...further.map((name) => element("td", "", attributeText(sample[name]))), kind);
  });
  fill("latest", rows.length ? rows : [none("No reading so far.", names.length + 2)], JSON.stringify(samples));
}

const attributeText = (value) => (value === null || value === undefined ? "–" : String(value));

function showLog({ lines }) {
  const log = document.getElementById("log");
  const text = lines.join("\n") || "No lines about this worker.";
  if (log.textContent === text) return;
  const following = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  log.textContent = text;
  if (following) log.scrollTop = log.scrollHeight;
}

const figure = (label, text) => setText(document.querySelector(`[data-figure="${label}"]`), text);

function showDatabase(stats) {
  figure("records", formatInteger(stats.total_records));
  figure("size", formatBytes(stats.database_size_bytes).join(" "));
  figure("write-ahead log", formatBytes(stats.wal_size_bytes).join(" "));
  figure("commits", formatInteger(stats.writes.commits));
  figure("mean commit", `${stats.writes.mean_commit_ms.toFixed(2)} ms`);
  figure("retries", formatInteger(stats.writes.retries));
}

let identity = "";
let channels = null;
let lastSamples = null;
let attributes = {};

async function update(entry) {
  const now = JSON.stringify([entry.identity, entry.channels]);
  if (identity && now !== identity) {
    window.location.reload(); // the server rendered other facts: after a rollout, or in another run
    return;
  }
  identity = now;
  const isFirst = !channels;
  ({ channels } = entry);
  ({ attributes } = entry.identity);
  if (isFirst && lastSamples) showReadings({ samples: lastSamples });
  setText(document.getElementById("clock"), `${formatTime(Date.now())} UTC`);
  const state = document.getElementById("state");
  setText(state, entry.state);
  setClass(state, `pill ${entry.state}`);
  const anomaly = document.getElementById("anomaly");
  anomaly.hidden = !entry.anomaly;
  if (entry.anomaly) {
    setText(anomaly, withSpaces(entry.anomaly));
    setClass(anomaly, `pill ${entry.anomaly}`);
  }
  setText(document.getElementById("pointed"), entry.reason ?? "");
  figure("readings in this run", formatInteger(entry.readings));
  figure("lag", `${entry.lag_seconds.toFixed(2)} s`);
  figure("restarts", formatInteger(entry.restarts));
  figure("errors", formatInteger(entry.errors));
  latest = entry.last_reading ?? {};
  // An unreadable database does not mean that the connection to the server is lost.
  await show().catch((error) => {
    if (!error.status) throw error;
    setText(document.getElementById("pointed"), error.message);
  });
}

new Feed(() => path, 1000, update, showLink);
new Feed(() => `${path}/db_stats`, 4000, showDatabase);
new Feed(() => `${path}/samplez?limit=${MAX_READINGS}`, 3000, showReadings);
new Feed(() => `${path}/epochs`, 2000, showEpochs);
new Feed(() => `${path}/log?lines=60`, 3000, showLog);
new Events(sensor);
new Control(token, () => ({ sensors: [sensor] }), sensor);
