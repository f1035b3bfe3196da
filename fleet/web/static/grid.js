// The health grid: every sensor a cell, the cells fill the box however many there are. Hovering tells, clicking opens,
// Control and click (or Space) picks for the controls.

import { colour, bright } from "./palette.js";
import { measure, scaled } from "./measures.js";
import { spaced } from "./format.js";
import { Surface } from "./surface.js";

/** Columns and rows so that no place is left over where it can be avoided, and cells are about as wide as `shape` says. */
export function layout(count, width, height) {
  const shape = count <= 150 ? 1.8 : 1.05;
  let best = { columns: 1, rows: count, cost: Infinity };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const aspect = width / columns / (height / rows);
    const cost = Math.max(Math.abs(Math.log(aspect / shape)) - 0.3, 0) + (8 * (columns * rows - count)) / count;
    if (cost < best.cost) best = { columns, rows, cost };
  }
  return best;
}

export class Grid {
  /** `tell(place)` hears whom the pointer or the cursor is at, -1 for nobody; `open(place)` who is to be opened;
   * `pick(ids)` who is picked. */
  constructor(canvas, fleet, { tell, open, pick }) {
    Object.assign(this, { canvas, fleet, tell, open, pick, measure: "state", at: -1, scale: null, picked: new Set(), shape: layout(1, 1, 1) });
    this.surface = new Surface(canvas, (...place) => this.draw(...place));
    canvas.addEventListener("pointermove", (event) => this.go(this.cell(event)));
    canvas.addEventListener("pointerleave", () => this.go(-1));
    canvas.addEventListener("click", (event) => this.choose(this.cell(event), event.ctrlKey || event.metaKey || event.shiftKey));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => this.go(-1));
  }

  show() {
    const { fleet } = this;
    this.scale = this.measure === "state" ? null : scaled(fleet, measure(fleet, this.measure));
    this.canvas.dataset.cells = fleet.size;
    const told = [...fleet.moods()].map(([mood, count]) => `${count} ${mood.replace("-", " ")}`).join(", ");
    this.canvas.setAttribute("aria-label", `Health of ${fleet.size} sensors: ${told}`);
    const gone = [...this.picked].filter((id) => !fleet.places.has(id));
    for (const id of gone) this.picked.delete(id);
    if (gone.length) this.pick(this.picked);
    this.surface.request();
  }

  cell(event) {
    const [x, y] = this.surface.place(event);
    const { columns, rows } = this.shape;
    const column = Math.floor((x / this.surface.width) * columns);
    const row = Math.floor((y / this.surface.height) * rows);
    const place = row * columns + column;
    return column >= 0 && column < columns && place >= 0 && place < this.fleet.size ? place : -1;
  }

  go(place) {
    this.canvas.classList.toggle("over", place >= 0);
    if (place === this.at) return;
    this.at = place;
    this.tell(place);
    this.surface.request();
  }

  choose(place, picking) {
    if (place < 0) return;
    if (!picking) this.open(place);
    else {
      const id = this.fleet.ids[place];
      if (!this.picked.delete(id)) this.picked.add(id);
      this.pick(this.picked);
      this.surface.request();
    }
  }

  key(event) {
    const { columns } = this.shape;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -Infinity, End: Infinity };
    if (event.key in steps) {
      const next = this.at < 0 ? 0 : this.at + steps[event.key];
      this.go(Math.min(Math.max(next, 0), this.fleet.size - 1));
    } else if (event.key === "Enter") this.choose(this.at, false);
    else if (event.key === " ") this.choose(this.at, true);
    else return;
    event.preventDefault();
  }

  draw(context, width, height) {
    const { fleet } = this;
    if (!fleet.snapshot) return;
    this.shape = layout(fleet.size, width, height);
    const { columns, rows } = this.shape;
    const [wide, high] = [width / columns, height / rows];
    const gap = Math.min(wide, high) > 40 ? 6 : Math.min(wide, high) > 12 ? 3 : Math.min(wide, high) > 5 ? 1.5 : 0.5;
    const box = { wide: wide - gap, high: high - gap, round: Math.min((Math.min(wide, high) - gap) * 0.22, 8) };
    const labelled = box.wide >= 74 && box.high >= 34;
    for (let place = 0; place < fleet.size; place += 1) {
      const x = (place % columns) * wide + gap / 2;
      const y = Math.floor(place / columns) * high + gap / 2;
      if (labelled) this.card(context, place, x, y, box);
      else this.spot(context, place, x, y, box);
      if (fleet.justRestarted(place)) outline(context, x, y, box, colour("restarting"));
      if (this.picked.has(fleet.ids[place])) outline(context, x, y, box, colour("accent"));
      if (place === this.at) outline(context, x, y, box, colour("text"));
    }
  }

  spot(context, place, x, y, { wide, high, round }) {
    const told = this.scale?.colours[place];
    context.fillStyle = told ? `rgb(${told.join(" ")})` : this.scale ? colour("edge") : colour(this.fleet.mood(place));
    if (round < 1.2) {
      context.fillRect(x, y, wide, high);
      return;
    }
    context.beginPath();
    context.roundRect(x, y, wide, high, round);
    context.fill();
  }

  /** A cell that is large enough to say who it is. */
  card(context, place, x, y, { wide, high, round }) {
    const { fleet, scale } = this;
    const told = scale?.colours[place];
    const tone = fleet.mood(place);
    context.beginPath();
    context.roundRect(x + 0.5, y + 0.5, wide - 1, high - 1, round);
    context.fillStyle = told ? `rgb(${told.join(" ")})` : scale ? colour("edge") : colour(tone, tone === "healthy" ? 0.2 : 0.34);
    context.fill();
    if (!scale) {
      context.strokeStyle = colour(tone, 0.75);
      context.lineWidth = 1;
      context.stroke();
    }
    const ink = told ? (bright(told) ? "#10161f" : "#ffffff") : colour("text");
    const kind = fleet.kind(place);
    const below = scale
      ? scale.values[place] === null ? "–" : measure(fleet, this.measure).show(scale.values[place])
      : fleet.state(place) === "healthy" && kind ? spaced(kind) : fleet.state(place);
    const middle = y + high / 2;
    context.save();
    context.beginPath();
    context.rect(x + 6, y, wide - 12, high);
    context.clip();
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.fillStyle = ink;
    context.font = `600 ${wide > 110 ? 12 : 11}px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif`;
    context.fillText(fleet.ids[place], x + 10, middle - 8);
    context.globalAlpha = 0.78;
    context.font = '11px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
    context.fillText(below, x + 10, middle + 8);
    context.restore();
  }
}

function outline(context, x, y, { wide, high, round }, tone) {
  context.beginPath();
  context.roundRect(x - 1, y - 1, wide + 2, high + 2, round + 1);
  context.strokeStyle = tone;
  context.lineWidth = 2;
  context.stroke();
}
