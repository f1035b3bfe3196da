// What the colours of the grid mean: the states that there are, with their counts, or the ends of a scale.

import { element, spaced, whole } from "./format.js";
import { measure } from "./measures.js";
import { ramp } from "./palette.js";

const ORDER = ["healthy", "in-anomaly", "pending", "starting", "restarting", "unready", "hung", "failed", "paused", "done", "stopped", "absent"];

export class Legend {
  constructor(node) {
    Object.assign(this, { node, said: "" });
  }

  show(fleet, grid) {
    if (grid.scale) this.scale(grid.scale, measure(fleet, grid.measure));
    else this.states(fleet.moods());
  }

  states(moods) {
    const told = ORDER.filter((mood) => moods.has(mood)).map((mood) => [mood, `${spaced(mood.replace("-", " "))} ${whole(moods.get(mood))}`]);
    const said = JSON.stringify(told);
    if (said === this.said) return;
    this.said = said;
    this.node.replaceChildren(...told.map(([mood, text]) => {
      const key = element("span", "key", text);
      key.style.setProperty("--tone", `var(--${mood})`);
      return key;
    }));
  }

  scale({ low, high }, { unit, show }) {
    const said = `${show(low)} ${show(high)} ${unit}`;
    if (said === this.said) return;
    this.said = said;
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
