// The sensors on a map of city lights (lights.bin.gz, made by scripts/city_lights.py), with zoom and pan.

import { colour, isDark } from "./palette.js";
import { Surface } from "./surface.js";

const STRETCH = 1.22; // degrees of latitude against those of longitude, about right where most people live
const WIDEST = 24; // pixels from a city that its sensors are spread, at most
const CLOSEST = 160; // pixels a degree
const EVERYWHERE = { west: -168, east: 180, south: -50, north: 68 };

export class World {
  constructor(canvas, fleet, { tell, open }) {
    Object.assign(this, { canvas, fleet, tell, open, lights: [], land: [], spots: [], view: null, at: -1, pointers: new Map(), moved: false, night: document.createElement("canvas"), nightOf: "" });
    this.surface = new Surface(canvas, (...place) => this.draw(...place));
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
    for (let place = 0; place + 5 <= bytes.byteLength; place += 5) {
      const point = [bytes.getInt16(place, true) / 100, bytes.getInt16(place + 2, true) / 100, bytes.getUint8(place + 4) / 255];
      (point[2] ? this.lights : this.land).push(point);
    }
    this.nightOf = "";
    this.surface.request();
  }

  show() {
    this.surface.request();
  }

  // The view: the middle of the box in degrees, and pixels a degree of longitude.

  fit() {
    const { west, east, south, north } = EVERYWHERE;
    const { width, height } = this.surface;
    const scale = Math.min(width / (east - west), height / ((north - south) * STRETCH));
    this.view = { longitude: (west + east) / 2, latitude: (south + north) / 2, scale, least: scale };
    this.surface.request();
  }

  zoom(factor, [x, y] = [this.surface.width / 2, this.surface.height / 2]) {
    const { view } = this;
    const scale = Math.min(Math.max(view.scale * factor, view.least), CLOSEST);
    const keep = 1 / view.scale - 1 / scale;
    view.longitude += (x - this.surface.width / 2) * keep;
    view.latitude -= ((y - this.surface.height / 2) * keep) / STRETCH;
    view.scale = scale;
    this.bound();
  }

  pan(x, y) {
    this.view.longitude -= x / this.view.scale;
    this.view.latitude += y / this.view.scale / STRETCH;
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
    return this.surface.height / 2 - (latitude - this.view.latitude) * this.view.scale * STRETCH;
  }

  // Pointers: one pans, two zoom, none of them moving is a click.

  down(event) {
    this.pointers.set(event.pointerId, this.surface.place(event));
    this.moved = false;
    this.canvas.setPointerCapture(event.pointerId);
  }

  move(event) {
    const place = this.surface.place(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      this.point(this.near(place));
      return;
    }
    if (Math.hypot(place[0] - before[0], place[1] - before[1]) < 4 && !this.moved) return;
    this.moved = true;
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const apart = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]);
      this.zoom(apart(place) / (apart(before) || 1), [(place[0] + other[0]) / 2, (place[1] + other[1]) / 2]);
    } else this.pan(place[0] - before[0], place[1] - before[1]);
    this.pointers.set(event.pointerId, place);
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId) || this.moved || event.type === "pointercancel") return;
    const place = this.near(this.surface.place(event));
    if (place >= 0) this.open(place);
  }

  wheel(event) {
    if (!event.ctrlKey && document.activeElement !== this.canvas) return; // the page scrolls until the map is chosen
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY * 0.002), this.surface.place(event));
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
    this.spots.forEach((spot, place) => {
      if (!spot) return;
      const away = Math.hypot(spot[0] - x, spot[1] - y);
      if (away < best[1]) best = [place, away];
    });
    return best[0];
  }

  /** Where each sensor is shown, null for one that is nowhere. Those that would lie on top of each other, as in one
   * city seen from afar, are laid out around the place like the seeds of a sunflower. */
  settle(size) {
    const { longitude, latitude } = this.fleet.who;
    const crowds = new Map();
    const here = this.fleet.ids.map((_, place) => {
      if (longitude[place] === null || latitude[place] === null) return null;
      const [x, y] = [this.x(longitude[place]), this.y(latitude[place])];
      const key = `${Math.round(x / size)},${Math.round(y / size)}`;
      const crowd = crowds.get(key) ?? { x, y, count: 0, placed: 0 };
      crowd.count += 1;
      crowds.set(key, crowd);
      return crowd;
    });
    this.spots = here.map((crowd) => {
      if (!crowd) return null;
      const reach = Math.min(size * 1.25 * Math.sqrt(crowd.count), WIDEST);
      const away = reach * Math.sqrt(crowd.placed / crowd.count);
      const angle = crowd.placed * 2.39996;
      crowd.placed += 1;
      return [crowd.x + away * Math.cos(angle), crowd.y + away * Math.sin(angle)];
    });
  }

  point(place) {
    this.canvas.classList.toggle("over", place >= 0);
    if (place === this.at) return;
    this.at = place;
    this.tell(place);
    this.surface.request();
  }

  draw(context, width, height) {
    if (!this.view || this.shown !== width) {
      this.shown = width;
      this.fit();
    }
    this.paintNight(width, height);
    context.drawImage(this.night, 0, 0, width, height);
    if (this.fleet.snapshot) this.paintSensors(context, width, height);
  }

  /** Land and lights do not change while nobody moves the map: they are kept as a picture. */
  paintNight(width, height) {
    const { view } = this;
    const ratio = window.devicePixelRatio || 1;
    const key = [width, height, ratio, view.longitude, view.latitude, view.scale, isDark(), this.lights.length].join();
    if (key === this.nightOf) return;
    this.nightOf = key;
    this.night.width = Math.round(width * ratio);
    this.night.height = Math.round(height * ratio);
    const context = this.night.getContext("2d");
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
    const grown = Math.min(Math.sqrt(this.view.scale / 2.8), 3);
    for (const [longitude, latitude, brightness] of this.lights) {
      const [x, y] = [this.x(longitude), this.y(latitude)];
      if (x < -20 || y < -20 || x > width + 20 || y > height + 20) continue;
      const size = (0.45 + brightness * 1.1) * grown;
      if (dark && brightness > 0.38) disc(context, x, y, size * 4, colour("light", 0.07 * brightness + 0.01));
      disc(context, x, y, size, colour("light", dark ? 0.3 + 0.6 * brightness : 0.28 + 0.4 * brightness));
    }
  }

  paintSensors(context, width, height) {
    const { fleet } = this;
    const crowd = fleet.size > 3000 ? 1.6 : fleet.size > 400 ? 2.3 : 3.6;
    const size = crowd * Math.min(Math.max(Math.sqrt(this.view.scale / this.view.least), 1), 2.2);
    this.settle(size * 1.5);
    for (const well of [true, false]) {
      for (let place = 0; place < fleet.size; place += 1) {
        const mood = fleet.mood(place);
        if ((mood === "healthy") !== well || !this.spots[place]) continue;
        const [x, y] = this.spots[place];
        if (x < -20 || y < -20 || x > width + 20 || y > height + 20) continue;
        const flash = fleet.justRestarted(place);
        if (!well || flash) disc(context, x, y, size * 2.2, colour(flash ? "restarting" : mood, 0.22));
        disc(context, x, y, size + 0.8, colour("sky", 0.75));
        disc(context, x, y, size, colour(mood));
      }
    }
    if (this.spots[this.at]) ring(context, ...this.spots[this.at], size + 4);
  }
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
