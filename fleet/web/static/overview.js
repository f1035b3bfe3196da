// Keeps the overview up to date: asks for the figures, the grid and the listed sensors, and writes what has changed.

const INTERVAL = 2000;
const LISTED = 200;

const element = (id) => document.getElementById(id);
const body = element("sensors");
const grid = element("grid");
const pointed = element("pointed");
const channels = body.dataset.channels.split(" ").filter(Boolean);

let sensorIds = [];

const whole = (number) => number.toLocaleString("en-US", { maximumFractionDigits: 0 });

// Four digits that can be read from afar, as the server writes them (pages.py).
function compact(number) {
  if (number >= 1e7) return `${(number / 1e6).toFixed(1)}M`;
  if (number >= 1e6) return `${(number / 1e6).toFixed(2)}M`;
  if (number >= 1e4) return `${(number / 1e3).toFixed(1)}k`;
  return number >= 100 || Number.isInteger(number) ? whole(number) : number.toFixed(1);
}

function written(number) {
  if (number === null || number === undefined) return "–";
  const size = Math.abs(number);
  return size >= 1000 ? whole(number) : number.toFixed(size >= 10 ? 2 : 3);
}

// A node that is written to is laid out again, also when the text is the same.
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function dress(node, name) {
  if (node.className !== name) node.className = name;
}

function tile(name, figure, note) {
  const node = element(`tile-${name}`);
  write(node.querySelector(".figure"), figure);
  write(node.querySelector(".note"), note);
}

function showMetrics(metrics) {
  const { workers } = metrics;
  tile("healthy", whole(workers.healthy), `of ${whole(workers.total)}`);
  tile("pace", compact(metrics.readings_per_second), `of ${compact(metrics.readings_per_second_asked)} asked for`);
  tile("readings", compact(metrics.total_readings), "in this run");
  tile("anomalies", compact(metrics.total_anomalies), `${(metrics.anomaly_rate * 100).toFixed(2)}% of readings`);
  tile("errors", whole(metrics.error_count), `${whole(metrics.restarts)} restarts`);
  tile("lag", `${metrics.lag_seconds.toFixed(2)} s`, "worst sensor");
}

function showHealth(health) {
  const verdict = element("verdict");
  write(verdict, health.status);
  dress(verdict, `verdict ${health.status}`);
  write(element("clock"), health.timestamp);
  const reason = element("reason");
  write(reason, health.reason ?? "");
  reason.hidden = !health.reason;
}

function showGrid({ sensor_ids, cells, legend }) {
  sensorIds = sensor_ids;
  while (grid.childElementCount > cells.length) grid.lastElementChild.remove();
  while (grid.childElementCount < cells.length) grid.append(document.createElement("i"));
  let cell = grid.firstElementChild;
  for (const letter of cells) {
    dress(cell, letter in legend ? legend[letter] : "anomaly");
    cell = cell.nextElementSibling;
  }
}

function newRow(id) {
  const row = document.createElement("tr");
  row.id = `sensor-${id}`;
  const head = document.createElement("th");
  head.scope = "row";
  const link = document.createElement("a");
  link.href = `/workers/${encodeURIComponent(id)}`;
  link.textContent = id;
  head.append(link);
  row.append(head);
  const classes = ["", "place", ...channels.map(() => "number value"), "kind", ...Array(5).fill("number")];
  for (const name of classes) {
    const cell = document.createElement("td");
    cell.className = name;
    row.append(cell);
  }
  row.cells[1].append(document.createElement("span"));
  return row;
}

function showSensor(row, entry) {
  dress(row, entry.anomaly ? "in-anomaly" : "");
  const pill = row.cells[1].firstElementChild;
  write(pill, entry.state);
  dress(pill, `pill ${entry.state}`);
  pill.title = entry.reason ?? "";
  const texts = [
    entry.location ?? "–",
    ...channels.map((name) => written(entry.last_reading?.[name])),
    entry.anomaly ?? "",
    whole(entry.readings),
    whole(entry.anomalies),
    entry.lag_seconds.toFixed(2),
    whole(entry.restarts),
    whole(entry.errors),
  ];
  texts.forEach((text, place) => write(row.cells[place + 2], text));
}

function showSensors({ workers }) {
  const gone = new Set(body.rows);
  workers.forEach((entry, place) => {
    const row = element(`sensor-${entry.sensor_id}`) ?? newRow(entry.sensor_id);
    gone.delete(row);
    showSensor(row, entry);
    if (body.rows[place] !== row) body.insertBefore(row, body.rows[place] ?? null);
  });
  gone.forEach((row) => row.remove());
}

// 503 from /healthz is an answer like any other: it says who is unwell.
async function ask(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(10000) });
  if (!response.ok && path !== "/healthz") throw new Error(`${path}: ${response.status}`);
  return response.json();
}

async function refresh() {
  try {
    const paths = ["/metricz", "/healthz", "/grid", `/workers?limit=${LISTED}`];
    const [metrics, health, cells, listed] = await Promise.all(paths.map(ask));
    showMetrics(metrics);
    showHealth(health);
    showGrid(cells);
    showSensors(listed);
  } catch (error) {
    showHealth({ status: "unreachable", timestamp: element("clock").textContent, reason: `No answer: ${error.message}` });
  }
}

const cellOf = (event) => (event.target.parentElement === grid ? [...grid.children].indexOf(event.target) : -1);

grid.addEventListener("pointerover", (event) => {
  const place = cellOf(event);
  if (sensorIds[place]) write(pointed, `${sensorIds[place]} · ${event.target.className}`);
});

grid.addEventListener("click", (event) => {
  const id = sensorIds[cellOf(event)];
  if (id) window.location.assign(`/workers/${encodeURIComponent(id)}`);
});

// One question after the other, and none from a page that nobody looks at.
async function keepUp() {
  if (!document.hidden) await refresh();
  setTimeout(keepUp, INTERVAL);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh();
});
keepUp();
