// One channel of several sensors over time, a line for each.

import { drawTooltip, line } from "./axes.js";
import { axisRange, ChannelChart } from "./channelchart.js";
import { nearest } from "./fleetcharts.js";
import { formatMoment, formatValue } from "./format.js";
import { colour } from "./palette.js";

const MAX_GAP = 3.5; // in intervals between points: a sensor without a point that close has no value at a time

/** The time that several series cover together, in the form in which charts use it of one. */
export class SeriesGroup {
  constructor(all) {
    Object.assign(this, { all });
  }

  /** The times of the series that begins first. */
  get times() {
    const known = this.all.filter(({ times }) => times.length);
    return known.reduce((first, { times }) => (!first.length || times[0] < first[0] ? times : first), []);
  }

  get span() {
    if (this.all[0]?.isFixed) return this.all[0].span;
    const spans = this.all.filter(({ times }) => times.length).map(({ span }) => span);
    if (!spans.length) return this.all[0]?.span ?? [Date.now() - 1000, Date.now()];
    const to = Math.max(...spans.map(([, end]) => end));
    return [Math.max(Math.min(...spans.map(([begin]) => begin)), to - this.all[0].seconds * 1000), to];
  }

  /** From the first to the last reading on record of any, null where nothing is known of it. */
  get bounds() {
    const known = this.all.map(({ bounds }) => bounds).filter(Boolean);
    return known.length ? [Math.min(...known.map(([first]) => first)), Math.max(...known.map(([, last]) => last))] : null;
  }

  get read() {
    return Math.min(...this.all.map(({ read }) => read));
  }

  get step() {
    return Math.max(...this.all.map(({ step }) => step));
  }
}

export class CompareChart extends ChannelChart {
  /** `sensors` are {id, series, tone}. `highlighted` is set by the page: the id of the sensor whose line stands out. */
  constructor(figure, sensors, group, options) {
    super(figure, group, options);
    Object.assign(this, { sensors, highlighted: null });
  }

  /** The sensors that measure this channel. */
  get lines() {
    return this.sensors.filter(({ series }) => series.channels.some(({ name, unit }) => name === this.name && unit === this.unit));
  }

  show() {
    const { canvas } = this.surface;
    const shown = this.lines.filter(({ series }) => series.times.length);
    canvas.dataset.lines = shown.map(({ id }) => id).join(" ");
    canvas.setAttribute("aria-label", `${this.name} in ${this.unit} of ${shown.map(({ id }) => id).join(", ") || "no sensor yet"}`);
    this.surface.request();
  }

  range() {
    const { name } = this;
    const values = (kind) => this.lines.flatMap(({ series }) => series[kind][name] ?? []);
    return axisRange(values("lowest"), values("highest"), values("healthy"), this.all);
  }

  paint(context, box) {
    context.beginPath();
    context.rect(box.left, box.top, box.right - box.left, box.bottom + 1 - box.top);
    context.clip();
    const shown = [...this.lines].sort((one, other) => (one.id === this.highlighted) - (other.id === this.highlighted));
    for (const { id, series, tone } of shown) {
      const faded = this.highlighted && id !== this.highlighted;
      const [lowest, highest] = [series.lowest, series.highest].map((values) => values[this.name] ?? []);
      this.path(context, series, lowest, highest, colour(tone, faded ? 0.25 : 1), series.step > 1 ? 1.1 : 1.6);
      if (!faded) this.marks(context, box, series, colour(tone));
    }
  }

  tooltip(context, box, width) {
    const x = this.axes.x(this.at);
    line(context, x, box.top, x, box.bottom, colour("faint"));
    const lines = this.lines.map(({ id, series, tone }) => ({ text: `${id}: ${this.valueAt(series)}`, tone }));
    if (this.hasPointer) drawTooltip(context, x, box.top, [{ text: formatMoment(this.at) }, ...lines], width);
  }

  valueAt(series) {
    const index = nearest(series.times, this.at);
    const [low, high] = [series.lowest, series.highest].map((values) => values[this.name]?.[index] ?? null);
    if (low === null || Math.abs(series.times[index] - this.at) > series.interval * MAX_GAP) return "no reading";
    return `${low === high ? formatValue(low) : `${formatValue(low)} to ${formatValue(high)}`} ${this.unit}`;
  }
}
