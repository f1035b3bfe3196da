// The health grid: one cell per sensor; the cells fill the box. Hovering describes a sensor, clicking opens its page,
// Control and click (or Space) picks it for the controls.

import { bright, colour } from "./palette.js";
import { measure, scaled } from "./measures.js";
import { withSpaces } from "./format.js";
import { Surface } from "./surface.js";

const CARD_FONT = '600 11px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
const CARD_GAP = 6;
const CARD_PADDING = 8;
const MIN_CARD_HEIGHT = 32;
const MIN_SPARK_HEIGHT = 74; // a card with room for a sparkline below its two lines

/** Columns and rows with few unused cells, whose cells have about the aspect ratio `shape` and at least a size; null if
 * they cannot have that. */
export function layout(count, width, height, [minWidth, minHeight] = [0, 0]) {
  const shape = count <= 150 ? 1.8 : 1.05;
  let best = null;
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    if (width / columns < minWidth || height / rows < minHeight) continue;
    const aspect = width / columns / (height / rows);
    const cost = Math.max(Math.abs(Math.log(aspect / shape)) - 0.3, 0) + (8 * (columns * rows - count)) / count;
    if (!best || cost < best.cost) best = { columns, rows, cost };
  }
  return best;
}

export class Grid {
  /** `onPoint(index)` is called with the sensor at the pointer or cursor, -1 for none; `open(index)` opens a page;
   * `pick(ids)` is called with all picked sensors. */
  constructor(canvas, fleet, { onPoint, open, pick }) {
    Object.assign(this, { canvas, fleet, onPoint, open, pick, measure: "state", at: -1, scale: null, picked: new Set(), shape: layout(1, 1, 1), trends: null });
    this.surface = new Surface(canvas, (...size) => this.draw(...size));
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
    const counts = [...fleet.displayStateCounts()].map(([displayState, count]) => `${count} ${displayState.replace("-", " ")}`).join(", ");
    this.canvas.setAttribute("aria-label", `Health of ${fleet.size} sensors: ${counts}`);
    const removed = [...this.picked].filter((id) => !fleet.indexById.has(id));
    for (const id of removed) this.picked.delete(id);
    if (removed.length) this.pick(this.picked);
    this.surface.request();
  }

  cell(event) {
    const [x, y] = this.surface.position(event);
    const { columns, rows } = this.shape;
    const column = Math.floor((x / this.surface.width) * columns);
    const row = Math.floor((y / this.surface.height) * rows);
    const index = row * columns + column;
    return column >= 0 && column < columns && index >= 0 && index < this.fleet.size ? index : -1;
  }

  go(index) {
    this.canvas.classList.toggle("over", index >= 0);
    if (index === this.at) return;
    this.at = index;
    this.onPoint(index);
    this.surface.request();
  }

  choose(index, picking) {
    if (index < 0) return;
    if (!picking) this.open(index);
    else {
      const id = this.fleet.ids[index];
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
    const cards = layout(fleet.size, width, height, [this.idWidth(context) + 2 * CARD_PADDING + CARD_GAP, MIN_CARD_HEIGHT + CARD_GAP]);
    this.shape = cards ?? layout(fleet.size, width, height);
    const { columns, rows } = this.shape;
    const [wide, high] = [width / columns, height / rows];
    const gap = cards ? CARD_GAP : Math.min(wide, high) > 12 ? 3 : Math.min(wide, high) > 5 ? 1.5 : 0.5;
    const box = { wide: wide - gap, high: high - gap, round: Math.min((Math.min(wide, high) - gap) * 0.22, 8) };
    const labelled = cards !== null;
    this.canvas.dataset.sparklines = Boolean(labelled && this.trends?.size && box.high >= MIN_SPARK_HEIGHT);
    this.canvas.dataset.cards = labelled;
    for (let index = 0; index < fleet.size; index += 1) {
      const x = (index % columns) * wide + gap / 2;
      const y = Math.floor(index / columns) * high + gap / 2;
      if (labelled) this.card(context, index, x, y, box);
      else this.spot(context, index, x, y, box);
      if (fleet.justRestarted(index)) outline(context, x, y, box, colour("restarting"));
      if (this.picked.has(fleet.ids[index])) outline(context, x, y, box, colour("accent"));
      if (index === this.at) outline(context, x, y, box, colour("text"));
    }
  }

  /** The width of the longest id, measured again when the sensors are others. */
  idWidth(context) {
    if (this.measured !== this.fleet.ids) {
      this.measured = this.fleet.ids;
      context.font = CARD_FONT;
      const longest = Math.max(...this.fleet.ids.map((id) => id.length));
      this.widest = Math.max(...this.fleet.ids.filter((id) => id.length >= longest - 2).map((id) => context.measureText(id).width));
    }
    return this.widest;
  }

  spot(context, index, x, y, { wide, high, round }) {
    const rgb = this.scale?.colours[index];
    context.fillStyle = rgb ? `rgb(${rgb.join(" ")})` : this.scale ? colour("edge") : colour(this.fleet.displayState(index));
    if (round < 1.2) {
      context.fillRect(x, y, wide, high);
      return;
    }
    context.beginPath();
    context.roundRect(x, y, wide, high, round);
    context.fill();
  }

  /** A cell that is large enough for the id of its sensor. */
  card(context, index, x, y, { wide, high, round }) {
    const { fleet, scale } = this;
    const rgb = scale?.colours[index];
    const tone = fleet.displayState(index);
    context.beginPath();
    context.roundRect(x + 0.5, y + 0.5, wide - 1, high - 1, round);
    context.fillStyle = rgb ? `rgb(${rgb.join(" ")})` : scale ? colour("edge") : colour(tone, tone === "healthy" ? 0.2 : 0.34);
    context.fill();
    if (!scale) {
      context.strokeStyle = colour(tone, 0.75);
      context.lineWidth = 1;
      context.stroke();
    }
    const ink = rgb ? (bright(rgb) ? "#000000" : "#ffffff") : colour("text");
    const kind = fleet.kind(index);
    const chosen = scale && measure(fleet, this.measure);
    const below = scale
      ? scale.values[index] === null ? "–" : `${chosen.show(scale.values[index])} ${chosen.unit}`
      : fleet.state(index) === "healthy" && kind ? withSpaces(kind) : fleet.state(index);
    const sparkline = this.trends?.size && high >= MIN_SPARK_HEIGHT;
    const middle = sparkline ? y + 24 : y + high / 2;
    context.save();
    context.beginPath();
    context.rect(x + 2, y, wide - 4, high);
    context.clip();
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.fillStyle = ink;
    context.font = CARD_FONT;
    context.fillText(fleet.ids[index], x + CARD_PADDING, middle - 7);
    if (!rgb) context.globalAlpha = 0.78;
    context.font = '11px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
    const room = wide - 2 * CARD_PADDING;
    const value = sparkline && !scale ? this.trends.text(fleet.ids[index]) : "";
    const fits = context.measureText(`${below}  ${value}`).width <= room;
    const isValueOnly = value && !fits && below === "healthy"; // the colour says so, too
    if (!isValueOnly) context.fillText(elided(context, below, room), x + CARD_PADDING, middle + 7);
    if (value && (fits || isValueOnly)) {
      context.textAlign = "right";
      context.fillText(elided(context, value, room), x + wide - CARD_PADDING, middle + 7);
    }
    if (sparkline) this.trends.draw(context, fleet.ids[index], { x: x + CARD_PADDING, y: middle + 20, wide: wide - 2 * CARD_PADDING, high: y + high - middle - 26 }, ink);
    context.restore();
  }
}

/** The text, cut to a width with an ellipsis. */
function elided(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let end = text.length;
  while (end > 1 && context.measureText(`${text.slice(0, end)}…`).width > width) end -= 1;
  return `${text.slice(0, end)}…`;
}

function outline(context, x, y, { wide, high, round }, tone) {
  context.beginPath();
  context.roundRect(x - 1, y - 1, wide + 2, high + 2, round + 1);
  context.strokeStyle = tone;
  context.lineWidth = 2;
  context.stroke();
}
