// Reaching in: each form or button with a data-action becomes a command to the fleet, and what came of it is said.

import { ask } from "./feed.js";
import { clock, dress, spaced, whole, write } from "./format.js";

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

const SELECTING = ["inject", "pause", "resume", "probability"];
const sensors = (count) => (count === 1 ? "1 sensor" : `${whole(count)} sensors`);

const TOLD = {
  inject: ({ type, sensors: count, until, id }) => `${spaced(type)} in ${sensors(count)} until ${clock(Date.parse(until))} (${id})`,
  cancel: ({ id, type, sensors: count, new: fresh }) => `${spaced(type)} in ${sensors(count)} ${fresh ? "is taken back" : "was over already"} (${id})`,
  pause: ({ changed }) => `${sensors(changed)} paused`,
  resume: ({ changed }) => `${sensors(changed)} resumed`,
  restart: ({ worker }) => `${worker} restarts`,
  scale: ({ before, count }) => `from ${whole(before)} to ${sensors(count)}`,
  rollout: ({ firmware, sensors: count, target }) => `${firmware} on ${sensors(count)} of ${whole(target)} to come`,
  probability: ({ changed }) => `${sensors(changed)} changed`,
};

export class Control {
  /** `selection()` says which sensors are meant; `sensor` is the one of a sensor's page. */
  constructor(token, selection, sensor = null) {
    Object.assign(this, { token, selection, sensor });
    this.outcome = document.getElementById("outcome");
    for (const node of document.querySelectorAll("[data-action]")) {
      const event = node.tagName === "FORM" ? "submit" : "click";
      node.addEventListener(event, (happened) => {
        happened.preventDefault();
        this.act(node.dataset.action, node);
      });
    }
  }

  async act(action, form) {
    this.say("", "…");
    try {
      this.say("good", TOLD[action](await this.send(action, await this.body(action, form))));
    } catch (error) {
      this.say("bad", error.message);
      if (error.status === 401 || error.status === 403) this.token.attempt(this.token.value);
    }
  }

  async body(action, form) {
    if (action === "cancel") return { id: await this.running() };
    if (action === "restart") return { sensor: this.sensor };
    return { ...BODIES[action]?.(form), ...(SELECTING.includes(action) ? this.selection() : {}) };
  }

  /** The newest injection that is not over yet; on a sensor's page of those into it, which may end for others as well. */
  async running() {
    const { injections } = await ask(`/api/injections${this.sensor ? `?sensor=${encodeURIComponent(this.sensor)}` : ""}`);
    const found = injections.find(({ state }) => ["planned", "running"].includes(state));
    if (!found) throw new RangeError("no injection is running or planned");
    const { id, type, sensors: count } = found;
    if (this.sensor && count > 1 && !window.confirm(`Take back ${spaced(type)} in all of its ${sensors(count)} (${id})?`)) throw new RangeError("nothing is taken back");
    return id;
  }

  send(action, body) {
    return ask(`/api/${action}`, { method: "POST", headers: { "Content-Type": "application/json", ...this.token.headers }, body: JSON.stringify(body) });
  }

  say(tone, said) {
    dress(this.outcome, `outcome ${tone}`);
    write(this.outcome, said);
  }
}
