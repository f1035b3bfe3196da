// The overview: one snapshot a second, shown in every part of the page.

import { Control } from "./control.js";
import { Events } from "./events.js";
import { Feed, showLink } from "./feed.js";
import { Fleet } from "./fleet.js";
import { Throughput, Types } from "./fleetcharts.js";
import { clock, dress, spaced, whole, write, written } from "./format.js";
import { Grid } from "./grid.js";
import { Legend } from "./legend.js";
import { Past } from "./past.js";
import { Rows } from "./rows.js";
import { Scope } from "./scope.js";
import { Tiles } from "./tiles.js";
import { Token } from "./token.js";
import { World } from "./world.js";

const element = (id) => document.getElementById(id);
const fleet = new Fleet();
const past = new Past();
const pointed = { grid: -1 };

const open = (place) => window.location.assign(`/sensors/${encodeURIComponent(fleet.ids[place])}`);

/** All that fits in one line about a sensor. */
function told(place) {
  const values = fleet.channels.map(({ name, unit }) => [fleet.value(name, place), unit]).filter(([value]) => value !== null);
  const kind = fleet.kind(place);
  return [
    fleet.ids[place],
    fleet.state(place) + (kind ? `, in ${spaced(kind)}` : ""),
    fleet.who.location[place] ?? "",
    values.map(([value, unit]) => `${written(value)} ${unit}`).join("  "),
    `${whole(fleet.snapshot.readings[place])} readings`,
  ].filter(Boolean).join("  ·  ");
}

function tell() {
  if (!fleet.snapshot) return;
  const [reason] = fleet.snapshot.reasons;
  const more = fleet.snapshot.unhealthy - 1;
  const wrong = reason ? `${reason.sensor_id} is ${reason.state}: ${reason.reason}${more > 0 ? ` (and ${whole(more)} more)` : ""}` : "Point at a sensor to see who it is; click it to open it; Control and click picks it for the controls.";
  write(element("pointed"), pointed.grid >= 0 && pointed.grid < fleet.size ? told(pointed.grid) : wrong);
}

const scope = new Scope(fleet);
const grid = new Grid(element("grid"), fleet, {
  open,
  pick: (picked) => scope.pick(picked),
  tell: (place) => {
    pointed.grid = place;
    tell();
  },
});
const legend = new Legend(element("legend"));
const world = new World(element("world"), fleet, { open, tell: (place) => write(element("map-pointed"), place >= 0 && fleet.snapshot ? told(place) : "") });
const tiles = new Tiles();
const throughput = new Throughput(element("throughput"));
const types = new Types(element("types"));
const rows = new Rows(fleet, (listed) => {
  scope.listed = listed;
  scope.show();
});

function showGrid() {
  if (!fleet.snapshot) return;
  grid.show();
  legend.show(fleet, grid);
}

const columns = [...document.querySelectorAll('[data-sort^="channel:"]')].map((button) => button.dataset.sort.slice(8));

/** Whether it is the fleet that the server wrote this page for: the same run, with the same channels. */
const same = ({ run, values }) => run.started_at === element("main").dataset.run && Object.keys(values).sort().join() === columns.sort().join();

async function take(snapshot) {
  if (!same(snapshot)) {
    window.location.reload();
    return;
  }
  await fleet.take(snapshot);
  await past.take(snapshot.recent);
  if (!fleet.snapshot) return;
  write(element("clock"), `${clock(Date.parse(snapshot.timestamp))} UTC`);
  write(element("verdict"), snapshot.status);
  dress(element("verdict"), `verdict ${snapshot.status}`);
  write(element("grid-count"), fleet.size === 1 ? "1 sensor" : `${whole(fleet.size)} sensors`);
  showGrid();
  tell();
  tiles.show(fleet, past);
  throughput.show(past);
  types.show(past);
  world.show();
  rows.show();
}

element("measure").addEventListener("change", (event) => {
  grid.measure = event.target.value;
  showGrid();
});
element("zoom-in").addEventListener("click", () => world.zoom(1.7));
element("zoom-out").addEventListener("click", () => world.zoom(1 / 1.7));
element("zoom-all").addEventListener("click", () => world.fit());

new Feed(() => "/api/snapshot", 1000, take, showLink);
new Events();
new Control(new Token(), () => scope.selection());

// Names for the firmware field: those that are there, once they are known.
const known = setInterval(() => {
  if (!fleet.snapshot) return;
  clearInterval(known);
  element("firmwares").replaceChildren(...[...new Set(fleet.who.firmware_version)].filter(Boolean).map((name) => Object.assign(document.createElement("option"), { value: name })));
}, 500);
