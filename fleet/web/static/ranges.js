// The controls above charts of channels: which time they show, and whether their axes cover all values. The time is either
// the last part of it, which moves on, or a range that was chosen.

import { formatDuration, formatInteger, formatMoment, formatTime, setText } from "./format.js";

const USUAL_SECONDS = "300";
const MIN_SPAN_MS = 1000;
const DATED_MS = 6 * 3_600_000; // a longer time is said with its dates
const HOW_TO_TYPE = "A time such as 2026-01-31 08:00:00, in UTC";

const byId = (id) => document.getElementById(id);
const iso = (time) => new Date(Math.round(time)).toISOString().replace(".000Z", "Z");
const dated = (time) => new Date(time).toISOString().slice(0, 19).replace("T", " ");

/** The time of a text such as 2026-01-31 08:00, in milliseconds; NaN of others. */
const parsed = (text) => (/^\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?Z?$/.test(text.trim()) ? Date.parse(`${text.trim().replace(" ", "T").replace(/Z?$/, text.trim().length > 10 ? "Z" : "")}`) : NaN);

export class Ranges {
  /** `shown()` returns the Series, or what stands for several, whose `span` and `bounds` are moved from. `onView(view)` and
   * `onScale(all)` are called when something else is to be shown. */
  constructor(address, { shown, onView, onScale }) {
    Object.assign(this, { address, shown, onView, onScale, buttons: [...document.querySelectorAll("[data-seconds]")], inputs: [byId("range-from"), byId("range-to")] });
    const periods = this.buttons.map((button) => button.dataset.seconds);
    this.period = address.get("seconds", periods, USUAL_SECONDS);
    this.fixed = this.fromAddress();
    this.all = address.get("scale", ["all"], "") === "all";
    for (const button of this.buttons) button.addEventListener("click", () => this.setPeriod(button.dataset.seconds));
    for (const [id, act] of Object.entries({ "all-values": () => this.setScale(!this.all), live: () => this.setPeriod(this.period), earlier: () => this.pan(-0.5), later: () => this.pan(0.5), "zoom-in": () => this.zoom(0.5), "zoom-out": () => this.zoom(2) })) byId(id).addEventListener("click", act);
    for (const input of this.inputs) input.addEventListener("change", () => this.readInputs());
    byId("csv")?.addEventListener("click", ({ currentTarget }) => this.linkCsv(currentTarget));
    this.show();
  }

  /** The range of the address, or null. */
  fromAddress() {
    const [from, to] = ["from", "to"].map((name) => Date.parse(this.address.get(name, null, "")));
    return from < to ? { from, to } : null;
  }

  /** What a Series is to show. */
  get view() {
    return this.fixed ?? { seconds: this.period === "all" ? Infinity : Number(this.period) };
  }

  /** Shows the last part of the time, `period` seconds or "all" of it. */
  setPeriod(period) {
    this.period = period;
    this.setFixed(null);
  }

  /** Shows a range, in milliseconds: as it is where nothing is known yet of what is on record, otherwise within that. */
  setWindow(from, to) {
    const { bounds } = this.shown();
    let width = Math.max(to - from, MIN_SPAN_MS);
    let begin = from;
    if (bounds) {
      width = Math.min(width, Math.max(bounds[1] - bounds[0], MIN_SPAN_MS));
      begin = Math.max(Math.min(begin, bounds[1] - width), bounds[0]);
    }
    this.setFixed({ from: Math.round(begin), to: Math.round(begin + width) });
  }

  /** Moves by a share of what is shown; negative for earlier. */
  pan(share) {
    const [from, to] = this.shown().span;
    this.setWindow(from + share * (to - from), to + share * (to - from));
  }

  /** Shows `factor` times as much time; the time `at` stays at its place, by default the middle. */
  zoom(factor, at = null) {
    const [from, to] = this.shown().span;
    const centre = at ?? (from + to) / 2;
    const least = MIN_SPAN_MS / (to - from);
    const by = Math.max(factor, Math.min(least, 1));
    this.setWindow(centre - (centre - from) * by, centre + (to - centre) * by);
  }

  setFixed(fixed) {
    this.fixed = fixed;
    this.address.set("seconds", fixed ? USUAL_SECONDS : this.period, USUAL_SECONDS);
    this.address.set("from", fixed ? iso(fixed.from) : "", "");
    this.address.set("to", fixed ? iso(fixed.to) : "", "");
    this.show();
    this.onView(this.view);
  }

  setScale(all) {
    this.address.set("scale", all ? "all" : "", "");
    this.all = all;
    this.show();
    this.onScale(all);
  }

  /** Shows the range that was typed, in UTC. The browser says what is wrong with a text. */
  readInputs() {
    const [from, to] = this.inputs.map(({ value }) => parsed(value));
    this.inputs[0].setCustomValidity(Number.isNaN(from) ? HOW_TO_TYPE : "");
    this.inputs[1].setCustomValidity(Number.isNaN(to) ? HOW_TO_TYPE : from >= to ? "It must be after the begin." : "");
    if (from < to) this.setWindow(from, to);
    else for (const input of this.inputs) input.reportValidity();
  }

  linkCsv(link) {
    const [from, to] = this.shown().span;
    link.href = `${link.dataset.path}?from=${encodeURIComponent(iso(from))}&to=${encodeURIComponent(iso(to))}`;
  }

  show() {
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(!this.fixed && button.dataset.seconds === this.period));
    byId("live").setAttribute("aria-pressed", String(!this.fixed));
    byId("all-values").setAttribute("aria-pressed", String(this.all));
  }

  /** Says which time is shown, which may be less than what was chosen, and where it begins and ends. */
  say({ times, span, step, bounds, read = 1 }) {
    const [from, to] = span;
    if (!this.inputs.includes(document.activeElement)) {
      [this.inputs[0].value, this.inputs[1].value] = [dated(from), dated(to)];
      for (const input of this.inputs) input.setCustomValidity("");
    }
    const format = to - from > DATED_MS ? dated : this.fixed ? formatMoment : formatTime;
    const text = `${format(from)} to ${format(to)} UTC: `;
    setText(byId("range"), text + (times.length ? this.extent(times, span, step) : `no reading${bounds ? `; there are some from ${dated(bounds[0])} to ${dated(bounds[1])}` : ""}`) + (read < 1 ? `, ${Math.floor(read * 100)}% read` : ""));
  }

  extent(times, [from, to], step) {
    const shown = Math.round((to - Math.max(from, times[0])) / 1000);
    const points = step > 1 ? `, ${formatInteger(step)} readings to a point, from the lowest to the highest` : "";
    const asked = this.fixed ? (to - from) / 1000 : this.view.seconds;
    if (asked === Infinity) return formatDuration(shown) + points;
    const part = shown >= asked * 0.98 ? "" : `${formatDuration(shown)} of `;
    return part + formatDuration(Math.round(asked)) + points;
  }
}
