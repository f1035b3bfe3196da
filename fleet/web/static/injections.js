// The injections that run or are planned, each with a button that takes it back, and the probabilities that are set.

import { element, formatInteger, formatMoment, setText, withSpaces } from "./format.js";
import { Feed, fetchJson } from "./feed.js";

export class Injections {
  /** Shows those into one sensor, or all. `cancel(injection)` takes one back. */
  constructor(sensor, cancel) {
    Object.assign(this, { cancel, key: "", list: document.getElementById("injections"), overrides: document.getElementById("overrides"), probability: document.getElementById("probability") });
    this.path = `/api/injections${sensor ? `?sensor=${encodeURIComponent(sensor)}` : ""}`;
    this.feed = new Feed(() => this.path, 2000, (answer) => this.show(answer));
  }

  /** Shows at once what a command has changed; the feed comes by later. */
  async update() {
    this.show(await fetchJson(this.path).catch(() => ({ injections: [] })));
  }

  show({ injections, probabilities = 0, probability_range: range = null }) {
    const open = injections.filter(({ state }) => ["planned", "running"].includes(state));
    const key = JSON.stringify(open);
    if (key !== this.key) {
      this.key = key;
      this.list.replaceChildren(...open.map((injection) => this.entry(injection)));
    }
    if (!this.overrides) return;
    this.overrides.hidden = !range;
    const shares = range && (range[0] === range[1] ? `${range[0]}` : `${range[0]} to ${range[1]}`);
    this.probability.placeholder = range ? `set: ${shares}` : "by config";
    if (!range) return;
    setText(this.overrides, `${shares} is set for ${probabilities === 1 ? "1 sensor" : `${formatInteger(probabilities)} sensors`}, whatever the config says. Set an empty field to remove it.`);
  }

  entry(injection) {
    const { id, type, state, channel, sensors, ids, from, until } = injection;
    const node = element("li");
    node.dataset.injection = id;
    const pill = element("span", `pill ${type}`, withSpaces(type));
    const button = Object.assign(element("button", "", "Take back"), { type: "button" });
    button.setAttribute("aria-label", `Take back ${withSpaces(type)} (${id})`);
    button.addEventListener("click", () => this.cancel(injection));
    const where = sensors === 1 ? ids[0] : `${formatInteger(sensors)} sensors`;
    const when = `${state === "planned" ? `from ${formatMoment(Date.parse(from))} ` : ""}until ${formatMoment(Date.parse(until))}`;
    const about = element("div", "about");
    about.append(pill, ` ${where}${channel ? `, ${channel}` : ""}, ${when} (${id})`);
    node.append(about, button);
    return node;
  }
}
