// How numbers and times are written, as the server writes them (pages.py). Times are UTC.

export const whole = (number) => number.toLocaleString("en-US", { maximumFractionDigits: 0 });

/** Four digits that can be read from afar. */
export function compact(number) {
  if (number >= 1e7) return `${(number / 1e6).toFixed(1)}M`;
  if (number >= 1e6) return `${(number / 1e6).toFixed(2)}M`;
  if (number >= 1e4) return `${(number / 1e3).toFixed(1)}k`;
  return number >= 100 || Number.isInteger(number) ? whole(number) : number.toFixed(1);
}

/** A measured value, to about four digits. */
export function written(number) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  const size = Math.abs(number);
  return size >= 1000 ? whole(number) : number.toFixed(size >= 10 ? 2 : 3);
}

/** [figure, unit] of bytes. */
export function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let place = 0;
  let size = number;
  while (size >= 1000 && place < units.length - 1) {
    size /= 1000;
    place += 1;
  }
  return [place && size < 99.95 ? size.toFixed(1) : size.toFixed(0), units[place]];
}

export const clock = (milliseconds) => new Date(milliseconds).toISOString().slice(11, 19);

export const spaced = (name) => name.replaceAll("_", " ");

/** Sets what a node says, if it says something else: a node that is written to is laid out again. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function dress(node, name) {
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
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) found.push(value);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return found.map((value) => ({ value, text: value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }) }));
}
