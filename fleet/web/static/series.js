// The last readings of one sensor: fetched once, and then only new ones.

import { fetchJson } from "./feed.js";

const MIN_SPAN_MS = 30_000;

export class Series {
  constructor(sensor, seconds) {
    Object.assign(this, { sensor, seconds });
    this.clear();
  }

  clear() {
    Object.assign(this, { times: [], next: -1, values: {}, healthy: {}, channels: [], episodes: [] });
  }

  /** Sets how far back the readings go. */
  setPeriod(seconds) {
    this.seconds = seconds;
    this.clear();
  }

  async update() {
    const { seconds } = this;
    const path = `/workers/${encodeURIComponent(this.sensor)}/series?seconds=${seconds}`;
    const fresh = await fetchJson(this.next > 0 ? `${path}&after=${this.next - 1}` : path);
    if (seconds !== this.seconds) return; // the period was changed meanwhile
    if (this.next > 0 && fresh.next_seq < this.next) this.clear(); // the database was replaced
    else this.add(fresh);
  }

  add(fresh) {
    this.episodes = fresh.episodes.map((episode) => ({ ...episode, from: Date.parse(episode.start_time), to: Date.parse(episode.end_time), channels: episode.channel?.split(",") ?? null }));
    if (!fresh.times_ms.length) return;
    this.next = fresh.next_seq;
    this.channels = fresh.channels;
    this.times.push(...fresh.times_ms);
    const oldest = this.times[this.times.length - 1] - this.seconds * 1000;
    const expired = Math.max(this.times.findIndex((time) => time > oldest), 0);
    this.times.splice(0, expired);
    for (const { name } of fresh.channels) {
      for (const [kept, columns] of [[this.values, fresh.values], [this.healthy, fresh.healthy]]) {
        kept[name] = [...(kept[name] ?? []), ...columns[name]].slice(-this.times.length);
      }
    }
  }

  /** The time that the charts show, [from, to] in milliseconds: up to the period, at least half a minute. */
  get span() {
    const to = this.times[this.times.length - 1] ?? Date.now();
    const available = Math.max(to - (this.times[0] ?? to), MIN_SPAN_MS);
    return [to - Math.min(this.seconds * 1000, available), to];
  }

  /** Milliseconds from one reading to the next. */
  get step() {
    const size = this.times.length;
    return size > 1 ? this.times[size - 1] - this.times[size - 2] : 1000;
  }

  /** The episodes in view that affect a channel: those on it, and those that remove whole readings. */
  on(channel) {
    const [from, to] = this.span;
    return this.episodes.filter((episode) => episode.to >= from && episode.from <= to && (!episode.channels || episode.channels.includes(channel)));
  }
}
