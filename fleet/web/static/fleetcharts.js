// Throughput and anomalies by type over the last ten minutes.

import { Axes, line, sign } from "./axes.js";
import { clock, compact, spaced } from "./format.js";
import { colour } from "./palette.js";
import { Surface } from "./surface.js";

const SPAN = 600000;
const BUCKET = 5000;

class FleetChart {
  constructor(canvas) {
    Object.assign(this, { past: null, pointer: null });
    this.surface = new Surface(canvas, (...place) => this.past?.size && this.draw(...place));
    canvas.addEventListener("pointermove", (event) => this.point(this.surface.place(event)));
    canvas.addEventListener("pointerleave", () => this.point(null));
  }

  point(place) {
    this.pointer = place;
    this.surface.request();
  }

  show(past) {
    this.past = past;
    this.surface.request();
  }

  /** Axes from the begin of what there is, but never less than a minute. */
  axes(width, height, most) {
    const times = this.past.points.time_ms;
    const to = times[times.length - 1];
    const from = Math.max(to - SPAN, Math.min(times[0], to - 60000));
    const top = most * 1.12 || 1;
    return new Axes({ left: Math.max(String(compact(top)).length * 7 + 14, 38), top: 8, right: width - 2, bottom: height - 22 }, [from, to], [0, top]);
  }
}

export class Throughput extends FleetChart {
  draw(context, width, height) {
    const { time_ms: times, pace, asked } = this.past.points;
    const axes = this.axes(width, height, Math.max(...pace, ...asked));
    axes.draw(context);
    const { left, right, bottom, top } = axes.box;
    context.save();
    context.beginPath();
    context.rect(left, top - 2, right - left, bottom - top + 3);
    context.clip();
    context.beginPath();
    times.forEach((time, place) => context.lineTo(axes.x(time), axes.y(pace[place])));
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
    times.forEach((time, place) => context.lineTo(axes.x(time), axes.y(asked[place])));
    context.setLineDash([5, 4]);
    context.strokeStyle = colour("faint");
    context.lineWidth = 1.3;
    context.stroke();
    context.restore();
    if (this.pointer) this.tell(context, axes, width);
  }

  tell(context, axes, width) {
    const { time_ms: times, pace, asked } = this.past.points;
    const place = nearest(times, axes.timeAt(this.pointer[0]));
    const x = axes.x(times[place]);
    line(context, x, axes.box.top, x, axes.box.bottom, colour("faint"));
    sign(context, x, axes.box.top + 4, [{ text: clock(times[place]) }, { text: `${compact(pace[place])} readings/s written`, tone: "accent" }, { text: `${compact(asked[place])} asked for`, tone: "faint" }], width);
  }
}

export class Types extends FleetChart {
  draw(context, width, height) {
    const buckets = this.buckets();
    const kinds = Object.keys(this.past.points.anomalies);
    const axes = this.axes(width, height, Math.max(...buckets.map((bucket) => bucket.total)));
    axes.draw(context);
    const { left, right, bottom, top } = axes.box;
    context.save();
    context.beginPath();
    context.rect(left, top - 2, right - left, bottom - top + 3);
    context.clip();
    const gap = axes.x(BUCKET) - axes.x(0) > 5 ? 1.5 : 0.5;
    for (const bucket of buckets) {
      const [x, until] = [axes.x(bucket.from), axes.x(bucket.from + BUCKET)];
      let level = 0;
      for (const kind of kinds) {
        const high = axes.y(level) - axes.y(level + bucket.rates[kind]);
        level += bucket.rates[kind];
        context.fillStyle = colour(kind);
        context.fillRect(x, axes.y(level), Math.max(until - x - gap, 1), high);
      }
    }
    context.restore();
    if (this.pointer) this.tell(context, axes, buckets, width);
  }

  tell(context, axes, buckets, width) {
    const time = axes.timeAt(this.pointer[0]);
    const bucket = buckets.find(({ from }) => time >= from && time < from + BUCKET);
    if (!bucket) return;
    const lines = Object.entries(bucket.rates).filter(([, rate]) => rate > 0);
    sign(context, axes.x(bucket.from + BUCKET / 2), axes.box.top + 4, [{ text: clock(bucket.from) }, ...lines.map(([kind, rate]) => ({ text: `${rate.toFixed(1)} ${spaced(kind)}`, tone: kind }))], width);
  }

  /** Means over five seconds, on whole multiples of them, so that bars do not change their size as time goes on. */
  buckets() {
    const { time_ms: times, anomalies } = this.past.points;
    const found = new Map();
    times.forEach((time, place) => {
      const from = Math.floor(time / BUCKET) * BUCKET;
      const bucket = found.get(from) ?? { from, points: 0, rates: Object.fromEntries(Object.keys(anomalies).map((kind) => [kind, 0])) };
      bucket.points += 1;
      for (const kind of Object.keys(anomalies)) bucket.rates[kind] += anomalies[kind][place];
      found.set(from, bucket);
    });
    return [...found.values()].map((bucket) => {
      for (const kind of Object.keys(bucket.rates)) bucket.rates[kind] /= bucket.points;
      return { ...bucket, total: Object.values(bucket.rates).reduce((sum, rate) => sum + rate, 0) };
    });
  }
}

/** The place of the entry of a sorted list that is closest. */
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
