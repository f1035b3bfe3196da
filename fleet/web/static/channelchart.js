// One channel over time: the measured values, the signal without anomalies behind them, and the episodes, shaded and named.

import { Axes, drawTooltip, line } from "./axes.js";
import { formatInteger, formatMoment, formatValue, setClass, setText, withSpaces } from "./format.js";
import { nearest } from "./fleetcharts.js";
import { Navigation } from "./navigation.js";
import { colour } from "./palette.js";
import { Surface } from "./surface.js";

const MIN_EPISODE_PIXELS = 3;
const USUAL = [0.02, 0.98]; // the share of values that the axis always covers
const MAX_STRETCH = 1.6; // the axis covers all values if they need at most this many times the usual range
const MARK_PIXELS = 7;

const CHARTS_PER_AXIS = 5;

/** Whether the times are drawn below one of `count` charts: below every fifth one, and below the last. */
export const hasTimes = (index, count) => index % CHARTS_PER_AXIS === CHARTS_PER_AXIS - 1 || index === count - 1;

export class ChannelChart {
  /** `withTimes` draws the times below the chart; `point(time)` is called with the time at the pointer, null when it leaves,
   * `select(span)` with the time that is being chosen; `ranges` is moved. `all` is set by the page: the axis covers all values,
   * rather than the usual ones. So are `at` and `selected`, the times that are marked. */
  constructor(figure, series, { tone, withTimes, point, select, ranges }) {
    Object.assign(this, { series, tone, withTimes, selected: null, name: figure.dataset.channel, value: figure.querySelector(".value"), struck: figure.querySelector(".struck"), unit: figure.querySelector(".unit").textContent, at: null, hasPointer: false, all: false });
    const canvas = figure.querySelector("canvas");
    this.surface = new Surface(canvas, (...size) => this.draw(...size));
    const timeAt = (event) => this.axes?.timeAt(this.surface.position(event)[0]) ?? null;
    new Navigation(canvas, { timeAt, ranges, select });
    canvas.addEventListener("pointermove", (event) => {
      this.hasPointer = true;
      point(timeAt(event));
    });
    canvas.addEventListener("pointerleave", () => {
      this.hasPointer = false;
      point(null);
    });
    canvas.addEventListener("keydown", (event) => this.key(event, point));
    canvas.addEventListener("blur", () => point(null));
  }

  key(event, point) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const { times } = this.series;
    if (!step || !times.length || event.shiftKey) return;
    event.preventDefault();
    this.hasPointer = true;
    const index = this.at === null ? times.length - 1 : nearest(times, this.at) + step;
    point(times[Math.min(Math.max(index, 0), times.length - 1)]);
  }

  /** `latest` is the value of the last reading. */
  show(latest) {
    const text = formatValue(latest);
    setText(this.value, text);
    const canvas = this.surface.canvas;
    const shown = this.series.on(this.name);
    canvas.dataset.episodes = [...new Set(shown.map(({ type }) => type))].join(" ");
    canvas.dataset.points = this.series.times.length;
    canvas.setAttribute("aria-label", `${withSpaces(this.name)}: ${text} ${this.unit}; ${shown.reduce((sum, { episodes = 1 }) => sum + episodes, 0)} anomalies in view`);
    const episode = this.series.current(this.name);
    this.struck.hidden = !episode;
    setText(this.struck, episode ? withSpaces(episode.type) : "");
    setClass(this.struck, episode ? `struck pill ${episode.type}` : "struck pill");
    this.surface.request();
  }

  range() {
    const { lowest, highest, healthy } = this.series;
    return axisRange(lowest[this.name], highest[this.name], healthy[this.name], this.all);
  }

  draw(context, width, height) {
    const { series } = this;
    const box = { left: 62, top: 20, right: width - 4, bottom: height - (this.withTimes ? 24 : 6) };
    this.axes = new Axes(box, series.span, this.range());
    this.axes.draw(context, { times: this.withTimes, levels: 4 });
    if (this.selected) this.markSelected(context, box);
    if (!series.times.length) return;
    context.save();
    context.beginPath();
    context.rect(box.left, 0, box.right - box.left, box.bottom + 1);
    context.clip();
    this.paint(context, box);
    context.restore();
    if (this.at !== null && !this.selected) this.tooltip(context, box, width);
  }

  /** The part of the time that is being chosen. */
  markSelected(context, { left, right, top, bottom }) {
    const [from, to] = this.selected.map((time) => Math.min(Math.max(this.axes.x(time), left), right));
    context.fillStyle = colour("accent", 0.22);
    context.fillRect(from, top, to - from, bottom - top);
    for (const x of [from, to]) line(context, x, top, x, bottom, colour("accent"));
  }

  paint(context, box) {
    const { series } = this;
    this.shade(context, box);
    context.beginPath();
    context.rect(box.left, box.top, box.right - box.left, box.bottom + 1 - box.top);
    context.clip();
    const healthy = series.healthy[this.name] ?? [];
    this.path(context, series, healthy, healthy, colour("faint", 0.9), 1);
    this.path(context, series, series.lowest[this.name] ?? [], series.highest[this.name] ?? [], colour(this.tone), series.step > 1 ? 1.1 : 1.6);
    this.dots(context);
    this.marks(context, box, series, colour("text"));
  }

  shade(context, box) {
    let free = box.left;
    const { axes, series } = this;
    const half = series.interval / 2;
    for (const episode of series.on(this.name).sort((one, other) => one.from - other.from)) {
      const middle = axes.x((episode.from + episode.to) / 2);
      const wide = Math.max(axes.x(episode.to + half) - axes.x(episode.from - half), MIN_EPISODE_PIXELS);
      const left = middle - wide / 2;
      context.fillStyle = colour(episode.type, 0.17);
      context.fillRect(left, box.top - 2, wide, box.bottom - box.top + 2);
      context.fillStyle = colour(episode.type);
      context.fillRect(left, box.top - 3, wide, 2.5);
      const label = episode.episodes > 1 ? `${formatInteger(episode.episodes)} × ${withSpaces(episode.type)}` : withSpaces(episode.type);
      const long = context.measureText(label).width;
      const seen = (Math.max(left, box.left) + Math.min(left + wide, box.right)) / 2; // the middle of the part in view
      const from = Math.min(Math.max(seen - long / 2, box.left), box.right - long);
      if (from < free) continue;
      context.fillStyle = colour("text");
      context.textAlign = "left";
      context.textBaseline = "alphabetic";
      context.fillText(label, from, box.top - 6);
      free = from + long + 8;
    }
  }

  /** A line through the points, at each from its lowest to its highest value. */
  path(context, { times, interval }, lowest, highest, tone, thick) {
    context.beginPath();
    let before = null;
    lowest.forEach((low, index) => {
      const high = highest[index];
      if (low === null) {
        before = null;
        return;
      }
      const x = this.axes.x(times[index]);
      if (before === null || times[index] - before > interval * 3.5) context.moveTo(x, this.axes.y(low));
      else context.lineTo(x, this.axes.y(low));
      if (high !== low) context.lineTo(x, this.axes.y(high));
      before = times[index];
    });
    context.strokeStyle = tone;
    context.lineWidth = thick;
    context.lineJoin = "round";
    context.stroke();
  }

  /** Marks the readings that differ from the signal without anomalies, if there is room for marks. */
  dots(context) {
    const { times, step, interval } = this.series;
    const healthy = this.series.healthy[this.name] ?? [];
    if (step > 1 || this.axes.x(interval) - this.axes.x(0) < 2) return;
    const episodes = this.series.on(this.name);
    (this.series.lowest[this.name] ?? []).forEach((value, index) => {
      if (value === null || value === healthy[index]) return;
      const episode = episodes.find(({ from, to }) => times[index] >= from - 1 && times[index] <= to + 1);
      if (!episode) return;
      context.fillStyle = colour(episode.type);
      context.beginPath();
      context.arc(this.axes.x(times[index]), this.axes.y(value), 2.2, 0, 7);
      context.fill();
    });
  }

  /** Marks at the edge where values lie beyond the axis. */
  marks(context, box, { times, lowest, highest }, tone) {
    const [low, high] = this.axes.range;
    context.fillStyle = tone;
    for (const [values, isBeyond, edge, way] of [[highest, (value) => value > high, box.top, 1], [lowest, (value) => value < low, box.bottom, -1]]) {
      let free = box.left;
      (values[this.name] ?? []).forEach((value, index) => {
        const x = this.axes.x(times[index]);
        if (value === null || !isBeyond(value) || x < free) return;
        free = x + MARK_PIXELS;
        context.beginPath();
        context.moveTo(x, edge);
        context.lineTo(x - MARK_PIXELS / 2, edge + way * MARK_PIXELS);
        context.lineTo(x + MARK_PIXELS / 2, edge + way * MARK_PIXELS);
        context.fill();
      });
    }
  }

  tooltip(context, box, width) {
    const { times, lowest, highest, healthy } = this.series;
    const index = nearest(times, this.at);
    const x = this.axes.x(times[index]);
    line(context, x, box.top, x, box.bottom, colour("faint"));
    const [low, high] = [lowest, highest].map((values) => values[this.name]?.[index] ?? null);
    const clean = healthy[this.name]?.[index] ?? null;
    const text = low === high ? formatValue(low) : `${formatValue(low)} to ${formatValue(high)}`;
    const lines = [{ text: low === null ? "no reading" : `${text} ${this.unit}`, tone: this.tone }];
    if (low !== clean || high !== clean) lines.push({ text: `${formatValue(clean)} ${this.series.step > 1 ? "on average without anomalies" : "without the anomaly"}`, tone: "faint" });
    if (this.hasPointer) lines.unshift({ text: formatMoment(times[index]) });
    drawTooltip(context, x, box.top, lines, width);
  }
}

const ends = (values) => values.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, -Infinity]);

/** The range of an axis with a margin: that of all values, or, if some lie far outside and not `all` are wanted, of the usual
 * ones and of the signal without anomalies. Each list may have nulls. */
export function axisRange(lowest, highest, healthy, all) {
  const known = (values) => (values ?? []).filter((value) => value !== null);
  const [low, high, clean] = [known(lowest), known(highest), known(healthy)];
  const whole = ends([...low, ...high, ...clean]);
  if (whole[0] > whole[1]) return [0, 1];
  low.sort((one, other) => one - other);
  high.sort((one, other) => one - other);
  const usual = ends([...clean, ...(low.length ? [low[Math.floor((low.length - 1) * USUAL[0])], high[Math.ceil((high.length - 1) * USUAL[1])]] : [])]);
  const [from, to] = all || whole[1] - whole[0] <= (usual[1] - usual[0]) * MAX_STRETCH ? whole : usual;
  const margin = (to - from || Math.abs(to) * 0.01 || 1) * 0.1;
  return [from - margin, to + margin];
}
