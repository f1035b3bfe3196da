// A line without axes under a key figure, which shows its course.

import { colour } from "./palette.js";
import { Surface } from "./surface.js";

const MAX_POINTS = 180;

export class Sparkline {
  /** `tone` names a colour. */
  constructor(canvas, tone) {
    Object.assign(this, { tone, values: [] });
    this.surface = new Surface(canvas, (...size) => this.draw(...size));
  }

  show(values) {
    this.values = values.slice(-MAX_POINTS).filter((value) => value !== null);
    this.surface.request();
  }

  draw(context, width, height) {
    const { values } = this;
    if (values.length < 2) return;
    const highest = Math.max(...values);
    const span = highest * 1.08 || 1;
    const step = width / (values.length - 1);
    const y = (value) => height - 1.5 - (value / span) * (height - 5);
    context.beginPath();
    values.forEach((value, index) => context.lineTo(index * step, y(value)));
    const tone = highest > 0 ? this.tone : "faint";
    context.strokeStyle = colour(tone);
    context.lineWidth = 1.5;
    context.lineJoin = "round";
    context.stroke();
    context.lineTo(width, height);
    context.lineTo(0, height);
    const shade = context.createLinearGradient(0, 0, 0, height);
    shade.addColorStop(0, colour(tone, 0.26));
    shade.addColorStop(1, colour(tone, 0.02));
    context.fillStyle = shade;
    context.fill();
  }
}
