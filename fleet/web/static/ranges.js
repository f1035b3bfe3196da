// The buttons above charts of channels: how far back they go, and whether their axes cover all values.

import { formatDuration, formatInteger, formatTime, setText } from "./format.js";

const USUAL_SECONDS = "300";

export class Ranges {
  /** `onPeriod(seconds)` and `onScale(all)` are called when a button is pressed. */
  constructor(address, { onPeriod, onScale }) {
    Object.assign(this, { address, onPeriod, onScale, buttons: [...document.querySelectorAll("[data-seconds]")], allValues: document.getElementById("all-values") });
    const periods = this.buttons.map((button) => button.dataset.seconds);
    this.seconds = Number(address.get("seconds", periods, USUAL_SECONDS));
    this.all = address.get("scale", ["all"], "") === "all";
    for (const button of this.buttons) button.addEventListener("click", () => this.setPeriod(button.dataset.seconds));
    this.allValues.addEventListener("click", () => this.setScale(!this.all));
    this.show();
  }

  setPeriod(seconds) {
    this.address.set("seconds", seconds, USUAL_SECONDS);
    this.seconds = Number(seconds);
    this.show();
    this.onPeriod(this.seconds);
  }

  setScale(all) {
    this.address.set("scale", all ? "all" : "", "");
    this.all = all;
    this.show();
    this.onScale(all);
  }

  show() {
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(Number(button.dataset.seconds) === this.seconds));
    this.allValues.setAttribute("aria-pressed", String(this.all));
  }

  /** Says which time is shown, which may be less than what was chosen. `series` has `times`, `span` and `step`. */
  say({ times, span, step }) {
    if (!times.length) return;
    const [from, to] = span;
    const shown = Math.round((to - Math.max(from, times[0])) / 1000);
    const points = step > 1 ? `, ${formatInteger(step)} readings to a point, from the lowest to the highest` : "";
    const whole = shown >= this.seconds * 0.98 ? "" : ` of ${formatDuration(this.seconds)}`;
    setText(document.getElementById("range"), `${formatTime(from)} to ${formatTime(to)} UTC: ${formatDuration(shown)}${whole}${points}`);
  }
}
