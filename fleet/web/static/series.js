// The readings of one sensor that charts show: the last ones, fetched once and then only new ones; or those of a range of
// time, which the server reads from the databases. Where there are more than a chart has room for, the server makes points of
// several readings, with their lowest and highest value.

import { fetchJson } from "./feed.js";

const MIN_SPAN_MS = 30_000;
const MAX_POINTS = 1200;
const MAX_FOLLOWED_SECONDS = 900; // further back, a range is fetched again from time to time
const MIN_AGE_MS = 1000;
const MAX_AGE_MS = 30_000;

const moment = (time) => encodeURIComponent(typeof time === "number" ? new Date(time).toISOString() : time);

export class Series {
  /** `view` is {seconds}: the last ones, Infinity for all; or {from, to} in milliseconds since 1970. */
  constructor(sensor, view) {
    Object.assign(this, { path: `/workers/${encodeURIComponent(sensor)}`, bounds: null });
    this.clear();
    this.setView(view);
  }

  /** Sets what is shown. An answer to an earlier request has no effect any more. Points of a range stay until others come. */
  setView(view) {
    const wasRange = this.isRange;
    Object.assign(this, { view, running: null, request: Symbol("request"), fetchedAt: -Infinity, read: 1, window: null });
    if (!this.isRange || !wasRange) this.clear();
    if (this.isFixed) this.window = [view.from, view.to];
  }

  get seconds() {
    return this.view.seconds ?? Infinity;
  }

  /** Whether the readings are those of a range, rather than added one by one. */
  get isRange() {
    return this.view !== undefined && !(this.view.seconds <= MAX_FOLLOWED_SECONDS);
  }

  get isFixed() {
    return this.view.seconds === undefined;
  }

  /** `numbers` are the sequence numbers at which the points begin, `next` is that of the next reading, `step` the number of
   * readings of a point, `marks` the episodes of a range. */
  clear() {
    Object.assign(this, { numbers: [], times: [], next: -1, step: 1, lowest: {}, highest: {}, healthy: {}, channels: [], episodes: [], marks: null, spacing: null });
  }

  /** Fetches new readings. There is one request at a time; calls during it wait for it. */
  update() {
    const { request } = this;
    this.running ??= (this.isRange ? this.fetchRange(request) : this.fetch(request)).finally(() => {
      if (request === this.request) this.running = null;
    });
    return this.running;
  }

  async fetch(request) {
    const path = `${this.path}/series?seconds=${this.seconds}&points=${MAX_POINTS}`;
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

  /** Fetches the range, unless nothing can have changed that would be seen. */
  async fetchRange(request) {
    const { view, bounds } = this;
    const [from, to] = this.window ?? [0, 0];
    const age = performance.now() - this.fetchedAt;
    const isOver = this.isFixed && bounds && to <= bounds[1];
    if (this.read === 1 && (isOver ? age < Infinity : age < Math.min(Math.max((to - from) / MAX_POINTS, MIN_AGE_MS), MAX_AGE_MS))) return;
    const [first, last] = this.isFixed ? [view.from, view.to] : [view.seconds === Infinity ? "first" : `now-${view.seconds}s`, "now"];
    const fresh = await fetchJson(`${this.path}/series?from=${moment(first)}&to=${moment(last)}&points=${MAX_POINTS}`);
    if (request === this.request) this.setRange(fresh);
  }

  setRange(fresh) {
    this.clear();
    const { marks } = fresh;
    const times = fresh.times_ms;
    const gaps = times.slice(1).map((time, index) => time - times[index]).sort((one, other) => one - other);
    Object.assign(this, {
      times, read: fresh.read, step: fresh.step, next: fresh.next_seq, channels: fresh.channels, fetchedAt: performance.now(), spacing: gaps[gaps.length >> 1] ?? null,
      lowest: fresh.values, highest: fresh.highest ?? fresh.values, healthy: fresh.healthy,
      marks: marks.type.map((type, index) => ({ type, channels: marks.channel[index]?.split(",") ?? null, from: marks.from_ms[index], to: marks.to_ms[index], episodes: marks.episodes[index] })),
    });
    if (fresh.first_ms !== null) Object.assign(this, { bounds: [fresh.first_ms, fresh.last_ms], window: [fresh.from_ms, fresh.to_ms] });
    this.addEpisodes(fresh.episodes);
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

  /** The time that the charts show, [from, to] in milliseconds: that of a range, or up to the period, at least half a minute. */
  get span() {
    if (this.window) return this.window;
    const to = this.times[this.times.length - 1] ?? Date.now();
    const available = Math.max(to - (this.times[0] ?? to), MIN_SPAN_MS);
    return [to - Math.min(this.seconds * 1000, available), to];
  }

  /** Milliseconds from one point to the next. */
  get interval() {
    if (this.spacing !== null) return this.spacing;
    const size = this.times.length;
    return size > 2 ? this.times[size - 2] - this.times[size - 3] : size > 1 ? this.times[1] - this.times[0] : 1000;
  }

  /** The episodes in view that affect a channel: those on it, and those that remove whole readings. Of a range, several may
   * be one, with the number of its `episodes`. */
  on(channel) {
    const [from, to] = this.span;
    return (this.marks ?? this.episodes).filter((episode) => episode.to >= from && episode.from <= to && (!episode.channels || episode.channels.includes(channel)));
  }

  /** The episode that a channel is in now, or undefined. */
  current(channel) {
    if (this.isFixed) return undefined;
    return this.episodes.find(({ first_seq: first, last_seq: last, channels }) => first < this.next && last >= this.next - 1 && (!channels || channels.includes(channel)));
  }
}
