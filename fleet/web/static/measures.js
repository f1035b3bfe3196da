// The measures that sensors can be coloured and sorted by. To add one: an entry here, and an option in overview.html.

import { ramp } from "./palette.js";
import { formatInteger, formatValue } from "./format.js";

const MEASURES = {
  lag: { unit: "s", of: (fleet, index) => fleet.snapshot.lags[index] / 100, show: (value) => value.toFixed(2) },
  pace: { unit: "readings/s", of: (fleet, index) => fleet.snapshot.paces[index] / 10, show: (value) => value.toFixed(1) },
  readings: { unit: "", of: (fleet, index) => fleet.snapshot.readings[index], show: formatInteger },
  anomalies: { unit: "", of: (fleet, index) => fleet.snapshot.anomalies[index], show: formatInteger },
  restarts: { unit: "", of: (fleet, index) => fleet.snapshot.restarts[index], show: formatInteger },
  errors: { unit: "", of: (fleet, index) => fleet.snapshot.errors[index], show: formatInteger },
};

/** {unit, of(fleet, index) -> number or null, show(number)} by name; "channel:" and its key for a channel. */
export function measure(fleet, name) {
  if (name === "main") return { unit: "", of: (_, index) => fleet.value(fleet.mainChannel(index)?.key, index), show: formatValue };
  if (!name.startsWith("channel:")) return MEASURES[name];
  const key = name.slice(8);
  return { unit: fleet.channel(key)?.unit ?? "", of: (_, index) => fleet.value(key, index), show: formatValue };
}

/** The range of the middle 94% of the values, so that one spike does not make all others look alike. */
export function range(values) {
  const sorted = values.filter((value) => value !== null).sort((one, other) => one - other);
  if (!sorted.length) return [0, 1];
  const low = sorted[Math.floor((sorted.length - 1) * 0.03)];
  const high = sorted[Math.ceil((sorted.length - 1) * 0.97)];
  return high > low ? [low, high] : [low, low + (Math.abs(low) || 1)];
}

/** The values of all sensors, the ends of their scale, and [red, green, blue] for each, null where there is no value. */
export function scaled(fleet, chosen) {
  const values = fleet.ids.map((_, index) => chosen.of(fleet, index));
  const [low, high] = range(values);
  return { low, high, values, colours: values.map((value) => (value === null ? null : ramp((value - low) / (high - low)))) };
}
