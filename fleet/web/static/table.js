// The table of all sensors: filtered, sorted, with elements only for the rows in view.

import { element, formatInteger, formatValue, setClass, setText, withSpaces } from "./format.js";
import { measure } from "./measures.js";

const ROW_HEIGHT = 32;
const SPARE_ROWS = 6;

export class SensorTable {
  /** `onChange(sensors)` is called with the indexes of the sensors in the table. */
  constructor(fleet, onChange) {
    Object.assign(this, { fleet, onChange, order: [], words: [], sort: "", down: false, pool: [] });
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
    if (!this.box.classList.contains("live")) this.start();
    this.order = fleet.ids.map((_, sensor) => sensor).filter((sensor) => this.matches(sensor));
    if (this.sort) this.sortOrder();
    setText(this.count, this.order.length === fleet.size ? formatInteger(fleet.size) : `${formatInteger(this.order.length)} of ${formatInteger(fleet.size)}`);
    this.spread.style.height = `${this.order.length * ROW_HEIGHT}px`;
    document.getElementById("table").setAttribute("aria-rowcount", this.order.length + 1);
    this.paint();
    this.onChange(this.order);
  }

  /** Replaces the rows that the server rendered; the box keeps its height whatever the filter is. */
  start() {
    this.spread.replaceChildren();
    this.box.classList.add("live");
    this.box.style.minHeight = `${Math.min(this.box.clientHeight, this.fleet.size * ROW_HEIGHT)}px`;
  }

  matches(sensor) {
    if (!this.words.length) return true;
    const { fleet } = this;
    const text = `${fleet.searchTexts[sensor]} ${fleet.state(sensor)} ${fleet.kind(sensor) ?? ""} ${withSpaces(fleet.kind(sensor) ?? "")}`;
    return this.words.every((word) => text.includes(word));
  }

  sortOrder() {
    const { fleet, sort } = this;
    const texts = {
      id: (sensor) => fleet.ids[sensor],
      place: (sensor) => fleet.identities.location[sensor],
      firmware: (sensor) => fleet.identities.firmware_version[sensor],
      state: (sensor) => fleet.state(sensor),
      anomaly: (sensor) => fleet.kind(sensor),
    };
    const key = texts[sort] ?? ((sensor) => measure(fleet, sort).of(fleet, sensor));
    const keys = new Map(this.order.map((sensor) => [sensor, key(sensor)]));
    const sign = this.down ? -1 : 1;
    this.order.sort((one, other) => {
      const [a, b] = [keys.get(one), keys.get(other)];
      if (a === b) return one - other;
      if (a === null) return 1; // unknown values come last in either direction
      if (b === null) return -1;
      return sign * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
    });
  }

  paint() {
    if (!this.box.classList.contains("live")) return;
    const first = Math.max(Math.floor(this.box.scrollTop / ROW_HEIGHT) - SPARE_ROWS, 0);
    const last = Math.min(Math.ceil((this.box.scrollTop + this.box.clientHeight) / ROW_HEIGHT) + SPARE_ROWS, this.order.length);
    const size = Math.ceil(this.box.clientHeight / ROW_HEIGHT) + 2 * SPARE_ROWS + 1;
    while (this.pool.length < size) {
      this.pool.push(this.blank());
      this.spread.append(this.pool[this.pool.length - 1]);
    }
    const used = new Set();
    for (let index = first; index < last; index += 1) {
      const row = this.pool[index % this.pool.length]; // a row in view keeps its element, and so the focus
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
    const sensor = this.order[index];
    const { snapshot, identities } = fleet;
    const kind = fleet.kind(sensor);
    const state = fleet.state(sensor);
    setClass(row, kind ? "row in-anomaly" : "row");
    row.setAttribute("aria-rowindex", index + 2);
    row.style.transform = `translateY(${index * ROW_HEIGHT}px)`;
    const link = row.children[0].firstElementChild;
    link.href = `/sensors/${encodeURIComponent(fleet.ids[sensor])}`;
    setText(link, fleet.ids[sensor]);
    setClass(row.children[1].firstElementChild, `pill ${state}`);
    setText(row.children[1].firstElementChild, state);
    const texts = [
      identities.location[sensor] ?? "–",
      identities.firmware_version[sensor] ?? "–",
      ...fleet.channels.map(({ name }) => formatValue(fleet.value(name, sensor))),
      withSpaces(kind ?? ""),
      formatInteger(snapshot.readings[sensor]),
      formatInteger(snapshot.anomalies[sensor]),
      (snapshot.lags[sensor] / 100).toFixed(2),
      formatInteger(snapshot.restarts[sensor]),
      formatInteger(snapshot.errors[sensor]),
    ];
    texts.forEach((text, cell) => row.children[cell + 2] && setText(row.children[cell + 2], text));
  }
}
