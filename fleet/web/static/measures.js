// What sensors can be coloured and sorted by. To add one: an entry here, and an option in overview.html.

import { ramp } from "./palette.js";
import { whole, written } from "./format.js";

const COUNTED = {
  lag: { unit: "s", of: (fleet, place) => fleet.snapshot.lags[place] / 100, show: (value) => value.toFixed(2) },
  pace: { unit: "readings/s", of: (fleet, place) => fleet.snapshot.paces[place] / 10, show: (value) => value.toFixed(1) },
  readings: { unit: "", of: (fleet, place) => fleet.snapshot.readings[place], show: whole },
  anomalies: { unit: "", of: (fleet, place) => fleet.snapshot.anomalies[place], show: whole },
  restarts: { unit: "", of: (fleet, place) => fleet.snapshot.restarts[place], show: whole },
  errors: { unit: "", of: (fleet, place) => fleet.snapshot.errors[place], show: whole },
};

/** {unit, of(fleet, place) -> number or null, show(number)} by name, "channel:temperature" for a channel. */
export function measure(fleet, name) {
  if (!name.startsWith("channel:")) return COUNTED[name];
  const channel = name.slice(8);
  const unit = fleet.channels.find((found) => found.name === channel)?.unit ?? "";
  return { unit, of: (_, place) => fleet.value(channel, place), show: written };
}

/** The middle nine tenths of what there is, so that one spike does not make all others look alike. */
export function range(values) {
  const sorted = values.filter((value) => value !== null).sort((one, other) => one - other);
  if (!sorted.length) return [0, 1];
  const low = sorted[Math.floor((sorted.length - 1) * 0.03)];
  const high = sorted[Math.ceil((sorted.length - 1) * 0.97)];
  return high > low ? [low, high] : [low, low + (Math.abs(low) || 1)];
}

/** [red, green, blue] for each sensor, null where nothing is measured, and what the ends of the scale are. */
export function scaled(fleet, found) {
  const values = fleet.ids.map((_, place) => found.of(fleet, place));
  const [low, high] = range(values);
  return { low, high, values, colours: values.map((value) => (value === null ? null : ramp((value - low) / (high - low)))) };
}
