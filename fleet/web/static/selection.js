// The sensors that the controls of the overview act on.

import { element, formatInteger, setText } from "./format.js";

const MAX_NAMED_SENSORS = 1000;
const MAX_PICKED_IN_ADDRESS = 100;
const COLUMNS = { city: "location", manufacturer: "manufacturer", firmware: "firmware_version", kind: "sensor_type" };

const counted = (number) => (number === 1 ? "1 sensor" : `${formatInteger(number)} sensors`);

export class SensorSelection {
  constructor(fleet, address) {
    Object.assign(this, { fleet, address, listed: [], picked: new Set() });
    this.kind = document.getElementById("scope");
    this.value = document.getElementById("scope-value");
    this.values = document.getElementById("scope-values");
    this.meant = document.getElementById("meant");
    this.kind.addEventListener("change", () => this.change());
    this.value.addEventListener("input", () => this.show());
  }

  /** Restores the selection of the address, once the sensors are known. */
  restore() {
    const picked = this.address.get("picked", null, "").split(",").filter((id) => this.fleet.indexById.has(id));
    for (const id of picked) this.picked.add(id);
    const kind = this.address.get("scope", [...this.kind.options].map((option) => option.value), picked.length ? "picked" : "all");
    const value = this.address.get("which", null, "");
    this.kind.value = kind;
    this.change();
    if (value && !this.value.disabled) this.value.value = value;
    this.show();
    return this.picked;
  }

  change() {
    const kind = this.kind.value;
    this.value.disabled = !(kind in COLUMNS) && kind !== "share";
    this.value.value = kind === "share" ? "10%" : "";
    this.value.placeholder = kind in COLUMNS ? kind : "";
    const names = kind in COLUMNS ? [...new Set(this.fleet.identities[COLUMNS[kind]])].filter(Boolean).sort() : [];
    this.values.replaceChildren(...names.slice(0, MAX_NAMED_SENSORS).map((name) => Object.assign(element("option"), { value: name })));
    this.show();
  }

  /** Selects by a property, such as ("city", "Lagos, NG"). */
  choose(kind, value) {
    this.kind.value = kind;
    this.change();
    this.value.value = value;
    this.show();
  }

  pick(picked) {
    this.picked = picked;
    const kind = this.kind.value;
    if (picked.size && kind === "all") this.kind.value = "picked";
    if (!picked.size && kind === "picked") this.kind.value = "all";
    if (this.kind.value === kind) this.show();
    else this.change();
  }

  /** The selection in the form of the API: `sensors`, `city`, `manufacturer`, `firmware`, `kind` or `share`; empty for all. */
  body() {
    const kind = this.kind.value;
    if (kind === "all") return {};
    if (kind === "share") return { share: this.share() };
    if (kind in COLUMNS) {
      if (!this.value.value.trim()) throw new RangeError(`which ${kind}?`);
      return { [kind]: this.value.value.trim() };
    }
    const ids = kind === "listed" ? this.listed.map((index) => this.fleet.ids[index]) : [...this.picked];
    if (!ids.length) throw new RangeError("no sensor is selected");
    if (ids.length === this.fleet.size) return {};
    if (ids.length > MAX_NAMED_SENSORS) throw new RangeError(`${formatInteger(ids.length)} sensors are listed: at most ${formatInteger(MAX_NAMED_SENSORS)} can be named`);
    return { sensors: ids };
  }

  share() {
    const percent = Number(this.value.value.replace("%", ""));
    if (!(percent > 0 && percent <= 100)) throw new RangeError("a share is above 0 and at most 100%");
    return percent / 100;
  }

  show() {
    setText(this.meant, `means ${this.description()}`);
    if (!this.fleet.snapshot) return;
    this.address.set("scope", this.kind.value, this.picked.size ? "picked" : "all");
    this.address.set("which", this.value.disabled ? "" : this.value.value.trim(), "");
    this.address.set("picked", [...this.picked].slice(0, MAX_PICKED_IN_ADDRESS).join(","), "");
  }

  description() {
    const kind = this.kind.value;
    const { size } = this.fleet;
    const typed = this.value.value.trim().toLowerCase();
    if (kind === "share") return `about ${counted(Math.round((size * (Number.parseFloat(typed) || 0)) / 100))}`;
    if (kind in COLUMNS) return `${counted(this.fleet.identities[COLUMNS[kind]]?.filter((name) => (kind === "city" ? name?.toLowerCase().split(",")[0] === typed || name?.toLowerCase() === typed : name?.toLowerCase() === typed)).length ?? 0)}`;
    return counted({ all: size, listed: this.listed.length, picked: this.picked.size }[kind]);
  }
}
