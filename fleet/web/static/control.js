// Commands to the fleet: each form or button with a data-action sends one and shows its outcome.

import { fetchJson } from "./feed.js";
import { Injections } from "./injections.js";
import { formatInteger, formatMoment, setClass, setText, withSpaces } from "./format.js";

const number = (form, name) => {
  const text = form.elements[name].value.trim().replace(/%$/, "");
  if (text === "") return undefined;
  const value = Number(text);
  if (!Number.isFinite(value)) throw new RangeError(`${name}: ${text} is not a number`);
  return value;
};

/** A share such as 0.05 or 5%. */
const share = (form, name) => {
  const value = number(form, name);
  return value !== undefined && form.elements[name].value.trim().endsWith("%") ? value / 100 : value;
};

const text = (form, name) => form.elements[name].value.trim() || undefined;

const BODIES = {
  inject: (form) => ({ type: text(form, "type"), channel: text(form, "channel"), size: number(form, "size"), seconds: number(form, "seconds") }),
  scale: (form) => ({ count: number(form, "count") }),
  rollout: (form) => ({ firmware: text(form, "firmware"), share: (number(form, "share") ?? 100) / 100 }),
  probability: (form) => ({ probability: share(form, "probability") ?? null }),
};

const WITH_SELECTION = ["inject", "pause", "resume", "probability"];
const sensors = (count) => (count === 1 ? "1 sensor" : `${formatInteger(count)} sensors`);

const OUTCOMES = {
  inject: ({ type, sensors: count, until, id }) => `${withSpaces(type)} in ${sensors(count)} until ${formatMoment(Date.parse(until))} (${id})`,
  cancel: ({ id, type, sensors: count, new: fresh }) => `${withSpaces(type)} in ${sensors(count)} ${fresh ? "is taken back" : "was over already"} (${id})`,
  pause: ({ changed }) => `${sensors(changed)} paused`,
  resume: ({ changed }) => `${sensors(changed)} resumed`,
  restart: ({ worker }) => `${worker} restarts`,
  scale: ({ before, count }) => `from ${formatInteger(before)} to ${sensors(count)}`,
  rollout: ({ firmware, sensors: count, target }) => `${firmware} on ${sensors(count)} of ${formatInteger(target)} to come`,
  probability: ({ changed }) => `${sensors(changed)} changed`,
};

export class Control {
  /** `selection()` returns the sensors that a command is for; `sensor` is the id on the page of one sensor. */
  constructor(token, selection, sensor = null) {
    Object.assign(this, { token, selection, sensor });
    this.outcome = document.getElementById("outcome");
    this.injections = new Injections(sensor, (injection) => this.act("cancel", injection));
    for (const node of document.querySelectorAll("[data-action]")) {
      const event = node.tagName === "FORM" ? "submit" : "click";
      node.addEventListener(event, (submitted) => {
        submitted.preventDefault();
        this.act(node.dataset.action, node);
      });
    }
  }

  async act(action, form) {
    this.say("", "…");
    try {
      this.say("good", OUTCOMES[action](await this.send(action, this.body(action, form))));
      this.injections.update();
    } catch (error) {
      this.say("bad", error.message);
      if (error.status === 401 || error.status === 403) this.token.check(this.token.value);
    }
  }

  body(action, form) {
    if (action === "cancel") return { id: this.confirmed(form) };
    if (action === "restart") return { sensor: this.sensor };
    return { ...BODIES[action]?.(form), ...(WITH_SELECTION.includes(action) ? this.selection() : {}) };
  }

  /** The id of an injection. Asks for confirmation on the page of a sensor if it is into other sensors as well. */
  confirmed({ id, type, sensors: count }) {
    if (this.sensor && count > 1 && !window.confirm(`Take back ${withSpaces(type)} in all of its ${sensors(count)} (${id})?`)) throw new RangeError("the injection goes on");
    return id;
  }

  send(action, body) {
    return fetchJson(`/api/${action}`, { method: "POST", headers: { "Content-Type": "application/json", ...this.token.headers }, body: JSON.stringify(body) });
  }

  say(tone, text) {
    setClass(this.outcome, `outcome ${tone}`);
    setText(this.outcome, text);
  }
}
