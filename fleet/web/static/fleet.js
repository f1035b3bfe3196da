// The fleet as the page knows it: the identities of the sensors and the last snapshot. All lists are in the same order, and
// a sensor is referred to by its index in them. A channel is {key, name, unit}: the same name in another unit is another one.

import { fetchJson } from "./feed.js";
import { withSpaces } from "./format.js";

const FLASH_MS = 3000;

export class Fleet {
  constructor() {
    Object.assign(this, { ids: [], indexById: new Map(), identities: {}, channels: [], channelByKey: new Map(), sets: [], snapshot: null, restarted: new Map(), searchTexts: [] });
  }

  get size() {
    return this.ids.length;
  }

  /** Stores a snapshot, after fetching the identities if the roster has changed. */
  async update(snapshot) {
    if (this.identities.roster !== snapshot.roster || this.ids.length !== snapshot.states.length) await this.fetchIdentities();
    if (this.ids.length !== snapshot.states.length) return; // the roster has changed since the snapshot: the next one fits
    const before = this.snapshot;
    if (before?.roster === snapshot.roster) {
      snapshot.restarts.forEach((count, index) => {
        if (count > before.restarts[index]) this.restarted.set(index, performance.now() + FLASH_MS);
      });
    } else this.restarted.clear();
    this.snapshot = snapshot;
  }

  async fetchIdentities() {
    this.identities = await fetchJson("/api/sensors");
    this.ids = this.identities.ids;
    this.channels = this.identities.channels;
    this.channelByKey = new Map(this.channels.map((channel) => [channel.key, channel]));
    this.sets = this.identities.channel_sets.map((keys) => keys.map((key) => this.channelByKey.get(key)));
    this.snapshot = null;
    this.indexById = new Map(this.ids.map((id, index) => [id, index]));
    const { location, manufacturer, model, firmware_version: firmware, sensor_type: kind } = this.identities;
    this.searchTexts = this.ids.map((id, index) => [id, location[index], manufacturer[index], model[index], firmware[index], kind[index], withSpaces(kind[index] ?? "")].join(" ").toLowerCase());
  }

  state(index) {
    return this.snapshot.legend[this.snapshot.states[index]] ?? "absent";
  }

  /** The kind of anomaly that a sensor is in, or null. */
  kind(index) {
    return this.snapshot.kind_legend[this.snapshot.kinds[index]] ?? null;
  }

  /** The state that colours a sensor: its worker's, or "in-anomaly" if that is healthy. */
  displayState(index) {
    const state = this.state(index);
    return state === "healthy" && this.kind(index) ? "in-anomaly" : state;
  }

  channel(key) {
    return this.channelByKey.get(key);
  }

  /** The channels of a sensor, in its order. */
  channelsOf(index) {
    return this.sets[this.identities.sets[index]] ?? [];
  }

  /** The first channel of a sensor, which stands for it where there is room for one. */
  mainChannel(index) {
    return this.channelsOf(index)[0];
  }

  value(key, index) {
    const column = this.snapshot.values[key];
    const value = column?.values[index];
    return value === null || value === undefined ? null : value / column.scale;
  }

  justRestarted(index) {
    const until = this.restarted.get(index);
    if (until === undefined) return false;
    if (until > performance.now()) return true;
    this.restarted.delete(index);
    return false;
  }

  displayStateCounts() {
    const counts = new Map();
    for (let index = 0; index < this.size; index += 1) {
      const displayState = this.displayState(index);
      counts.set(displayState, (counts.get(displayState) ?? 0) + 1);
    }
    return counts;
  }
}
