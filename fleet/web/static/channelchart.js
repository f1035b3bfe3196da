// One channel over time: the measured values, the signal without anomalies behind them, and the episodes, shaded and named.

import { Axes, drawTooltip, line } from "./axes.js";
import { formatTime, formatValue, withSpaces } from "./format.js";
import { nearest } from "./fleetcharts.js";
import { colour } from "./palette.js";
import { Surface } from "./surface.js";

const MIN_EPISODE_PIXELS = 3;

export class ChannelChart {
  /** `withTimes` draws the times below the chart; `point(time)` is called with the time at the pointer, null when it leaves. */
  constructor(figure, series, { tone, withTimes, point }) {
    Object.assign(this, { series, tone, withTimes, name: figure.dataset.channel, value: figure.querySelector(".value"), unit: figure.querySelector(".unit").textContent, at: null, hasPointer: false });
    const canvas = figure.querySelector("canvas");
    this.surface = new Surface(canvas, (...size) => this.draw(...size));
    canvas.addEventListener("pointermove", (event) => {
      this.hasPointer = true;
      point(this.axes?.timeAt(this.surface.position(event)[0]) ?? null);
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
    if (!step || !times.length) return;
    event.preventDefault();
    this.hasPointer = true;
    const index = this.at === null ? times.length - 1 : nearest(times, this.at) + step;
    point(times[Math.min(Math.max(index, 0), times.length - 1)]);
  }

  show() {
    const values = this.series.values[this.name] ?? [];
    const text = formatValue(values.findLast((value) => value !== null));
    if (this.value.textContent !== text) this.value.textContent = text;
    const canvas = this.surface.canvas;
    const shown = this.series.on(this.name);
    canvas.dataset.episodes = shown.map(({ type }) => type).join(" ");
    canvas.setAttribute("aria-label", `${this.name}: ${text} ${this.unit}; ${shown.length} anomalies in view`);
    this.surface.request();
  }

  /** The range of all values and of the signal without anomalies, with a margin. */
  range() {
    const values = [...(this.series.values[this.name] ?? []), ...(this.series.healthy[this.name] ?? [])].filter((value) => value !== null);
    const [low, high] = values.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, -Infinity]);
    if (low > high) return [0, 1];
    const margin = (high - low || Math.abs(high) * 0.01 || 1) * 0.1;
    return [low - margin, high + margin];
  }

  draw(context, width, height) {
    const { series } = this;
    const box = { left: 62, top: 18, right: width - 4, bottom: height - (this.withTimes ? 24 : 6) };
    this.axes = new Axes(box, series.span, this.range());
    this.axes.draw(context, { times: this.withTimes, levels: 4 });
    if (!series.times.length) return;
    context.save();
    context.beginPath();
    context.rect(box.left, 0, box.right - box.left, box.bottom + 1);
    context.clip();
    this.shade(context, box);
    this.path(context, series.healthy[this.name] ?? [], colour("faint", 0.9), 1);
    this.path(context, series.values[this.name] ?? [], colour(this.tone), 1.6);
    this.dots(context);
    context.restore();
    if (this.at !== null) this.tooltip(context, box, width);
  }

  shade(context, box) {
    let free = box.left;
    const { axes, series } = this;
    const half = series.step / 2;
    for (const episode of series.on(this.name).sort((one, other) => one.from - other.from)) {
      const middle = axes.x((episode.from + episode.to) / 2);
      const wide = Math.max(axes.x(episode.to + half) - axes.x(episode.from - half), MIN_EPISODE_PIXELS);
      const left = middle - wide / 2;
      context.fillStyle = colour(episode.type, 0.17);
      context.fillRect(left, box.top - 2, wide, box.bottom - box.top + 2);
      context.fillStyle = colour(episode.type);
      context.fillRect(left, box.top - 3, wide, 2.5);
      const label = withSpaces(episode.type);
      const long = context.measureText(label).width;
      const from = Math.min(Math.max(middle - long / 2, box.left), box.right - long);
      if (from < free) continue;
      context.textAlign = "left";
      context.textBaseline = "alphabetic";
      context.fillText(label, from, box.top - 6);
      free = from + long + 8;
    }
  }

  path(context, values, tone, thick) {
    const { times, step } = this.series;
    context.beginPath();
    let before = null;
    values.forEach((value, index) => {
      if (value === null) {
        before = null;
        return;
      }
      const [x, y] = [this.axes.x(times[index]), this.axes.y(value)];
      if (before === null || times[index] - before > step * 3.5) context.moveTo(x, y);
      else context.lineTo(x, y);
      before = times[index];
    });
    context.strokeStyle = tone;
    context.lineWidth = thick;
    context.lineJoin = "round";
    context.stroke();
  }

  /** Marks the readings that differ from the signal without anomalies, if there is room for marks. */
  dots(context) {
    const { times, step } = this.series;
    const healthy = this.series.healthy[this.name] ?? [];
    if (this.axes.x(step) - this.axes.x(0) < 2) return;
    const episodes = this.series.on(this.name);
    (this.series.values[this.name] ?? []).forEach((value, index) => {
      if (value === null || value === healthy[index]) return;
      const episode = episodes.find(({ from, to }) => times[index] >= from - 1 && times[index] <= to + 1);
      if (!episode) return;
      context.fillStyle = colour(episode.type);
      context.beginPath();
      context.arc(this.axes.x(times[index]), this.axes.y(value), 2.2, 0, 7);
      context.fill();
    });
  }

  tooltip(context, box, width) {
    const { times, values, healthy } = this.series;
    const index = nearest(times, this.at);
    const x = this.axes.x(times[index]);
    line(context, x, box.top, x, box.bottom, colour("faint"));
    const value = values[this.name]?.[index] ?? null;
    const clean = healthy[this.name]?.[index] ?? null;
    const lines = [{ text: value === null ? "no reading" : `${formatValue(value)} ${this.unit}`, tone: this.tone }];
    if (value !== clean) lines.push({ text: `${formatValue(clean)} without the anomaly`, tone: "faint" });
    if (this.hasPointer) lines.unshift({ text: formatTime(times[index]) });
    drawTooltip(context, x, box.top, lines, width);
  }
}
