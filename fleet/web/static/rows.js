// The table of all sensors: filtered, sorted, and only those rows made that are in view.

import { dress, element, spaced, whole, write, written } from "./format.js";
import { measure } from "./measures.js";

const HEIGHT = 32;
const SPARE = 6;

export class Rows {
  constructor(fleet, listed) {
    Object.assign(this, { fleet, listed, order: [], words: [], sort: "", down: false, pool: [] });
    this.box = document.getElementById("rows");
    this.spread = document.getElementById("spread");
    this.head = document.querySelector("#table .head");
    this.count = document.getElementById("table-count");
    this.box.addEventListener("scroll", () => this.paint());
    new ResizeObserver(() => this.paint()).observe(this.box);
    const filter = document.getElementById("filter");
    filter.addEventListener("input", () => this.filter(filter.value));
    for (const button of this.head.querySelectorAll("button")) button.addEventListener("click", () => this.sortBy(button));
  }

  filter(text) {
    this.words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.box.scrollTop = 0;
    this.show();
  }

  sortBy(button) {
    const name = button.dataset.sort;
    this.down = this.sort === name ? !this.down : !["id", "place", "firmware", "state"].includes(name);
    this.sort = name;
    for (const cell of this.head.children) {
      const chosen = cell.firstElementChild === button;
      cell.setAttribute("aria-sort", chosen ? (this.down ? "descending" : "ascending") : "none");
    }
    this.show();
  }

  show() {
    const { fleet } = this;
    if (!fleet.snapshot) return;
    if (!this.box.classList.contains("live")) this.begin();
    this.order = fleet.ids.map((_, place) => place).filter((place) => this.matches(place));
    if (this.sort) this.arrange();
    write(this.count, this.order.length === fleet.size ? whole(fleet.size) : `${whole(this.order.length)} of ${whole(fleet.size)}`);
    this.spread.style.height = `${this.order.length * HEIGHT}px`;
    document.getElementById("table").setAttribute("aria-rowcount", this.order.length + 1);
    this.paint();
    this.listed(this.order);
  }

  /** The rows that the server wrote make way; the box keeps its height whatever is filtered. */
  begin() {
    this.spread.replaceChildren();
    this.box.classList.add("live");
    this.box.style.minHeight = `${Math.min(this.box.clientHeight, this.fleet.size * HEIGHT)}px`;
  }

  matches(place) {
    if (!this.words.length) return true;
    const { fleet } = this;
    const told = `${fleet.haystacks[place]} ${fleet.state(place)} ${fleet.kind(place) ?? ""} ${spaced(fleet.kind(place) ?? "")}`;
    return this.words.every((word) => told.includes(word));
  }

  arrange() {
    const { fleet, sort } = this;
    const texts = {
      id: (place) => fleet.ids[place],
      place: (place) => fleet.who.location[place],
      firmware: (place) => fleet.who.firmware_version[place],
      state: (place) => fleet.state(place),
      anomaly: (place) => fleet.kind(place),
    };
    const key = texts[sort] ?? ((place) => measure(fleet, sort).of(fleet, place));
    const keys = new Map(this.order.map((place) => [place, key(place)]));
    const sign = this.down ? -1 : 1;
    this.order.sort((one, other) => {
      const [a, b] = [keys.get(one), keys.get(other)];
      if (a === b) return one - other;
      if (a === null) return 1; // what is not known comes last, either way
      if (b === null) return -1;
      return sign * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
    });
  }

  paint() {
    if (!this.box.classList.contains("live")) return;
    const first = Math.max(Math.floor(this.box.scrollTop / HEIGHT) - SPARE, 0);
    const last = Math.min(Math.ceil((this.box.scrollTop + this.box.clientHeight) / HEIGHT) + SPARE, this.order.length);
    const size = Math.ceil(this.box.clientHeight / HEIGHT) + 2 * SPARE + 1;
    while (this.pool.length < size) {
      this.pool.push(this.blank());
      this.spread.append(this.pool[this.pool.length - 1]);
    }
    const used = new Set();
    for (let index = first; index < last; index += 1) {
      const row = this.pool[index % this.pool.length]; // the row that has the focus stays the same while it is in view
      used.add(row);
      this.fill(row, index);
    }
    for (const row of this.pool) row.hidden = !used.has(row);
  }

  blank() {
    const row = element("div", "row");
    row.setAttribute("role", "row");
    for (const head of this.head.children) {
      const cell = element("div", head.className);
      cell.setAttribute("role", "cell");
      row.append(cell);
    }
    row.children[0].append(document.createElement("a"));
    row.children[1].append(document.createElement("span"));
    return row;
  }

  fill(row, index) {
    const { fleet } = this;
    const place = this.order[index];
    const { snapshot, who } = fleet;
    const kind = fleet.kind(place);
    const state = fleet.state(place);
    dress(row, kind ? "row in-anomaly" : "row");
    row.setAttribute("aria-rowindex", index + 2);
    row.style.transform = `translateY(${index * HEIGHT}px)`;
    const link = row.children[0].firstElementChild;
    link.href = `/sensors/${encodeURIComponent(fleet.ids[place])}`;
    write(link, fleet.ids[place]);
    dress(row.children[1].firstElementChild, `pill ${state}`);
    write(row.children[1].firstElementChild, state);
    const texts = [
      who.location[place] ?? "–",
      who.firmware_version[place] ?? "–",
      ...fleet.channels.map(({ name }) => written(fleet.value(name, place))),
      spaced(kind ?? ""),
      whole(snapshot.readings[place]),
      whole(snapshot.anomalies[place]),
      (snapshot.lags[place] / 100).toFixed(2),
      whole(snapshot.restarts[place]),
      whole(snapshot.errors[place]),
    ];
    texts.forEach((text, cell) => row.children[cell + 2] && write(row.children[cell + 2], text));
  }
}
