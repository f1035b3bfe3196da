// Throughput and anomalies by type over the last ten minutes.

import { Axes, drawTooltip, line } from "./axes.js";
import { formatCompact, formatTime, withSpaces } from "./format.js";
import { colour } from "./palette.js";
import { Surface } from "./surface.js";

const SPAN_MS = 600000;
const BUCKET_MS = 5000;

class FleetChart {
  constructor(canvas) {
    Object.assign(this, { history: null, pointer: null });
    this.surface = new Surface(canvas, (...size) => this.history?.size && this.draw(...size));
    canvas.addEventListener("pointermove", (event) => this.point(this.surface.position(event)));
    canvas.addEventListener("pointerleave", () => this.point(null));
  }

  point(position) {
    this.pointer = position;
    this.surface.request();
  }

  show(history) {
    this.history = history;
    this.surface.request();
  }

  /** The axes: ten minutes, or less from the first point on, but at least one minute. */
  axes(width, height, highest) {
    const times = this.history.points.time_ms;
    const to = times[times.length - 1];
    const from = Math.max(to - SPAN_MS, Math.min(times[0], to - 60000));
    const top = highest * 1.12 || 1;
    return new Axes({ left: Math.max(String(formatCompact(top)).length * 7 + 14, 38), top: 8, right: width - 2, bottom: height - 22 }, [from, to], [0, top]);
  }
}

export class Throughput extends FleetChart {
  draw(context, width, height) {
    const { time_ms: times, pace, asked } = this.history.points;
    const axes = this.axes(width, height, Math.max(...pace, ...asked));
    axes.draw(context);
    const { left, right, bottom, top } = axes.box;
    context.save();
    context.beginPath();
    context.rect(left, top - 2, right - left, bottom - top + 3);
    context.clip();
    context.beginPath();
    times.forEach((time, index) => context.lineTo(axes.x(time), axes.y(pace[index])));
    context.strokeStyle = colour("accent");
    context.lineWidth = 1.8;
    context.lineJoin = "round";
    context.stroke();
    context.lineTo(axes.x(times[times.length - 1]), bottom);
    context.lineTo(axes.x(times[0]), bottom);
    const shade = context.createLinearGradient(0, top, 0, bottom);
    shade.addColorStop(0, colour("accent", 0.3));
    shade.addColorStop(1, colour("accent", 0.03));
    context.fillStyle = shade;
    context.fill();
    context.beginPath();
    times.forEach((time, index) => context.lineTo(axes.x(time), axes.y(asked[index])));
    context.setLineDash([5, 4]);
    context.strokeStyle = colour("faint");
    context.lineWidth = 1.3;
    context.stroke();
    context.restore();
    if (this.pointer) this.tooltip(context, axes, width);
  }

  tooltip(context, axes, width) {
    const { time_ms: times, pace, asked } = this.history.points;
    const index = nearest(times, axes.timeAt(this.pointer[0]));
    const x = axes.x(times[index]);
    line(context, x, axes.box.top, x, axes.box.bottom, colour("faint"));
    drawTooltip(context, x, axes.box.top + 4, [{ text: formatTime(times[index]) }, { text: `${formatCompact(pace[index])} readings/s written`, tone: "accent" }, { text: `${formatCompact(asked[index])} asked for`, tone: "faint" }], width);
  }
}

export class Types extends FleetChart {
  draw(context, width, height) {
    const buckets = this.buckets();
    const kinds = Object.keys(this.history.points.anomalies);
    const axes = this.axes(width, height, Math.max(...buckets.map((bucket) => bucket.total)));
    axes.draw(context);
    const { left, right, bottom, top } = axes.box;
    context.save();
    context.beginPath();
    context.rect(left, top - 2, right - left, bottom - top + 3);
    context.clip();
    const gap = axes.x(BUCKET_MS) - axes.x(0) > 5 ? 1.5 : 0.5;
    for (const bucket of buckets) {
      const [x, until] = [axes.x(bucket.from), axes.x(bucket.from + BUCKET_MS)];
      let level = 0;
      for (const kind of kinds) {
        const high = axes.y(level) - axes.y(level + bucket.rates[kind]);
        level += bucket.rates[kind];
        context.fillStyle = colour(kind);
        context.fillRect(x, axes.y(level), Math.max(until - x - gap, 1), high);
      }
    }
    context.restore();
    if (this.pointer) this.tooltip(context, axes, buckets, width);
  }

  tooltip(context, axes, buckets, width) {
    const time = axes.timeAt(this.pointer[0]);
    const bucket = buckets.find(({ from }) => time >= from && time < from + BUCKET_MS);
    if (!bucket) return;
    const lines = Object.entries(bucket.rates).filter(([, rate]) => rate > 0);
    drawTooltip(context, axes.x(bucket.from + BUCKET_MS / 2), axes.box.top + 4, [{ text: formatTime(bucket.from) }, ...lines.map(([kind, rate]) => ({ text: `${rate.toFixed(1)} ${withSpaces(kind)}`, tone: kind }))], width);
  }

  /** Means over intervals of five seconds that begin at multiples of five seconds, so that a bar keeps its height. */
  buckets() {
    const { time_ms: times, anomalies } = this.history.points;
    const buckets = new Map();
    times.forEach((time, index) => {
      const from = Math.floor(time / BUCKET_MS) * BUCKET_MS;
      const bucket = buckets.get(from) ?? { from, points: 0, rates: Object.fromEntries(Object.keys(anomalies).map((kind) => [kind, 0])) };
      bucket.points += 1;
      for (const kind of Object.keys(anomalies)) bucket.rates[kind] += anomalies[kind][index];
      buckets.set(from, bucket);
    });
    return [...buckets.values()].map((bucket) => {
      for (const kind of Object.keys(bucket.rates)) bucket.rates[kind] /= bucket.points;
      return { ...bucket, total: Object.values(bucket.rates).reduce((sum, rate) => sum + rate, 0) };
    });
  }
}

/** The index of the closest entry of a sorted list. */
export function nearest(sorted, value) {
  let low = 0;
  let high = sorted.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low > 0 && value - sorted[low - 1] < sorted[low] - value ? low - 1 : low;
}
