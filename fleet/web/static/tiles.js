// The key figures of the overview, in the words of pages.py.

import { bytes, compact, whole, write } from "./format.js";
import { Sparkline } from "./sparkline.js";

const TONES = { healthy: "healthy", pace: "accent", lag: "pattern", anomalies: "in-anomaly", errors: "failed", memory: "restarting" };

const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0);

export class Tiles {
  constructor() {
    this.tiles = new Map(Object.entries(TONES).map(([name, tone]) => {
      const node = document.getElementById(`tile-${name}`);
      return [name, { node, line: new Sparkline(node.querySelector("canvas"), tone) }];
    }));
  }

  set(name, figure, unit, note, values) {
    const { node, line } = this.tiles.get(name);
    write(node.querySelector(".figure b"), figure);
    write(node.querySelector(".unit"), unit);
    write(node.querySelector(".note"), note);
    line.show(values);
  }

  show(fleet, past) {
    const { points } = past;
    const now = past.size - 1;
    if (now < 0) return;
    const { snapshot } = fleet;
    const sensors = points.sensors[now];
    const unwell = sensors - points.healthy[now];
    this.set("healthy", whole(points.healthy[now]), `of ${whole(sensors)}`, unwell ? `${whole(unwell)} not` : "all of them", points.healthy);
    this.set("pace", compact(points.pace[now]), "readings/s", `of ${compact(points.asked[now])} asked for`, points.pace);
    this.set("lag", points.lag[now].toFixed(2), "s", "worst sensor", points.lag);
    const anomalous = past.anomalies();
    const share = snapshot.scheduled_readings ? (100 * snapshot.total_anomalies) / snapshot.scheduled_readings : 0;
    this.set("anomalies", compact(mean(anomalous.slice(-10))), "readings/s", `${share.toFixed(2)}% of readings`, smooth(anomalous));
    this.set("errors", whole(points.errors[now]), "", `${whole(points.restarts[now])} restarts`, points.errors);
    const memory = points.memory[now];
    const [figure, unit] = memory === null ? ["–", ""] : bytes(memory);
    const [each, eachUnit] = memory === null ? ["–", ""] : bytes(memory / Math.max(sensors, 1));
    this.set("memory", figure, unit, `${each} ${eachUnit} a sensor`, points.memory);
  }
}

/** Sensors commit once a second, and a look falls between: five seconds together tell more than one. */
export const smooth = (values) => values.map((_, place) => mean(values.slice(Math.max(place - 4, 0), place + 1)));
