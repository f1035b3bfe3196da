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
  cancel: ({ id, new: fresh }) => (fresh ? `${id} is taken back` : `${id} was over already`),
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
    Object.assign(this, { token, selection, sensor, last: null });
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
      const told = await this.send(action, await this.body(action, form));
      if (action === "inject") this.last = told.id;
      this.say("good", TOLD[action](told));
    } catch (error) {
      this.say("bad", error.message);
      if (error.status === 401 || error.status === 403) this.token.attempt(this.token.value);
    }
  }

  async body(action, form) {
    if (action === "cancel") return { id: this.last ?? (await this.running()) };
    if (action === "restart") return { sensor: this.sensor };
    return { ...BODIES[action]?.(form), ...(SELECTING.includes(action) ? this.selection() : {}) };
  }

  /** The newest injection that is not over yet. */
  async running() {
    const { injections } = await ask("/api/injections");
    const found = injections.find(({ state, ids }) => ["planned", "running"].includes(state) && (!this.sensor || ids.includes(this.sensor)));
    if (!found) throw new RangeError("no injection is running or planned");
    return found.id;
  }

  send(action, body) {
    return ask(`/api/${action}`, { method: "POST", headers: { "Content-Type": "application/json", ...this.token.headers }, body: JSON.stringify(body) });
  }

  say(tone, said) {
    dress(this.outcome, `outcome ${tone}`);
    write(this.outcome, said);
  }
}
