// What was done and what happened, newest first.

import { element, write } from "./format.js";
import { Feed } from "./feed.js";

const SHOWN = 200;
const TONES = {
  inject: "injected", cancel: "injected", pause: "paused", resume: "healthy", restart: "restarting", scale: "starting", rollout: "pattern",
  probability: "pattern", reload: "starting", start: "healthy", stop: "paused", death: "failed", failure: "failed", hang: "hung", trouble: "caution", note: "paused",
};

export class Events {
  /** All events, or, with the id of a sensor, those that are about it or about the whole fleet. */
  constructor(sensor = null) {
    Object.assign(this, { sensor, last: -1, list: document.getElementById("events"), count: document.getElementById("events-count") });
    this.list.append(element("li", "empty", "Nothing has happened yet."));
    this.feed = new Feed(() => (this.last < 0 ? "/api/events?limit=200" : `/api/events?after=${this.last}`), 1000, (answer) => this.take(answer));
  }

  take({ events, last }) {
    if (last < this.last) {
      this.list.replaceChildren(); // a fleet that began anew counts anew
      this.last = -1;
      return;
    }
    this.last = last;
    const ours = events.filter(({ sensors }) => !this.sensor || !sensors.length || sensors.includes(this.sensor));
    if (!ours.length) return;
    this.list.querySelector(".empty")?.remove();
    for (const event of ours) this.list.prepend(this.entry(event));
    while (this.list.childElementCount > SHOWN) this.list.lastElementChild.remove();
    write(this.count, `the last ${this.list.childElementCount}`);
  }

  entry({ id, time, kind, who, what, effect, sensors }) {
    const node = element("li", "event");
    node.dataset.event = id;
    const moment = element("time", "", time.slice(11, 19));
    moment.dateTime = time;
    moment.title = `${time}, by ${who}`;
    const pill = element("span", `pill ${TONES[kind] ?? ""}`, kind);
    const text = element("div", "text");
    text.append(element("div", "what", what));
    if (effect) text.append(element("div", "effect", effect));
    if (!this.sensor && sensors.length === 1) {
      const link = element("a", "", sensors[0]);
      link.href = `/sensors/${encodeURIComponent(sensors[0])}`;
      text.append(link);
    }
    node.append(moment, pill, text);
    return node;
  }
}
