// The table of targets that the readings are delivered to, worded as in pages.py.

import { element, formatCompact, formatInteger, formatTime, setClass, setText } from "./format.js";

const AGE_UNITS = [[172_800, 86_400, "d"], [7_200, 3_600, "h"], [120, 60, "min"]];

/** A time that has passed in one unit: 90 s, 15 min, 3 h, 4 d. */
export function formatAge(seconds) {
  const [, size, name] = AGE_UNITS.find(([least]) => seconds >= least) ?? [0, 1, "s"];
  return `${Math.floor(seconds / size)} ${name}`;
}

export class Delivery {
  constructor() {
    this.body = document.getElementById("delivery-rows"); // null for a fleet that delivers nothing
    this.note = document.getElementById("delivery-note");
  }

  show(targets) {
    if (!this.body) return;
    while (this.body.rows.length < targets.length) this.body.append(this.row());
    while (this.body.rows.length > targets.length) this.body.lastElementChild.remove();
    targets.forEach((target, number) => this.fill(this.body.rows[number], target));
    const count = targets.length === 1 ? "1 target" : `${targets.length} targets`;
    const waiting = Math.max(0, ...targets.map(({ backlog }) => backlog));
    setText(this.note, waiting ? `${count}, up to ${formatInteger(waiting)} readings to go` : `${count}, all have everything`);
  }

  row() {
    const node = element("tr");
    const name = element("th");
    name.scope = "row";
    name.append(element("span", "name"), element("small"));
    const state = element("td");
    state.append(element("span", "pill"));
    const labels = [...this.body.parentElement.tHead.querySelectorAll(".number")].map(({ textContent }) => textContent);
    node.append(name, state, ...labels.map((label) => {
      const figure = element("td", "number");
      figure.dataset.label = label;
      return figure;
    }));
    return node;
  }

  fill(node, target) {
    const failing = target.error !== null;
    const [state, pill] = failing ? ["failing", "failed"] : target.healthy ? ["delivers", "healthy"] : ["late", "unready"];
    const [name, note, badge, ...figures] = node.querySelectorAll(".name, small, .pill, td.number");
    const text = (target.last_error ?? "").replace(`${target.name}: `, "");
    setText(name, target.name);
    setText(note, failing || !text ? text : `last error at ${formatTime(1000 * target.last_error_at)}: ${text}`);
    setClass(note, failing ? "bad" : "");
    setText(badge, state);
    setClass(badge, `pill ${pill}`);
    const { delivered, rate, backlog, backlog_age_seconds: age, retries, refused } = target;
    const texts = [formatInteger(delivered), formatCompact(rate), formatInteger(backlog), backlog ? formatAge(age) : "–", formatInteger(retries), formatInteger(refused)];
    texts.forEach((each, number) => setText(figures[number], each));
  }
}
