// Formats of numbers and times, the same as on the server (pages.py), and helpers for nodes. Times are UTC.

export const formatInteger = (number) => number.toLocaleString("en-US", { maximumFractionDigits: 0 });

/** A number in at most six characters, as `compact_number` on the server. */
export function formatCompact(number) {
  for (const [size, unit, letter] of [[1e9, 1e9, "G"], [1e6, 1e6, "M"], [1e4, 1e3, "k"]]) {
    if (number >= size) return `${(number / unit).toFixed(number / unit < 100 ? 1 : 0)}${letter}`;
  }
  return number >= 100 || Number.isInteger(number) ? formatInteger(number) : number.toFixed(1);
}

const SMALL_VALUE = 0.01;

/** A measured value to about four digits, a very small one to three, as `format_value` on the server. */
export function formatValue(number) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  const size = Math.abs(number);
  if (size > 0 && size < SMALL_VALUE) return number.toPrecision(3);
  return size >= 1000 ? formatInteger(number) : number.toFixed(size >= 10 ? 2 : 3);
}

/** [number, unit] of a size in bytes. */
export function formatBytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let index = 0;
  let size = number;
  while (size >= 1000 && index < units.length - 1) {
    size /= 1000;
    index += 1;
  }
  return [index && size < 99.95 ? size.toFixed(1) : size.toFixed(0), units[index]];
}

export const formatTime = (milliseconds) => new Date(milliseconds).toISOString().slice(11, 19);

/** A time with its date, unless it is within a day of now. */
export const formatMoment = (milliseconds) => (Math.abs(milliseconds - Date.now()) < 86_400_000 ? "" : `${new Date(milliseconds).toISOString().slice(0, 10)} `) + formatTime(milliseconds);

const UNITS = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** A number of seconds as "5 min" or "1 min 40 s", in its two largest units. */
export function formatDuration(seconds) {
  let rest = seconds;
  const parts = [];
  for (const [size, unit] of UNITS) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count) parts.push(`${count} ${unit}`);
    else if (parts.length) break;
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}

export const withSpaces = (name) => name.replaceAll("_", " ");

/** The name of a channel or an attribute as a label. */
export const readable = (name) => name.charAt(0).toUpperCase() + withSpaces(name.slice(1));

/** Sets the text of a node if it differs: every assignment makes the browser lay the node out again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets the class of a node if it differs. */
export function setClass(node, name) {
  if (node.className !== name) node.className = name;
}

/** A new element with a class and a text. */
export function element(tag, name, text) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text !== undefined) node.textContent = text;
  return node;
}

/** Round steps for an axis from `low` to `high`, about `count` of them. */
export function ticks(low, high, count) {
  const rough = (high - low) / Math.max(count, 1) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const sizes = [0.5, 1, 2, 5, 10].map((factor) => factor * power);
  const fit = (size) => Math.floor(high / size) - Math.ceil(low / size) + 1;
  const first = sizes.findIndex((size) => size >= rough);
  const step = sizes[fit(sizes[first]) < 2 ? first - 1 : first]; // an axis with one value does not say what its unit is
  const values = [];
  for (let count = Math.ceil(low / step); count <= high / step + 1e-6; count += 1) values.push(count * step || 0); // not -0
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return values.map((value) => ({ value, text: value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }) }));
}
