// The fleet as the page knows it: who the sensors are, and how they were at the last snapshot. All lists are in one order.

import { ask } from "./feed.js";

const FLASH = 3000;

export class Fleet {
  constructor() {
    Object.assign(this, { ids: [], places: new Map(), who: {}, channels: [], snapshot: null, restarted: new Map(), haystacks: [] });
  }

  get size() {
    return this.ids.length;
  }

  /** Takes a snapshot over, after asking who the sensors are if they are others. */
  async take(snapshot) {
    if (this.who.roster !== snapshot.roster || this.ids.length !== snapshot.states.length) await this.meet();
    if (this.ids.length !== snapshot.states.length) return; // it changed in between: the next one fits
    const before = this.snapshot;
    if (before?.roster === snapshot.roster) {
      snapshot.restarts.forEach((count, place) => {
        if (count > before.restarts[place]) this.restarted.set(place, performance.now() + FLASH);
      });
    } else this.restarted.clear();
    this.snapshot = snapshot;
  }

  async meet() {
    this.who = await ask("/api/sensors");
    this.ids = this.who.ids;
    this.channels = this.who.channels;
    this.snapshot = null;
    this.places = new Map(this.ids.map((id, place) => [id, place]));
    const { location, manufacturer, model, firmware_version: firmware } = this.who;
    this.haystacks = this.ids.map((id, place) => [id, location[place], manufacturer[place], model[place], firmware[place]].join(" ").toLowerCase());
  }

  state(place) {
    return this.snapshot.legend[this.snapshot.states[place]] ?? "absent";
  }

  /** The kind of anomaly that a sensor is in, or null. */
  kind(place) {
    return this.snapshot.kind_legend[this.snapshot.kinds[place]] ?? null;
  }

  /** What a cell is coloured by: what is wrong with a worker matters more than what is wrong with its readings. */
  mood(place) {
    const state = this.state(place);
    return state === "healthy" && this.kind(place) ? "in-anomaly" : state;
  }

  value(channel, place) {
    const column = this.snapshot.values[channel];
    const value = column?.values[place];
    return value === null || value === undefined ? null : value / column.scale;
  }

  justRestarted(place) {
    const until = this.restarted.get(place);
    if (until === undefined) return false;
    if (until > performance.now()) return true;
    this.restarted.delete(place);
    return false;
  }

  moods() {
    const counts = new Map();
    for (let place = 0; place < this.size; place += 1) {
      const mood = this.mood(place);
      counts.set(mood, (counts.get(mood) ?? 0) + 1);
    }
    return counts;
  }
}
