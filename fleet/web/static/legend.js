// The legend of the grid: the states that occur, with their counts, or the ends of a scale.

import { element, formatInteger, withSpaces } from "./format.js";
import { measure } from "./measures.js";
import { ramp } from "./palette.js";

const ORDER = ["healthy", "in-anomaly", "backfilling", "pending", "starting", "restarting", "unready", "hung", "failed", "paused", "done", "stopped", "absent"];

export class Legend {
  constructor(node) {
    Object.assign(this, { node, key: "" });
  }

  show(fleet, grid) {
    if (grid.scale) this.scale(grid.scale, measure(fleet, grid.measure));
    else this.states(fleet.displayStateCounts());
  }

  states(displayStateCounts) {
    const entries = ORDER.filter((state) => displayStateCounts.has(state)).map((state) => [state, `${withSpaces(state.replace("-", " "))} ${formatInteger(displayStateCounts.get(state))}`]);
    const key = JSON.stringify(entries);
    if (key === this.key) return;
    this.key = key;
    this.node.replaceChildren(...entries.map(([state, text]) => {
      const node = element("span", "key", text);
      node.style.setProperty("--tone", `var(--${state})`);
      return node;
    }));
  }

  scale({ low, high }, { unit, show }) {
    const key = `${show(low)} ${show(high)} ${unit}`;
    if (key === this.key) return;
    this.key = key;
    const bar = document.createElement("canvas");
    bar.width = 110;
    bar.height = 9;
    const context = bar.getContext("2d");
    for (let x = 0; x < bar.width; x += 1) {
      context.fillStyle = `rgb(${ramp(x / bar.width).join(" ")})`;
      context.fillRect(x, 0, 1, bar.height);
    }
    this.node.replaceChildren(element("span", "", show(low)), bar, element("span", "", `${show(high)} ${unit}`));
  }
}
