// The axes of a chart over time: grid lines, values on the left, times below.

import { formatTime, ticks } from "./format.js";
import { colour } from "./palette.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
const STEPS_MS = [100, 200, 500, ...[1, 2, 5, 10, 15, 30].map((seconds) => seconds * 1000), ...[1, 2, 3, 5, 10, 15, 30].map((minutes) => minutes * MINUTE_MS), ...[1, 2, 3, 6, 12].map((hours) => hours * HOUR_MS), ...[1, 2, 7, 14, 28, 56, 112, 224].map((days) => days * DAY_MS)];
const LABEL_PIXELS = 86;

/** The label of a time on an axis with steps of that size; at midnight, the day. */
function label(time, step) {
  if (step >= HOUR_MS && time % DAY_MS === 0) return new Date(time).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
  return step >= MINUTE_MS * 30 ? formatTime(time).slice(0, 5) : formatTime(time);
}

export class Axes {
  /** `box` is {left, top, right, bottom} of the drawing area, `time` [from, to] in milliseconds, `range` [low, high]. */
  constructor(box, time, range) {
    Object.assign(this, { box, time, range });
  }

  x(time) {
    const [from, to] = this.time;
    return this.box.left + ((time - from) / (to - from || 1)) * (this.box.right - this.box.left);
  }

  y(value) {
    const [low, high] = this.range;
    return this.box.bottom - ((value - low) / (high - low || 1)) * (this.box.bottom - this.box.top);
  }

  timeAt(x) {
    const [from, to] = this.time;
    return from + ((x - this.box.left) / (this.box.right - this.box.left || 1)) * (to - from);
  }

  draw(context, { times = true, levels = 4 } = {}) {
    const { left, top, right, bottom } = this.box;
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const { value, text } of ticks(this.range[0], this.range[1], levels)) {
      const y = Math.round(this.y(value)) + 0.5;
      if (y < top - 1 || y > bottom + 1) continue;
      line(context, left, y, right, y, colour("grid-line"));
      context.fillStyle = colour("quiet");
      context.fillText(text, left - 8, y);
    }
    const [from, to] = this.time;
    const step = STEPS_MS.find((size) => ((right - left) * size) / (to - from || 1) >= LABEL_PIXELS) ?? STEPS_MS.at(-1);
    context.textAlign = "center";
    for (let time = Math.ceil(from / step) * step; time <= to; time += step) {
      const x = Math.round(this.x(time)) + 0.5;
      line(context, x, top, x, bottom, colour("grid-line"));
      if (!times || x < left + 22 || x > right - 22) continue;
      context.fillStyle = colour("quiet");
      context.fillText(label(time, step), x, bottom + 12);
    }
  }
}

export function line(context, x1, y1, x2, y2, tone) {
  context.strokeStyle = tone;
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
}

/** Draws a tooltip with lines of text beside a point, within `width`. */
export function drawTooltip(context, x, y, lines, width) {
  context.font = '11px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
  const wide = Math.max(...lines.map(({ text }) => context.measureText(text).width)) + 30;
  const high = lines.length * 16 + 10;
  const left = x + 12 + wide > width ? x - 12 - wide : x + 12;
  context.beginPath();
  context.roundRect(left, y, wide, high, 7);
  context.fillStyle = colour("panel", 0.96);
  context.fill();
  context.strokeStyle = colour("edge");
  context.lineWidth = 1;
  context.stroke();
  context.textAlign = "left";
  context.textBaseline = "middle";
  lines.forEach(({ text, tone }, index) => {
    const middle = y + 13 + index * 16;
    if (tone) {
      context.fillStyle = colour(tone);
      context.fillRect(left + 9, middle - 4, 8, 8);
    }
    context.fillStyle = colour(tone ? "text" : "quiet");
    context.fillText(text, left + (tone ? 22 : 9), middle);
  });
}
