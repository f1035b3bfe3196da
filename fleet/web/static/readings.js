// The present readings of the fleet: of every channel over all sensors that have it, or of one channel
// by city. A channel in another unit is another channel.

import { comparePlaceLink } from "./comparelink.js";
import { element, formatInteger, formatValue, setText, withSpaces } from "./format.js";

const SHARES = [0, 0.05, 0.5, 0.95, 1];
const MAX_ROWS = 200;

/** The value below which a share of the sorted values lies. */
export function quantile(sorted, share) {
  const position = share * (sorted.length - 1);
  const low = Math.floor(position);
  return sorted[low] + ((sorted[low + 1] ?? sorted[low]) - sorted[low]) * (position - low);
}

export class Readings {
  constructor(fleet, address) {
    Object.assign(this, { fleet, key: "", select: document.getElementById("readings-of"), rows: document.getElementById("readings-rows") });
    this.select.value = address.get("readings", [...this.select.options].map((option) => option.value), "");
    this.select.addEventListener("change", () => {
      address.set("readings", this.select.value, "");
      this.show();
    });
  }

  /** {label, unit, values} of each row, the values sorted. */
  groups() {
    const { fleet } = this;
    const channel = this.select.value;
    const names = new Map();
    if (!channel) for (const { key, name, unit } of fleet.channels) names.set(key, { label: withSpaces(name), unit, values: fleet.ids.map((_, index) => fleet.value(key, index)) });
    else {
      const { unit } = fleet.channel(channel) ?? { unit: "" };
      fleet.ids.forEach((_, index) => {
        if (!fleet.channelsOf(index).some(({ key }) => key === channel)) return;
        const place = fleet.identities.location[index] ?? "no place";
        if (!names.has(place)) names.set(place, { label: place, unit, href: fleet.identities.location[index] && comparePlaceLink(place), values: [] });
        names.get(place).values.push(fleet.value(channel, index));
      });
    }
    const groups = [...names.values()].map((group) => ({ ...group, values: group.values.filter((value) => value !== null).sort((one, other) => one - other) }));
    return (channel ? groups.sort((one, other) => other.values.length - one.values.length || one.label.localeCompare(other.label)) : groups).slice(0, MAX_ROWS);
  }

  show() {
    if (!this.fleet.snapshot) return;
    const groups = this.groups().map((group) => ({ ...group, figures: group.values.length ? SHARES.map((share) => quantile(group.values, share)) : null }));
    const key = JSON.stringify(groups.map(({ label, unit }) => [label, unit]));
    if (key !== this.key) {
      this.key = key;
      this.rows.replaceChildren(...groups.map(({ label, unit, href }) => this.row(label, unit, href)));
    }
    const known = groups.flatMap(({ figures }) => figures ?? []);
    const shared = this.select.value ? [Math.min(...known), Math.max(...known)] : null;
    groups.forEach(({ values, figures }, index) => this.fill(this.rows.children[index], values.length, figures, shared));
  }

  row(label, unit, href) {
    const row = element("tr");
    const head = element("th");
    head.scope = "row";
    const name = href ? Object.assign(element("a", "", label), { href, title: `Compare the sensors of ${label}` }) : label;
    head.append(name, " ", element("small", "", unit));
    const bar = element("td", "spread-cell");
    bar.append(element("div", "range"));
    bar.firstElementChild.append(element("i", "all"), element("i", "most"), element("i", "middle"));
    row.append(head, element("td", "number"), ...SHARES.map(() => element("td", "number")), bar);
    return row;
  }

  /** `scale` is [low, high] of the bars, null for the row's own. */
  fill(row, count, figures, scale) {
    setText(row.children[1], formatInteger(count));
    SHARES.forEach((_, index) => setText(row.children[index + 2], figures ? formatValue(figures[index]) : "–"));
    const bar = row.lastElementChild.firstElementChild;
    bar.hidden = !figures;
    if (!figures) return;
    const [low, high] = scale ?? [figures[0], figures[4]];
    const percent = (value) => ((value - low) / (high - low || 1)) * 100;
    const [all, most, middle] = bar.children;
    for (const [node, from, to] of [[all, figures[0], figures[4]], [most, figures[1], figures[3]]]) {
      node.style.left = `${percent(from)}%`;
      node.style.width = `${Math.max(percent(to) - percent(from), 0.5)}%`;
    }
    middle.style.left = `${Math.min(percent(figures[2]), 99.2)}%`;
  }
}
