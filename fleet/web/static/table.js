// The table of all sensors: filtered, sorted, with elements only for the rows in view.

import { element, formatInteger, formatValue, setClass, setText, withSpaces } from "./format.js";
import { compareLink, comparePlaceLink, MAX_COMPARED } from "./comparelink.js";
import { measure } from "./measures.js";

const ROW_HEIGHT = 32;
const SPARE_ROWS = 6;
const ID_FONT = '13px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
const PLACE_FONT = '12px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
const ID_SPACE = 36; // pixels of the box and the padding beside an id
const PLACE_SPACE = 12;
const MAX_TEXT_WIDTH = 320; // pixels
const MAX_CHANNELS = 8; // in a table of sensors of different kinds, as in pages.py

/** The text of a cell by the name of its column; those of channels and the first ones, which have elements, are left out. */
const TEXTS = {
  firmware: ({ identities }, sensor) => identities.firmware_version[sensor] ?? "–",
  kind: ({ identities }, sensor) => withSpaces(identities.sensor_type[sensor] ?? "–"),
  main: (fleet, sensor) => {
    const { key, unit } = fleet.mainChannel(sensor) ?? {};
    return `${formatValue(fleet.value(key, sensor))} ${unit ?? ""}`;
  },
  anomaly: (fleet, sensor) => withSpaces(fleet.kind(sensor) ?? ""),
  readings: ({ snapshot }, sensor) => formatInteger(snapshot.readings[sensor]),
  anomalies: ({ snapshot }, sensor) => formatInteger(snapshot.anomalies[sensor]),
  lag: ({ snapshot }, sensor) => (snapshot.lags[sensor] / 100).toFixed(2),
  restarts: ({ snapshot }, sensor) => formatInteger(snapshot.restarts[sensor]),
  errors: ({ snapshot }, sensor) => formatInteger(snapshot.errors[sensor]),
};

export class SensorTable {
  /** `onChange(sensors)` is called with the indexes of the sensors in the table, `pick(index)` if the box of one is ticked or
   * cleared; `picked()` returns the ids of those that are ticked. */
  constructor(fleet, address, { onChange, pick, picked }) {
    Object.assign(this, { fleet, address, onChange, pick, picked, order: [], words: [], sort: "", down: false, pool: [] });
    this.compare = document.getElementById("compare");
    this.compare.addEventListener("click", () => window.location.assign(compareLink(this.toCompare())));
    this.box = document.getElementById("rows");
    this.spread = document.getElementById("spread");
    this.head = document.querySelector("#table .head");
    this.count = document.getElementById("table-count");
    this.box.addEventListener("scroll", () => this.paint());
    new ResizeObserver(() => this.paint()).observe(this.box);
    this.input = document.getElementById("filter");
    this.input.addEventListener("input", () => this.filter(this.input.value));
    this.none = element("div", "none-found");
    this.none.append(element("span"), Object.assign(element("button", "", "Show all"), { type: "button" }));
    this.none.lastElementChild.addEventListener("click", () => this.filter(""));
    this.none.hidden = true;
    this.box.append(this.none);
    this.buttons = [...this.head.querySelectorAll("button")];
    this.columns = this.buttons.map((button) => button.dataset.sort);
    this.kind = document.getElementById("kind"); // null if all sensors are of one kind
    if (this.kind) this.kind.value = address.get("kind", [...this.kind.options].map((option) => option.value), "");
    this.kind?.addEventListener("change", () => {
      this.address.set("kind", this.kind.value, "");
      this.box.scrollTop = 0;
      this.show();
    });
    for (const button of this.buttons) button.addEventListener("click", () => this.sortBy(button.dataset.sort));
    this.watchColumns();
    this.filter(address.get("filter", null, ""));
    const sort = address.get("sort", this.buttons.flatMap((button) => [button.dataset.sort, `-${button.dataset.sort}`]), "");
    if (sort) this.setOrder(sort.replace(/^-/, ""), sort.startsWith("-"));
  }

  /** Says how many columns lie beyond the right edge, and shows them at a click. */
  watchColumns() {
    const box = document.getElementById("table");
    const more = document.getElementById("more-columns");
    const count = () => {
      const edge = box.getBoundingClientRect().right;
      const beyond = [...this.head.children].filter((cell) => cell.getBoundingClientRect().right > edge + 1 && cell.offsetWidth).length;
      more.hidden = !beyond;
      box.classList.toggle("more", beyond > 0);
      setText(more, `${beyond} more ${beyond === 1 ? "column" : "columns"} →`);
    };
    this.countColumns = count;
    box.addEventListener("scroll", count);
    new ResizeObserver(count).observe(box);
    more.addEventListener("click", () => box.scrollBy({ left: box.clientWidth * 0.7 }));
  }

  filter(text) {
    if (this.input.value !== text) this.input.value = text;
    this.address.set("filter", text, "");
    this.words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.box.scrollTop = 0;
    this.show();
  }

  sortBy(name) {
    this.setOrder(name, this.sort === name ? !this.down : !["id", "place", "firmware", "state", "kind"].includes(name));
    this.address.set("sort", `${this.down ? "-" : ""}${name}`, "");
  }

  setOrder(name, down) {
    Object.assign(this, { sort: name, down });
    for (const button of this.buttons) button.parentElement.setAttribute("aria-sort", button.dataset.sort === name ? (down ? "descending" : "ascending") : "none");
    this.show();
  }

  show() {
    const { fleet } = this;
    if (!fleet.snapshot) return;
    if (!this.box.classList.contains("live")) this.start();
    this.showColumns();
    this.order = fleet.ids.map((_, sensor) => sensor).filter((sensor) => this.matches(sensor));
    if (this.sort) this.sortOrder();
    setText(this.count, this.order.length === fleet.size ? formatInteger(fleet.size) : `${formatInteger(this.order.length)} of ${formatInteger(fleet.size)}`);
    this.none.hidden = this.order.length > 0;
    if (!this.order.length) setText(this.none.firstElementChild, `None of ${formatInteger(fleet.size)} sensors matches “${this.input.value.trim()}”.`);
    this.spread.style.height = `${this.order.length * ROW_HEIGHT}px`;
    document.getElementById("table").setAttribute("aria-rowcount", this.order.length + 1);
    this.paint();
    this.onChange(this.order);
  }

  /** Shows the columns of the channels that the sensors of the chosen kind have, and that of the kind if none is chosen. With all kinds in the table there may be
   * too many: then those that several kinds have, and the first channel of each sensor. */
  showColumns() {
    const { fleet } = this;
    const kind = this.kind?.value ?? "";
    if (this.shownOf?.[0] === fleet.identities && this.shownOf[1] === kind) return;
    if (this.shownOf?.[0] !== fleet.identities) this.fitColumns();
    this.shownOf = [fleet.identities, kind];
    const numbers = new Set(fleet.identities.sets.filter((_, sensor) => this.isOfKind(sensor)));
    const sets = [...numbers].map((number) => fleet.identities.channel_sets[number]);
    let keys = fleet.channels.map(({ key }) => key).filter((key) => sets.some((set) => set.includes(key)));
    const tooMany = sets.length > 1 && keys.length > MAX_CHANNELS;
    if (tooMany) keys = keys.filter((key) => sets.filter((set) => set.includes(key)).length > 1).slice(0, MAX_CHANNELS);
    this.hiddenColumns = this.columns.map((name) => (name === "main" ? !tooMany : name === "kind" ? kind !== "" : name.startsWith("channel:") && !keys.includes(name.slice(8))));
    [...this.head.children, ...this.pool.flatMap((row) => [...row.children])].forEach((cell, index) => {
      cell.hidden = this.hiddenColumns[index % this.columns.length];
    });
    this.countColumns();
  }

  /** Makes the columns of the ids and of the places as wide as their longest texts. */
  fitColumns() {
    const context = document.createElement("canvas").getContext("2d");
    const fit = (name, font, texts, space) => {
      context.font = font;
      const widest = texts.reduce((most, text) => Math.max(most, text ? context.measureText(text).width : 0), 0);
      document.getElementById("table").style.setProperty(name, `${Math.min(Math.ceil(widest) + space, MAX_TEXT_WIDTH)}px`);
    };
    fit("--id-width", ID_FONT, this.fleet.ids, ID_SPACE);
    fit("--place-width", PLACE_FONT, [...new Set(this.fleet.identities.location)], PLACE_SPACE);
  }

  isOfKind(sensor) {
    return !this.kind?.value || this.fleet.identities.sensor_type[sensor] === this.kind.value;
  }

  /** The ids of the sensors that are compared: those that are ticked, or all that a filter leaves. */
  toCompare() {
    const picked = [...this.picked()];
    return picked.length ? picked : this.order.map((sensor) => this.fleet.ids[sensor]);
  }

  showCompare() {
    const count = this.toCompare().length;
    this.compare.disabled = count < 2 || count > MAX_COMPARED;
    setText(this.compare, this.compare.disabled ? "Compare" : `Compare ${count}`);
  }

  /** Replaces the rows that the server rendered; the box keeps its height whatever the filter is. */
  start() {
    this.spread.replaceChildren();
    this.box.classList.add("live");
    this.box.style.minHeight = `${Math.min(this.box.clientHeight, this.fleet.size * ROW_HEIGHT)}px`;
  }

  matches(sensor) {
    if (!this.isOfKind(sensor)) return false;
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
      kind: (sensor) => fleet.identities.sensor_type[sensor],
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
    this.showCompare();
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
      cell.hidden = head.hidden;
      cell.setAttribute("role", "cell");
      row.append(cell);
    }
    const box = Object.assign(element("input"), { type: "checkbox" });
    box.addEventListener("change", () => this.pick(this.fleet.indexById.get(box.value)));
    row.children[0].append(box, element("a"));
    row.children[1].append(element("span"));
    row.children[2].append(element("a"));
    return row;
  }

  fill(row, index) {
    const { fleet } = this;
    const sensor = this.order[index];
    const { identities } = fleet;
    const state = fleet.state(sensor);
    setClass(row, fleet.kind(sensor) ? "row in-anomaly" : "row");
    row.setAttribute("aria-rowindex", index + 2);
    row.style.transform = `translateY(${index * ROW_HEIGHT}px)`;
    const id = fleet.ids[sensor];
    const [box, link] = row.children[0].children;
    if (box.value !== id) {
      box.value = id;
      box.setAttribute("aria-label", `Pick ${id}`);
      link.href = `/sensors/${encodeURIComponent(id)}`;
      setText(link, id);
      this.fillPlace(row.children[2].firstElementChild, identities.location[sensor]);
    }
    box.checked = this.picked().has(id);
    setClass(row.children[1].firstElementChild, `pill ${state}`);
    setText(row.children[1].firstElementChild, state);
    this.columns.forEach((name, column) => {
      const cell = row.children[column];
      if (!cell.hidden && name in TEXTS) setText(cell, TEXTS[name](fleet, sensor));
      else if (!cell.hidden && name.startsWith("channel:")) setText(cell, formatValue(fleet.value(name.slice(8), sensor)));
    });
  }

  fillPlace(link, place) {
    setText(link, place ?? "–");
    if (place) Object.assign(link, { href: comparePlaceLink(place), title: `Compare the sensors of ${place}` });
    else for (const name of ["href", "title"]) link.removeAttribute(name);
  }
}
