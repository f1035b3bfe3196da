// One sensor's last readings as the page knows them: those it has, and those that came since.

import { ask } from "./feed.js";

const SHORTEST = 30_000;

export class Series {
  constructor(sensor, seconds) {
    Object.assign(this, { sensor, seconds });
    this.forget();
  }

  forget() {
    Object.assign(this, { times: [], next: -1, values: {}, healthy: {}, channels: [], episodes: [] });
  }

  /** How far back to look from now on. */
  reach(seconds) {
    this.seconds = seconds;
    this.forget();
  }

  async update() {
    const { seconds } = this;
    const path = `/workers/${encodeURIComponent(this.sensor)}/series?seconds=${seconds}`;
    const fresh = await ask(this.next > 0 ? `${path}&after=${this.next - 1}` : path);
    if (seconds !== this.seconds) return; // asked for before it was changed
    if (this.next > 0 && fresh.next_seq < this.next) this.forget(); // a database begun anew
    else this.add(fresh);
  }

  add(fresh) {
    this.episodes = fresh.episodes.map((episode) => ({ ...episode, from: Date.parse(episode.start_time), to: Date.parse(episode.end_time), channels: episode.channel?.split(",") ?? null }));
    if (!fresh.times_ms.length) return;
    this.next = fresh.next_seq;
    this.channels = fresh.channels;
    this.times.push(...fresh.times_ms);
    const oldest = this.times[this.times.length - 1] - this.seconds * 1000;
    const gone = Math.max(this.times.findIndex((time) => time > oldest), 0);
    this.times.splice(0, gone);
    for (const { name } of fresh.channels) {
      for (const [kept, columns] of [[this.values, fresh.values], [this.healthy, fresh.healthy]]) {
        kept[name] = [...(kept[name] ?? []), ...columns[name]].slice(-this.times.length);
      }
    }
  }

  /** The time that the charts show, [from, to] in milliseconds: no more than there is, but half a minute at least. */
  get span() {
    const to = this.times[this.times.length - 1] ?? Date.now();
    const lived = Math.max(to - (this.times[0] ?? to), SHORTEST);
    return [to - Math.min(this.seconds * 1000, lived), to];
  }

  /** From one reading to the next, milliseconds. */
  get step() {
    const size = this.times.length;
    return size > 1 ? this.times[size - 1] - this.times[size - 2] : 1000;
  }

  /** The episodes that a channel shows: those that are on it, and those that took whole readings away. */
  on(channel) {
    const [from, to] = this.span;
    return this.episodes.filter((episode) => episode.to >= from && episode.from <= to && (!episode.channels || episode.channels.includes(channel)));
  }
}
