// One channel over time: what was measured, the signal without anomalies behind it, and the episodes shaded and named.

import { Axes, line, sign } from "./axes.js";
import { clock, spaced, written } from "./format.js";
import { nearest } from "./fleetcharts.js";
import { colour } from "./palette.js";
import { Surface } from "./surface.js";

const NARROWEST = 3;

export class ChannelChart {
  /** `last` says that it has the times below; `point(time)` hears where the pointer is, null for nowhere. */
  constructor(figure, series, { tone, last, point }) {
    Object.assign(this, { series, tone, last, name: figure.dataset.channel, value: figure.querySelector(".value"), unit: figure.querySelector(".unit").textContent, at: null, own: false });
    const canvas = figure.querySelector("canvas");
    this.surface = new Surface(canvas, (...place) => this.draw(...place));
    canvas.addEventListener("pointermove", (event) => {
      this.own = true;
      point(this.axes?.timeAt(this.surface.place(event)[0]) ?? null);
    });
    canvas.addEventListener("pointerleave", () => {
      this.own = false;
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
    this.own = true;
    const place = this.at === null ? times.length - 1 : nearest(times, this.at) + step;
    point(times[Math.min(Math.max(place, 0), times.length - 1)]);
  }

  show() {
    const values = this.series.values[this.name] ?? [];
    const text = written(values.findLast((value) => value !== null));
    if (this.value.textContent !== text) this.value.textContent = text;
    const canvas = this.surface.canvas;
    const shown = this.series.on(this.name);
    canvas.dataset.episodes = shown.map(({ type }) => type).join(" ");
    canvas.setAttribute("aria-label", `${this.name}: ${text} ${this.unit}; ${shown.length} anomalies in view`);
    this.surface.request();
  }

  /** All that there is, with some air; never closer than the noise of the healthy signal. */
  range() {
    const found = [...(this.series.values[this.name] ?? []), ...(this.series.healthy[this.name] ?? [])].filter((value) => value !== null);
    const [low, high] = found.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, -Infinity]);
    if (low > high) return [0, 1];
    const air = (high - low || Math.abs(high) * 0.01 || 1) * 0.1;
    return [low - air, high + air];
  }

  draw(context, width, height) {
    const { series } = this;
    const box = { left: 62, top: 18, right: width - 4, bottom: height - (this.last ? 24 : 6) };
    this.axes = new Axes(box, series.span, this.range());
    this.axes.draw(context, { times: this.last, levels: 4 });
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
    if (this.at !== null) this.tell(context, box, width);
  }

  shade(context, box) {
    let free = box.left;
    const { axes, series } = this;
    const half = series.step / 2;
    for (const episode of series.on(this.name).sort((one, other) => one.from - other.from)) {
      const middle = axes.x((episode.from + episode.to) / 2);
      const wide = Math.max(axes.x(episode.to + half) - axes.x(episode.from - half), NARROWEST);
      const left = middle - wide / 2;
      context.fillStyle = colour(episode.type, 0.17);
      context.fillRect(left, box.top - 2, wide, box.bottom - box.top + 2);
      context.fillStyle = colour(episode.type);
      context.fillRect(left, box.top - 3, wide, 2.5);
      const label = spaced(episode.type);
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
    values.forEach((value, place) => {
      if (value === null) {
        before = null;
        return;
      }
      const [x, y] = [this.axes.x(times[place]), this.axes.y(value)];
      if (before === null || times[place] - before > step * 3.5) context.moveTo(x, y);
      else context.lineTo(x, y);
      before = times[place];
    });
    context.strokeStyle = tone;
    context.lineWidth = thick;
    context.lineJoin = "round";
    context.stroke();
  }

  /** A mark on readings that differ from the signal without anomalies, where there is room for marks. */
  dots(context) {
    const { times, step } = this.series;
    const healthy = this.series.healthy[this.name] ?? [];
    if (this.axes.x(step) - this.axes.x(0) < 2) return;
    const episodes = this.series.on(this.name);
    (this.series.values[this.name] ?? []).forEach((value, place) => {
      if (value === null || value === healthy[place]) return;
      const found = episodes.find(({ from, to }) => times[place] >= from - 1 && times[place] <= to + 1);
      if (!found) return;
      context.fillStyle = colour(found.type);
      context.beginPath();
      context.arc(this.axes.x(times[place]), this.axes.y(value), 2.2, 0, 7);
      context.fill();
    });
  }

  tell(context, box, width) {
    const { times, values, healthy } = this.series;
    const place = nearest(times, this.at);
    const x = this.axes.x(times[place]);
    line(context, x, box.top, x, box.bottom, colour("faint"));
    const value = values[this.name]?.[place] ?? null;
    const clean = healthy[this.name]?.[place] ?? null;
    const lines = [{ text: value === null ? "no reading" : `${written(value)} ${this.unit}`, tone: this.tone }];
    if (value !== clean) lines.push({ text: `${written(clean)} without the anomaly`, tone: "faint" });
    if (this.own) lines.unshift({ text: clock(times[place]) });
    sign(context, x, box.top, lines, width);
  }
}
