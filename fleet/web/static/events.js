// The list of events, newest first.

import { element, setText } from "./format.js";
import { Feed } from "./feed.js";

const MAX_SHOWN = 200;
const MAX_SENSORS_PER_EVENT = 20; // as in fleet/datadir/events.py: an event with this many may concern further sensors
const TONES = {
  inject: "injected", cancel: "injected", pause: "paused", resume: "healthy", restart: "restarting", scale: "starting", rollout: "pattern", backfill: "healthy",
  probability: "pattern", reload: "starting", start: "healthy", stop: "paused", death: "failed", failure: "failed", hang: "hung", trouble: "caution", note: "paused",
};

export class Events {
  /** Shows all events, or, with the id of a sensor, those that may concern it and those about the whole fleet. */
  constructor(sensor = null) {
    Object.assign(this, { sensor, last: -1, list: document.getElementById("events"), count: document.getElementById("events-count") });
    this.list.append(element("li", "empty", "Nothing has happened yet."));
    this.feed = new Feed(() => (this.last < 0 ? "/api/events?limit=200" : `/api/events?limit=1000&after=${this.last}`), 1000, (answer) => this.update(answer));
  }

  update({ events, last }) {
    if (last < this.last) {
      this.list.replaceChildren(); // another run, whose events are numbered from 1
      this.last = -1;
      return;
    }
    this.last = events.length ? events[events.length - 1].id : last;
    const relevant = events.filter(({ sensors }) => !this.sensor || !sensors.length || sensors.length >= MAX_SENSORS_PER_EVENT || sensors.includes(this.sensor));
    if (!relevant.length) return;
    this.list.querySelector(".empty")?.remove();
    for (const event of relevant) this.list.prepend(this.entry(event));
    while (this.list.childElementCount > MAX_SHOWN) this.list.lastElementChild.remove();
    setText(this.count, `the last ${this.list.childElementCount}`);
  }

  entry({ id, time, kind, who, what, effect, sensors }) {
    const node = element("li", "event");
    node.dataset.event = id;
    const moment = element("time", "", time.slice(11, 19));
    moment.dateTime = time;
    moment.title = `${time}, by ${who}`;
    const pill = element("span", `pill ${TONES[kind] ?? ""}`, kind);
    const text = element("div", "text");
    text.append(element("div", "what", short(what)));
    if (effect) text.append(this.linked(short(effect), sensors));
    else if (sensors.length === 1 && !what.includes(sensors[0])) text.append(this.linked(sensors[0], sensors));
    node.append(moment, pill, text);
    return node;
  }

  /** The text, with links from the ids of sensors to their pages. */
  linked(text, sensors) {
    const node = element("div", "effect");
    for (const word of text.split(/(\s|,)/)) {
      if (!sensors.includes(word) || word === this.sensor) node.append(word);
      else node.append(Object.assign(element("a", "", word), { href: `/sensors/${encodeURIComponent(word)}` }));
    }
    return node;
  }
}

/** Shortens the timestamps in a text to hours, minutes and seconds. */
const short = (text) => text.replace(/\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d)\.\d+\+00:00/g, "$1");
