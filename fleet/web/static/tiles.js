// The key figures of the overview, worded as in pages.py.

import { formatBytes, formatCompact, formatInteger, setText } from "./format.js";
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
    setText(node.querySelector(".figure b"), figure);
    setText(node.querySelector(".unit"), unit);
    setText(node.querySelector(".note"), note);
    line.show(values);
  }

  show(fleet, history) {
    const { points } = history;
    const now = history.size - 1;
    if (now < 0) return;
    const { snapshot } = fleet;
    const sensors = points.sensors[now];
    const unwell = sensors - points.healthy[now];
    const paused = fleet.displayStateCounts().get("paused");
    const rest = backfilling(snapshot.backfill) ?? (paused ? `${formatInteger(paused)} of them paused` : "all of them");
    this.set("healthy", formatInteger(points.healthy[now]), `of ${formatInteger(sensors)}`, unwell ? `${formatInteger(unwell)} not` : rest, points.healthy);
    this.set("pace", formatCompact(points.pace[now]), "readings/s", `of ${formatCompact(points.asked[now])} asked for`, points.pace);
    this.set("lag", points.lag[now].toFixed(2), "s", "worst sensor", points.lag);
    const anomalous = history.anomalies();
    const share = snapshot.scheduled_readings ? (100 * snapshot.total_anomalies) / snapshot.scheduled_readings : 0;
    this.set("anomalies", formatCompact(mean(anomalous.slice(-10))), "readings/s", `${share.toFixed(2)}% of readings`, smooth(anomalous));
    this.set("errors", formatInteger(points.errors[now]), "", `${formatInteger(points.restarts[now])} restarts`, points.errors);
    const memory = points.memory[now];
    const [figure, unit] = memory === null ? ["–", ""] : formatBytes(memory);
    const [each, eachUnit] = memory === null ? ["–", ""] : formatBytes(memory / Math.max(sensors, 1));
    this.set("memory", figure, unit, `${each} ${eachUnit} a sensor`, points.memory);
  }
}

/** The progress of the history that is written first, null if there is none. */
function backfilling(backfill) {
  if (!backfill) return null;
  const left = backfill.seconds_left;
  const time = left === null ? "" : left < 100 ? `, ${Math.round(left)} s left` : `, ${formatInteger(Math.round(left / 60))} min left`;
  return `backfilling ${Math.floor(backfill.share * 100)}%${time}`;
}

/** Means over five points: sensors commit once a second, and a point may miss or repeat a commit. */
export const smooth = (values) => values.map((_, index) => mean(values.slice(Math.max(index - 4, 0), index + 1)));
