// The sensors on a map of city lights (lights.bin.gz, written by scripts/city_lights.py), with zoom and pan.

import { colour, isDark } from "./palette.js";
import { Surface } from "./surface.js";

const LATITUDE_STRETCH = 1.22; // length of a degree of latitude in degrees of longitude, about right at 35° north
const MAX_SPREAD_PIXELS = 24; // radius in which the sensors of one city are laid out
const LABEL_FONT = '600 11px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
const LABEL_HEIGHT = 16;
const LABEL_GAP = 2; // pixels between a name and the sensors of its place
const CELL = 32; // pixels: sensors are looked up by the cell that they are in
const MAX_SCALE = 160; // pixels per degree
const WORLD_BOUNDS = { west: -168, east: 180, south: -50, north: 68 };

export class WorldMap {
  /** `onPoint(index)` is called with the sensor at the pointer, -1 for none; `open(index)` opens its page; `choose(place)` is
   * called with the place whose name is clicked. */
  constructor(canvas, fleet, { onPoint, open, choose }) {
    Object.assign(this, { canvas, fleet, onPoint, open, choose, labels: [], lights: [], land: [], spots: [], view: null, at: -1, pointers: new Map(), moved: false, background: document.createElement("canvas"), backgroundKey: "" });
    this.surface = new Surface(canvas, (...size) => this.draw(...size));
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.up(event));
    canvas.addEventListener("pointerleave", () => this.point(-1));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    this.load();
  }

  async load() {
    const response = await fetch("/static/lights.bin.gz");
    const bytes = new DataView(await response.arrayBuffer());
    for (let offset = 0; offset + 5 <= bytes.byteLength; offset += 5) {
      const point = [bytes.getInt16(offset, true) / 100, bytes.getInt16(offset + 2, true) / 100, bytes.getUint8(offset + 4) / 255];
      (point[2] ? this.lights : this.land).push(point);
    }
    this.backgroundKey = "";
    this.surface.request();
  }

  show() {
    this.surface.request();
  }

  // The view: the centre of the box in degrees, and pixels per degree of longitude.

  fit() {
    const { west, east, south, north } = WORLD_BOUNDS;
    const { width, height } = this.surface;
    const scale = Math.min(width / (east - west), height / ((north - south) * LATITUDE_STRETCH));
    this.view = { longitude: (west + east) / 2, latitude: (south + north) / 2, scale, minScale: scale };
    this.surface.request();
  }

  zoom(factor, [x, y] = [this.surface.width / 2, this.surface.height / 2]) {
    const { view } = this;
    const scale = Math.min(Math.max(view.scale * factor, view.minScale), MAX_SCALE);
    const keep = 1 / view.scale - 1 / scale;
    view.longitude += (x - this.surface.width / 2) * keep;
    view.latitude -= ((y - this.surface.height / 2) * keep) / LATITUDE_STRETCH;
    view.scale = scale;
    this.bound();
  }

  pan(x, y) {
    this.view.longitude -= x / this.view.scale;
    this.view.latitude += y / this.view.scale / LATITUDE_STRETCH;
    this.bound();
  }

  bound() {
    this.view.longitude = Math.min(Math.max(this.view.longitude, -180), 180);
    this.view.latitude = Math.min(Math.max(this.view.latitude, -75), 80);
    this.surface.request();
  }

  x(longitude) {
    return this.surface.width / 2 + (longitude - this.view.longitude) * this.view.scale;
  }

  y(latitude) {
    return this.surface.height / 2 - (latitude - this.view.latitude) * this.view.scale * LATITUDE_STRETCH;
  }

  // One moving pointer pans, two zoom, a pointer that does not move clicks.

  down(event) {
    this.pointers.set(event.pointerId, this.surface.position(event));
    this.moved = false;
    this.canvas.setPointerCapture(event.pointerId);
  }

  move(event) {
    const position = this.surface.position(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      this.point(this.near(position));
      this.canvas.classList.toggle("over", this.at >= 0 || this.labelAt(position) !== undefined);
      return;
    }
    if (Math.hypot(position[0] - before[0], position[1] - before[1]) < 4 && !this.moved) return;
    this.moved = true;
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const distance = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]);
      this.zoom(distance(position) / (distance(before) || 1), [(position[0] + other[0]) / 2, (position[1] + other[1]) / 2]);
    } else this.pan(position[0] - before[0], position[1] - before[1]);
    this.pointers.set(event.pointerId, position);
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId) || this.moved || event.type === "pointercancel") return;
    const position = this.surface.position(event);
    const index = this.near(position);
    const label = this.labelAt(position);
    if (index >= 0) this.open(index);
    else if (label) this.choose(label.place);
  }

  wheel(event) {
    if (!event.ctrlKey && document.activeElement !== this.canvas) return; // the wheel scrolls the page until the map has the focus
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY * 0.002), this.surface.position(event));
  }

  key(event) {
    const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    if (event.key in moves) this.pan(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else if (event.key === "0") this.fit();
    else return;
    event.preventDefault();
  }

  near([x, y]) {
    let best = [-1, 9];
    this.spots.forEach((spot, index) => {
      if (!spot) return;
      const away = Math.hypot(spot[0] - x, spot[1] - y);
      if (away < best[1]) best = [index, away];
    });
    return best[0];
  }

  /** Computes the position of each sensor, null for one without coordinates. Sensors that would cover each other, as in
   * one city, are laid out around it like the seeds of a sunflower. */
  layOut(size) {
    const { longitude, latitude } = this.fleet.identities;
    const clusters = new Map();
    const here = this.fleet.ids.map((_, index) => {
      if (longitude[index] === null || latitude[index] === null) return null;
      const [x, y] = [this.x(longitude[index]), this.y(latitude[index])];
      const key = `${Math.round(x / size)},${Math.round(y / size)}`;
      const cluster = clusters.get(key) ?? { x, y, count: 0, placed: 0 };
      cluster.count += 1;
      clusters.set(key, cluster);
      return cluster;
    });
    this.spots = here.map((cluster) => {
      if (!cluster) return null;
      const reach = Math.min(size * 1.25 * Math.sqrt(cluster.count), MAX_SPREAD_PIXELS);
      const away = reach * Math.sqrt(cluster.placed / cluster.count);
      const angle = cluster.placed * 2.39996;
      cluster.placed += 1;
      return [cluster.x + away * Math.cos(angle), cluster.y + away * Math.sin(angle)];
    });
  }

  point(index) {
    this.canvas.classList.toggle("over", index >= 0);
    if (index === this.at) return;
    this.at = index;
    this.onPoint(index);
    this.surface.request();
  }

  draw(context, width, height) {
    if (!this.view || this.shown !== width) {
      this.shown = width;
      this.fit();
    }
    this.paintBackground(width, height);
    context.drawImage(this.background, 0, 0, width, height);
    if (!this.fleet.snapshot) return;
    this.paintSensors(context, width, height);
    this.paintLabels(context, width, height);
  }

  labelAt([x, y]) {
    return this.labels.find(({ box }) => x >= box.left && x <= box.right && y >= box.top && y <= box.bottom);
  }

  /** Paints the names of the places with the most sensors, as many as cover neither each other nor a sensor. */
  paintLabels(context, width, height) {
    const places = new Map();
    const cells = new Map();
    this.spots.forEach((spot, index) => {
      if (!spot || spot[0] < 0 || spot[1] < 0 || spot[0] > width || spot[1] > height) return;
      const cell = `${Math.floor(spot[0] / CELL)},${Math.floor(spot[1] / CELL)}`;
      cells.set(cell, [...(cells.get(cell) ?? []), spot]);
      const place = this.fleet.identities.location[index];
      if (!place) return;
      const [x, y] = spot;
      const found = places.get(place) ?? { place, count: 0, left: x, right: x, top: y, bottom: y };
      places.set(place, { place, count: found.count + 1, left: Math.min(found.left, x), right: Math.max(found.right, x), top: Math.min(found.top, y), bottom: Math.max(found.bottom, y) });
    });
    const size = this.dotSize;
    const coversSensor = (box) => {
      const { left, right, top, bottom } = { left: box.left - size, right: box.right + size, top: box.top - size, bottom: box.bottom + size };
      for (let column = Math.floor(left / CELL); column <= right / CELL; column += 1)
        for (let row = Math.floor(top / CELL); row <= bottom / CELL; row += 1)
          if (cells.get(`${column},${row}`)?.some(([x, y]) => x > left && x < right && y > top && y < bottom)) return true;
      return false;
    };
    const isFree = (box) => !coversSensor(box) && !this.labels.some(({ box: other }) => box.left < other.right && box.right > other.left && box.top < other.bottom && box.bottom > other.top);
    context.font = LABEL_FONT;
    context.textAlign = "center";
    context.textBaseline = "middle";
    this.labels = [];
    for (const { place, ...spread } of [...places.values()].sort((one, other) => other.count - one.count)) {
      const text = place.split(",")[0];
      const box = labelBoxes(spread, size + LABEL_GAP, context.measureText(text).width + 6, width, height).find(isFree);
      if (!box) continue;
      this.labels.push({ place, box });
      const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
      context.lineWidth = 3;
      context.lineJoin = "round";
      context.strokeStyle = colour("sky", 0.85);
      context.strokeText(text, x, y);
      context.fillStyle = colour("text");
      context.fillText(text, x, y);
    }
    this.canvas.dataset.places = this.labels.map(({ place }) => place).join(";");
  }

  /** Draws land and lights once for each view, into a canvas of their own. */
  paintBackground(width, height) {
    const { view } = this;
    const ratio = window.devicePixelRatio || 1;
    const key = [width, height, ratio, view.longitude, view.latitude, view.scale, isDark(), this.lights.length].join();
    if (key === this.backgroundKey) return;
    this.backgroundKey = key;
    this.background.width = Math.round(width * ratio);
    this.background.height = Math.round(height * ratio);
    const context = this.background.getContext("2d");
    context.scale(ratio, ratio);
    context.beginPath();
    context.roundRect(0, 0, width, height, 8);
    context.clip();
    context.fillStyle = colour("sky");
    context.fillRect(0, 0, width, height);
    this.paintLand(context, width, height);
    this.paintLights(context, width, height);
  }

  paintLand(context, width, height) {
    const size = Math.min(Math.max(this.view.scale * 0.55, 0.9), 9);
    context.fillStyle = colour("land");
    context.beginPath();
    for (const [longitude, latitude] of this.land) {
      const [x, y] = [this.x(longitude), this.y(latitude)];
      if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
      context.moveTo(x + size, y);
      context.arc(x, y, size, 0, 7);
    }
    context.fill();
  }

  paintLights(context, width, height) {
    const dark = isDark();
    const growth = Math.min(Math.sqrt(this.view.scale / 2.8), 3);
    for (const [longitude, latitude, brightness] of this.lights) {
      const [x, y] = [this.x(longitude), this.y(latitude)];
      if (x < -20 || y < -20 || x > width + 20 || y > height + 20) continue;
      const size = (0.45 + brightness * 1.1) * growth;
      if (dark && brightness > 0.38) disc(context, x, y, size * 4, colour("light", 0.07 * brightness + 0.01));
      disc(context, x, y, size, colour("light", dark ? 0.3 + 0.6 * brightness : 0.28 + 0.4 * brightness));
    }
  }

  paintSensors(context, width, height) {
    const { fleet } = this;
    const dotSize = fleet.size > 3000 ? 1.6 : fleet.size > 400 ? 2.3 : 3.6;
    const size = dotSize * Math.min(Math.max(Math.sqrt(this.view.scale / this.view.minScale), 1), 2.2);
    this.dotSize = size;
    this.layOut(size * 1.5);
    for (const well of [true, false]) {
      for (let index = 0; index < fleet.size; index += 1) {
        const displayState = fleet.displayState(index);
        if ((displayState === "healthy") !== well || !this.spots[index]) continue;
        const [x, y] = this.spots[index];
        if (x < -20 || y < -20 || x > width + 20 || y > height + 20) continue;
        const flash = fleet.justRestarted(index);
        if (!well || flash) disc(context, x, y, size * 2.2, colour(flash ? "restarting" : displayState, 0.22));
        disc(context, x, y, size + 0.8, colour("sky", 0.75));
        disc(context, x, y, size, colour(displayState));
      }
    }
    if (this.spots[this.at]) ring(context, ...this.spots[this.at], size + 4);
  }
}

/** Where a name of a width may stand, at a distance from its sensors: below, above, to the right, to the left or at a corner of
 * them, within the canvas. */
function labelBoxes({ left, right, top, bottom }, away, wide, width, height) {
  const [middle, centre] = [(left + right - wide) / 2, (top + bottom - LABEL_HEIGHT) / 2];
  const [before, after, above, below] = [left - away - wide, right + away, top - away - LABEL_HEIGHT, bottom + away];
  const corners = [
    [middle, below], [middle, above], [after, centre], [before, centre], [after, below], [before, below], [after, above], [before, above],
  ];
  return corners.map(([x, y]) => {
    const corner = { left: Math.max(Math.min(x, width - wide - 1), 1), top: Math.max(Math.min(y, height - LABEL_HEIGHT - 2), 2) };
    return { ...corner, right: corner.left + wide, bottom: corner.top + LABEL_HEIGHT };
  });
}

function disc(context, x, y, radius, tone) {
  context.fillStyle = tone;
  context.beginPath();
  context.arc(x, y, radius, 0, 7);
  context.fill();
}

function ring(context, x, y, radius) {
  context.strokeStyle = colour("text");
  context.lineWidth = 2;
  context.beginPath();
  context.arc(x, y, radius, 0, 7);
  context.stroke();
}
