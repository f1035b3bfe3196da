// The overview page: one snapshot a second, shown in every part of the page.

import { AddressState } from "./address.js";
import { Control } from "./control.js";
import { Delivery } from "./delivery.js";
import { Events } from "./events.js";
import { Feed, showLink } from "./feed.js";
import { Fleet } from "./fleet.js";
import { Throughput, Types } from "./fleetcharts.js";
import { formatInteger, formatTime, formatValue, setClass, setText, withSpaces } from "./format.js";
import { Grid } from "./grid.js";
import { FleetHistory } from "./history.js";
import { Legend } from "./legend.js";
import { WorldMap } from "./map.js";
import { SensorSelection } from "./selection.js";
import { Readings } from "./readings.js";
import { SensorTable } from "./table.js";
import { Tiles } from "./tiles.js";
import { Trends } from "./trends.js";
import { Token } from "./token.js";

const byId = (id) => document.getElementById(id);
const token = new Token(); // first: it removes the token from the address
const fleet = new Fleet();
const history = new FleetHistory();
const MAX_DESCRIBED_CHANNELS = 5;
const HINT = matchMedia("(hover: none)").matches ? "Touch a sensor to open its page." : "Point at a sensor to identify it; click it to open its page; Control and click picks it for the controls.";
let restored = false; // whether the selection of the address was restored
let pointed = -1; // the sensor at the pointer in the grid

const open = (index) => window.location.assign(`/sensors/${encodeURIComponent(fleet.ids[index])}`);

/** One line about a sensor. */
function describe(index) {
  const values = fleet.channelsOf(index).map(({ key, name, unit }) => [fleet.value(key, index), unit, name]).filter(([value]) => value !== null);
  const shown = values.slice(0, MAX_DESCRIBED_CHANNELS);
  const kind = fleet.kind(index);
  return [
    fleet.ids[index],
    fleet.state(index) + (kind ? `, in ${withSpaces(kind)}` : ""),
    fleet.identities.location[index] ?? "",
    shown.map(([value, unit, name]) => `${unit ? "" : `${withSpaces(name)} `}${formatValue(value)} ${unit}`.trim()).join("  ") + (values.length > shown.length ? `  and ${values.length - shown.length} more` : ""),
    `${formatInteger(fleet.snapshot.readings[index])} readings`,
  ].filter(Boolean).join("  ·  ");
}

function showHint() {
  if (!fleet.snapshot) return;
  const [reason] = fleet.snapshot.reasons;
  const more = fleet.snapshot.unhealthy - 1;
  const late = fleet.snapshot.targets.find(({ healthy }) => !healthy);
  const hint = reason ? `${reason.sensor_id} is ${reason.state}: ${reason.reason}${more > 0 ? ` (and ${formatInteger(more)} more)` : ""}` : late ? `${late.name} does not get its readings` : HINT;
  setText(byId("pointed"), pointed >= 0 && pointed < fleet.size ? describe(pointed) : hint);
}

const address = new AddressState();
const selection = new SensorSelection(fleet, address);
const grid = new Grid(byId("grid"), fleet, {
  open,
  pick: (picked) => {
    selection.pick(picked);
    table.paint();
  },
  onPoint: (index) => {
    pointed = index;
    showHint();
  },
});
grid.trends = new Trends(fleet);
const readings = new Readings(fleet, address);
const legend = new Legend(byId("legend"));
const map = new WorldMap(byId("world"), fleet, { open, choose: (place) => selection.choose("city", place), onPoint: (index) => setText(byId("map-pointed"), index >= 0 && fleet.snapshot ? describe(index) : "") });
const tiles = new Tiles();
const delivery = new Delivery();
const throughput = new Throughput(byId("throughput"));
const types = new Types(byId("types"));
const table = new SensorTable(fleet, address, {
  onChange: (listed) => {
    selection.listed = listed;
    selection.show();
  },
  pick: (index) => grid.choose(index, true),
  picked: () => selection.picked,
});

function showGrid() {
  if (!fleet.snapshot) return;
  grid.trends.add(grid.measure.startsWith("channel:") ? grid.measure.slice(8) : null);
  grid.show();
  legend.show(fleet, grid);
}

const columns = [...document.querySelectorAll('[data-sort^="channel:"]')].map((button) => button.dataset.sort.slice(8));

/** Whether the snapshot is of the run that the server rendered this page for, with the same channels. */
const isSameRun = ({ run, values }) => run.started_at === byId("main").dataset.run && Object.keys(values).sort().join() === columns.sort().join();

async function update(snapshot) {
  if (!isSameRun(snapshot)) {
    window.location.reload();
    return;
  }
  await fleet.update(snapshot);
  if (fleet.snapshot && !restored) {
    restored = true;
    grid.picked = selection.restore();
  }
  await history.update(snapshot.recent);
  if (!fleet.snapshot) return;
  setText(byId("clock"), `${formatTime(Date.parse(snapshot.timestamp))} UTC`);
  setText(byId("verdict"), snapshot.status);
  setClass(byId("verdict"), `verdict ${snapshot.status}`);
  setText(byId("grid-count"), fleet.size === 1 ? "1 sensor" : `${formatInteger(fleet.size)} sensors`);
  showGrid();
  showHint();
  tiles.show(fleet, history);
  throughput.show(history);
  types.show(history);
  delivery.show(snapshot.targets);
  map.show();
  readings.show();
  table.show();
}

const measures = byId("measure");

function colourBy(name) {
  measures.value = name;
  grid.measure = name;
  showGrid();
}

measures.addEventListener("change", () => {
  address.set("colour", measures.value, "state");
  colourBy(measures.value);
});
colourBy(address.get("colour", [...measures.options].map((option) => option.value), "state"));
byId("zoom-in").addEventListener("click", () => map.zoom(1.7));
byId("zoom-out").addEventListener("click", () => map.zoom(1 / 1.7));
byId("zoom-all").addEventListener("click", () => map.fit());

new Feed(() => "/api/snapshot", 1000, update, showLink);
new Events();
new Control(token, () => selection.body());

// Suggestions for the firmware field: the versions in the fleet, once they are known.
const waiting = setInterval(() => {
  if (!fleet.snapshot) return;
  clearInterval(waiting);
  byId("firmwares").replaceChildren(...[...new Set(fleet.identities.firmware_version)].filter(Boolean).map((name) => Object.assign(document.createElement("option"), { value: name })));
}, 500);
