// A sensor's page: its channels live, what is on record of it, and its controls.

import { ChannelChart } from "./channelchart.js";
import { Control } from "./control.js";
import { Events } from "./events.js";
import { Feed, showLink } from "./feed.js";
import { bytes, clock, dress, element, spaced, whole, write } from "./format.js";
import { Series } from "./series.js";
import { Token } from "./token.js";

const main = document.getElementById("main");
const { sensor } = main.dataset;
const path = `/workers/${encodeURIComponent(sensor)}`;
const buttons = [...main.querySelectorAll("[data-seconds]")];
const series = new Series(sensor, 300);

const figures = [...main.querySelectorAll("figure.channel")];
const charts = figures.map((figure, place) => new ChannelChart(figure, series, { tone: `channel-${(place % 5) + 1}`, last: place === figures.length - 1, point }));

function point(time) {
  for (const chart of charts) {
    chart.at = time;
    chart.surface.request();
  }
}

async function look(seconds) {
  for (const button of buttons) button.setAttribute("aria-pressed", String(Number(button.dataset.seconds) === seconds));
  series.reach(seconds);
  await show();
}

async function show() {
  await series.update();
  charts.forEach((chart) => chart.show());
  showEpisodes();
}

for (const button of buttons) button.addEventListener("click", () => look(Number(button.dataset.seconds)).catch(() => {}));

function cells(...texts) {
  const row = element("tr");
  row.append(...texts.map((found) => (found instanceof Node ? found : element("td", "", found))));
  return row;
}

/** Replaces what a list shows where that has changed. */
function fill(id, rows, said) {
  const list = document.getElementById(id);
  if (list.dataset.said === said) return;
  list.dataset.said = said;
  list.replaceChildren(...rows);
}

function showEpisodes() {
  const shown = series.episodes.slice(0, 60);
  const rows = shown.map(({ type, channel, from, first_seq: first, last_seq: last, parameters }) => {
    const kind = element("td");
    kind.append(element("span", `pill ${type}`, spaced(type)));
    const told = Object.entries(parameters ?? {}).map(([name, value]) => `${spaced(name)} ${typeof value === "number" ? Number(value.toPrecision(3)) : value}`);
    return cells(kind, onWhat(channel), clock(from), element("td", "number", whole(last - first + 1)), element("td", "wide", told.join(", ")));
  });
  fill("episodes", rows.length ? rows : [none("No anomaly so far.", 5)], JSON.stringify(shown));
}

/** Two channels by name, more by their number. */
function onWhat(channel) {
  if (!channel) return "all";
  const names = channel.split(",");
  return names.length > 2 ? `${names.length} channels` : names.join(", ");
}

function none(text, columns) {
  const cell = element("td", "wide", text);
  cell.colSpan = columns;
  return cells(cell);
}

function showEpochs({ epochs }) {
  const rows = epochs.map((epoch) => {
    const reason = element("td", "", epoch.reason);
    if (epoch.injection) reason.append(" ", element("span", `pill ${epoch.injection.type}`, spaced(epoch.injection.type)));
    return cells(element("td", "number", whole(epoch.first_seq)), clock(Date.parse(epoch.start_time)), reason, epoch.firmware_version ?? "–", element("td", "number", epoch.injection ? "all" : `${(epoch.anomaly_share * 100).toFixed(1)}%`));
  });
  fill("epochs", rows, JSON.stringify(epochs));
}

function showLog({ lines }) {
  const log = document.getElementById("log");
  const text = lines.join("\n") || "Nothing is logged of it.";
  if (log.textContent === text) return;
  const following = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  log.textContent = text;
  if (following) log.scrollTop = log.scrollHeight;
}

const figure = (label, text) => write(document.querySelector(`[data-figure="${label}"]`), text);

function showDatabase(stats) {
  figure("records", whole(stats.total_records));
  figure("size", bytes(stats.database_size_bytes).join(" "));
  figure("write-ahead log", bytes(stats.wal_size_bytes).join(" "));
  figure("commits", whole(stats.writes.commits));
  figure("mean commit", `${stats.writes.mean_commit_ms.toFixed(2)} ms`);
  figure("retries", whole(stats.writes.retries));
}

let who = "";

async function take(entry) {
  const now = JSON.stringify([entry.identity, entry.channels]);
  if (who && now !== who) {
    window.location.reload(); // with other facts than the server wrote: after a roll-out, or in another run
    return;
  }
  who = now;
  write(document.getElementById("clock"), `${clock(Date.now())} UTC`);
  const state = document.getElementById("state");
  write(state, entry.state);
  dress(state, `pill ${entry.state}`);
  const anomaly = document.getElementById("anomaly");
  anomaly.hidden = !entry.anomaly;
  if (entry.anomaly) {
    write(anomaly, spaced(entry.anomaly));
    dress(anomaly, `pill ${entry.anomaly}`);
  }
  write(document.getElementById("pointed"), entry.reason ?? "");
  figure("readings in this run", whole(entry.readings));
  figure("lag", `${entry.lag_seconds.toFixed(2)} s`);
  figure("restarts", whole(entry.restarts));
  figure("errors", whole(entry.errors));
  // A database that cannot be looked into just now is not a server that is gone.
  await show().catch((error) => {
    if (!error.status) throw error;
    write(document.getElementById("pointed"), error.message);
  });
}

new Feed(() => path, 1000, take, showLink);
new Feed(() => `${path}/db_stats`, 4000, showDatabase);
new Feed(() => `${path}/epochs`, 2000, showEpochs);
new Feed(() => `${path}/log?lines=60`, 3000, showLog);
new Events(sensor);
new Control(new Token(), () => ({ sensors: [sensor] }), sensor);
