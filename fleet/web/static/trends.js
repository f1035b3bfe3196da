// The readings of the last minute of each sensor of a small fleet, for the sparklines of the health grid.

import { fetchJson } from "./feed.js";
import { formatValue } from "./format.js";

const MAX_SENSORS = 24;
const MAX_VALUES = 60;

export class Trends {
  constructor(fleet) {
    Object.assign(this, { fleet, key: undefined, values: new Map(), written: new Map() });
  }

  get size() {
    return this.values.size;
  }

  /** Adds the last reading of each sensor. `key` is the channel of the sparklines, null for the first one of each sensor;
   * another one begins with what the databases have. */
  add(key) {
    const { fleet } = this;
    if (fleet.size > MAX_SENSORS) {
      this.values.clear();
      return;
    }
    if (key !== this.key || fleet.ids.some((id) => !this.values.has(id))) this.begin(key);
    fleet.ids.forEach((id, index) => {
      const values = this.values.get(id);
      const value = fleet.value(this.channelOf(index)?.key, index);
      const written = fleet.snapshot.readings[index];
      if (value !== null && this.written.get(id) !== written) values.push(value); // a sensor that is paused adds nothing
      this.written.set(id, written);
      values.splice(0, values.length - MAX_VALUES);
    });
  }

  /** The channel of a sensor's sparkline, undefined if it does not have the one that is asked for. */
  channelOf(index) {
    return this.key === null ? this.fleet.mainChannel(index) : this.fleet.channelsOf(index).find(({ key }) => key === this.key);
  }

  begin(key) {
    this.key = key;
    this.values = new Map(this.fleet.ids.map((id) => [id, []]));
    const { values } = this;
    this.fleet.ids.forEach((id, index) => {
      const channel = this.channelOf(index);
      if (!channel) return;
      fetchJson(`/workers/${encodeURIComponent(id)}/series?seconds=${MAX_VALUES}&points=${MAX_VALUES}`)
        .then(({ values: found }) => values.get(id).unshift(...(found[channel.name] ?? []).filter((value) => value !== null)))
        .catch(() => {}); // a database that cannot be read yet: the line begins with what comes
    });
  }

  /** The last value of a sensor with its unit, empty if there is none. */
  text(id) {
    const values = this.values.get(id) ?? [];
    return values.length ? `${formatValue(values[values.length - 1])} ${this.channelOf(this.fleet.indexById.get(id))?.unit ?? ""}` : "";
  }

  /** Draws the line of a sensor into a box. */
  draw(context, id, { x, y, wide, high }, tone) {
    const values = this.values.get(id) ?? [];
    if (!values.length) return;
    const [low, high_] = values.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, -Infinity]);
    context.beginPath();
    values.forEach((value, index) => context.lineTo(x + (index / Math.max(values.length - 1, 1)) * wide, y + high - ((value - low) / (high_ - low || 1)) * high));
    context.strokeStyle = tone;
    context.lineWidth = 1.4;
    context.lineJoin = "round";
    context.stroke();
  }
}
