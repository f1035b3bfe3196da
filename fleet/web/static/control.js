// Commands to the fleet: each form or button with a data-action sends one and shows its outcome.

import { fetchJson } from "./feed.js";
import { formatInteger, formatTime, setClass, setText, withSpaces } from "./format.js";

const number = (form, name) => {
  const text = form.elements[name].value.trim().replace(/%$/, "");
  if (text === "") return undefined;
  const value = Number(text);
  if (!Number.isFinite(value)) throw new RangeError(`${name}: ${text} is not a number`);
  return value;
};

const text = (form, name) => form.elements[name].value.trim() || undefined;

const BODIES = {
  inject: (form) => ({ type: text(form, "type"), channel: text(form, "channel"), size: number(form, "size"), seconds: number(form, "seconds") }),
  scale: (form) => ({ count: number(form, "count") }),
  rollout: (form) => ({ firmware: text(form, "firmware"), share: (number(form, "share") ?? 100) / 100 }),
  probability: (form) => ({ probability: number(form, "probability") ?? null }),
};

const WITH_SELECTION = ["inject", "pause", "resume", "probability"];
const sensors = (count) => (count === 1 ? "1 sensor" : `${formatInteger(count)} sensors`);

const OUTCOMES = {
  inject: ({ type, sensors: count, until, id }) => `${withSpaces(type)} in ${sensors(count)} until ${formatTime(Date.parse(until))} (${id})`,
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
      this.say("good", OUTCOMES[action](await this.send(action, await this.body(action, form))));
    } catch (error) {
      this.say("bad", error.message);
      if (error.status === 401 || error.status === 403) this.token.check(this.token.value);
    }
  }

  async body(action, form) {
    if (action === "cancel") return { id: await this.currentInjection() };
    if (action === "restart") return { sensor: this.sensor };
    return { ...BODIES[action]?.(form), ...(WITH_SELECTION.includes(action) ? this.selection() : {}) };
  }

  /** The id of the newest injection that is not over; on the page of a sensor, of those into it. Asks for confirmation if
   * the injection is into other sensors as well. */
  async currentInjection() {
    const { injections } = await fetchJson(`/api/injections${this.sensor ? `?sensor=${encodeURIComponent(this.sensor)}` : ""}`);
    const injection = injections.find(({ state }) => ["planned", "running"].includes(state));
    if (!injection) throw new RangeError("no injection is running or planned");
    const { id, type, sensors: count } = injection;
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
