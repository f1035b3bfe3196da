// Key figures of the last ten minutes, from the server; the points that come with a snapshot are appended.

import { fetchJson } from "./feed.js";

const MAX_POINTS = 600;

export class FleetHistory {
  constructor() {
    this.points = { number: [], time_ms: [], anomalies: {} };
  }

  get size() {
    return this.points.number.length;
  }

  get last() {
    return this.points.number[this.size - 1] ?? 0;
  }

  /** Appends new points; fetches all points if some are missing in between, or if the server has restarted. */
  async update(recent) {
    const { number } = recent;
    if (!number.length) return;
    const newest = number[number.length - 1];
    if (!this.size || number[0] > this.last + 1 || newest < this.last) {
      this.points = await fetchJson("/api/history");
      return;
    }
    const from = number.findIndex((each) => each > this.last);
    if (from < 0) return;
    for (const [name, column] of Object.entries(recent)) {
      if (name === "anomalies") {
        for (const [kind, rates] of Object.entries(column)) this.add(this.points.anomalies[kind], rates, from);
      } else this.add(this.points[name], column, from);
    }
  }

  add(column, values, from) {
    column.push(...values.slice(from));
    if (column.length > MAX_POINTS) column.splice(0, column.length - MAX_POINTS);
  }

  /** The rate of anomalous readings of all types together, for each point. */
  anomalies() {
    const columns = Object.values(this.points.anomalies);
    return this.points.number.map((_, index) => columns.reduce((sum, column) => sum + column[index], 0));
  }
}
