// The figures of the last ten minutes, as the server keeps them; points that come with a snapshot are added at the end.

import { ask } from "./feed.js";

const KEPT = 600;

export class Past {
  constructor() {
    this.points = { number: [], time_ms: [], anomalies: {} };
  }

  get size() {
    return this.points.number.length;
  }

  get last() {
    return this.points.number[this.size - 1] ?? 0;
  }

  /** Adds what is new; asks for everything where something is missing in between, or the server began anew. */
  async take(recent) {
    const { number } = recent;
    if (!number.length) return;
    const newest = number[number.length - 1];
    if (!this.size || number[0] > this.last + 1 || newest < this.last) {
      this.points = await ask("/api/history");
      return;
    }
    const from = number.findIndex((found) => found > this.last);
    if (from < 0) return;
    for (const [name, column] of Object.entries(recent)) {
      if (name === "anomalies") {
        for (const [kind, rates] of Object.entries(column)) this.add(this.points.anomalies[kind], rates, from);
      } else this.add(this.points[name], column, from);
    }
  }

  add(column, values, from) {
    column.push(...values.slice(from));
    if (column.length > KEPT) column.splice(0, column.length - KEPT);
  }

  /** Of all kinds together, a point each. */
  anomalies() {
    const columns = Object.values(this.points.anomalies);
    return this.points.number.map((_, place) => columns.reduce((sum, column) => sum + column[place], 0));
  }
}
