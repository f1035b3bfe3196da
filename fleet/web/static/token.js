// The token for control: typed in, kept for this tab only, tried on the server before anything is unlocked.

import { ask } from "./feed.js";
import { write } from "./format.js";

const KEY = "fleet-token";

export class Token {
  constructor() {
    this.form = document.getElementById("lock");
    this.input = document.getElementById("token");
    this.button = document.getElementById("unlock");
    this.label = document.getElementById("lock-label");
    this.how = document.getElementById("lock-how");
    this.actions = document.getElementById("actions");
    this.value = kept();
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.form.dataset.state === "open") this.lock("");
      else this.attempt(this.input.value.trim());
    });
    this.attempt(this.value);
  }

  get headers() {
    return this.value ? { Authorization: `Bearer ${this.value}` } : {};
  }

  /** Asks the server whether that is the token. Nothing is done with it. */
  async attempt(value) {
    this.value = /^[\x21-\x7e]*$/.test(value) ? value : "";
    let told;
    try {
      told = await ask("/api/control", { headers: this.headers });
    } catch (error) {
      this.lock(error.status === 404 ? "This server takes no commands." : `Cannot be tried now: ${error.message}`, this.value);
      return;
    }
    if (told.authorized) this.open();
    else this.lock(told.possible ? `${value ? "That is not the token. " : ""}${sentence(told.how)}` : `Not possible: ${told.reason}`);
  }

  open() {
    keep(this.value);
    this.form.dataset.state = "open";
    write(this.label, "Unlocked in this tab");
    write(this.button, "Lock");
    this.input.value = "";
    this.input.disabled = true;
    this.input.placeholder = "••••••••";
    this.how.hidden = true;
    this.actions.disabled = false;
  }

  /** `value` is kept where it could not be tried. */
  lock(reason, value = "") {
    this.value = value;
    keep(value);
    this.form.dataset.state = "locked";
    write(this.label, "Locked: changes need the token");
    write(this.button, "Unlock");
    this.input.disabled = false;
    this.input.placeholder = "token";
    this.input.value = "";
    this.how.hidden = false;
    if (reason) write(this.how, reason);
    this.actions.disabled = true;
    if (!reason) this.attempt("");
  }
}

const sentence = (text) => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;

function kept() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

function keep(value) {
  try {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  } catch {
    // it is known to this page only
  }
}
