// The state of a page in its address, so that a link shows what its sender saw: ?filter=...&sort=...

export class AddressState {
  constructor() {
    this.values = new URLSearchParams(window.location.search);
  }

  /** The value of a name; `fallback` if there is none, or none of `allowed` (null allows any). */
  get(name, allowed, fallback) {
    const value = this.values.get(name);
    return value !== null && (!allowed || allowed.includes(value)) ? value : fallback;
  }

  /** Sets a value, which is left out if it is the `usual` one. No page is added to the history of the browser. */
  set(name, value, usual) {
    if ((this.values.get(name) ?? usual) === value) return;
    if (value === usual) this.values.delete(name);
    else this.values.set(name, value);
    const query = this.values.toString();
    window.history.replaceState(null, "", `${window.location.pathname}${query ? `?${query}` : ""}${window.location.hash}`);
  }
}
