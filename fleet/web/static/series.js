// The last readings of one sensor: fetched once, and then only new ones. Where there are more than a chart has room for,
// the server makes points of several readings, with their lowest and highest value.

import { fetchJson } from "./feed.js";

const MIN_SPAN_MS = 30_000;
const MAX_POINTS = 1200;

export class Series {
  constructor(sensor, seconds) {
    Object.assign(this, { sensor });
    this.setPeriod(seconds);
  }

  /** Sets how far back the readings go. An answer to an earlier request has no effect any more. */
  setPeriod(seconds) {
    Object.assign(this, { seconds, running: null, request: Symbol(seconds) });
    this.clear();
  }

  /** `numbers` are the sequence numbers at which the points begin, `next` is that of the next reading, `step` the number of
   * readings of a point. */
  clear() {
    Object.assign(this, { numbers: [], times: [], next: -1, step: 1, lowest: {}, highest: {}, healthy: {}, channels: [], episodes: [] });
  }

  /** Fetches new readings. There is one request at a time; calls during it wait for it. */
  update() {
    const { request } = this;
    this.running ??= this.fetch(request).finally(() => {
      if (request === this.request) this.running = null;
    });
    return this.running;
  }

  async fetch(request) {
    const path = `/workers/${encodeURIComponent(this.sensor)}/series?seconds=${this.seconds}&points=${MAX_POINTS}`;
    const whole = this.next <= 0;
    const fresh = await fetchJson(whole ? path : `${path}&after=${this.next - 1}`);
    if (request !== this.request) return; // the period was changed meanwhile
    if (whole) this.clear();
    else if (fresh.next_seq < this.next || fresh.step !== this.step) {
      this.next = -1; // the database was replaced, or there are more readings to a point now
      await this.fetch(request);
      return;
    }
    this.add(fresh);
  }

  /** Adds the points of an answer, in place of those that have the same readings. */
  add(fresh) {
    this.addEpisodes(fresh.episodes);
    if (!fresh.times_ms.length) return;
    const { first_seq: first, step } = fresh;
    const kept = this.numbers.filter((number) => number < first).length;
    const numbers = fresh.times_ms.map((_, index) => (index ? (Math.floor(first / step) + index) * step : first));
    const times = [...this.times.slice(0, kept), ...fresh.times_ms];
    const oldest = times[times.length - 1] - this.seconds * 1000;
    const expired = Math.max(times.findIndex((time) => time > oldest), 0);
    const join = (before, after) => [...(before ?? Array(kept).fill(null)).slice(0, kept), ...after].slice(expired);
    for (const { name } of fresh.channels) {
      this.lowest[name] = join(this.lowest[name], fresh.values[name]);
      this.highest[name] = join(this.highest[name], (fresh.highest ?? fresh.values)[name]);
      this.healthy[name] = join(this.healthy[name], fresh.healthy[name]);
    }
    Object.assign(this, { next: fresh.next_seq, step, channels: fresh.channels, times: times.slice(expired), numbers: join(this.numbers, numbers) });
  }

  /** Adds episodes, newest first, in place of those that begin with the same reading. */
  addEpisodes(fresh) {
    const known = new Map(this.episodes.map((episode) => [episode.first_seq, episode]));
    for (const episode of fresh) known.set(episode.first_seq, { ...episode, from: Date.parse(episode.start_time), to: Date.parse(episode.end_time), channels: episode.channel?.split(",") ?? null });
    this.episodes = [...known.values()].sort((one, other) => other.first_seq - one.first_seq);
  }

  /** The time that the charts show, [from, to] in milliseconds: up to the period, at least half a minute. */
  get span() {
    const to = this.times[this.times.length - 1] ?? Date.now();
    const available = Math.max(to - (this.times[0] ?? to), MIN_SPAN_MS);
    return [to - Math.min(this.seconds * 1000, available), to];
  }

  /** Milliseconds from one point to the next. */
  get interval() {
    const size = this.times.length;
    return size > 2 ? this.times[size - 2] - this.times[size - 3] : size > 1 ? this.times[1] - this.times[0] : 1000;
  }

  /** The episodes in view that affect a channel: those on it, and those that remove whole readings. */
  on(channel) {
    const [from, to] = this.span;
    return this.episodes.filter((episode) => episode.to >= from && episode.from <= to && (!episode.channels || episode.channels.includes(channel)));
  }

  /** The episode that a channel is in now, or undefined. */
  current(channel) {
    return this.on(channel).find((episode) => episode.first_seq < this.next && episode.last_seq >= this.next - 1);
  }
}
