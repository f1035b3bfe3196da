// The token for control: typed in, stored for this tab only, checked by the server before the controls are unlocked.

import { fetchJson } from "./feed.js";
import { setText } from "./format.js";

const KEY = "fleet-token";

export class Token {
  constructor() {
    this.form = document.getElementById("lock");
    this.input = document.getElementById("token");
    this.button = document.getElementById("unlock");
    this.label = document.getElementById("lock-label");
    this.how = document.getElementById("lock-how");
    this.actions = document.getElementById("actions");
    this.value = tokenOfLink() || storedToken();
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.form.dataset.state === "open") this.lock("");
      else this.check(this.input.value.trim());
    });
    this.check(this.value);
  }

  get headers() {
    return this.value ? { Authorization: `Bearer ${this.value}` } : {};
  }

  /** Asks the server whether this is the token, and unlocks the controls if it is. */
  async check(value) {
    this.value = /^[\x21-\x7e]*$/.test(value) ? value : "";
    let answer;
    try {
      answer = await fetchJson("/api/control", { headers: this.headers });
    } catch (error) {
      this.lock(error.status === 404 ? "This server takes no commands." : `The token cannot be checked now: ${error.message}`, this.value);
      return;
    }
    if (answer.authorized) this.open();
    else this.lock(answer.possible ? `${value ? "That is not the token. " : ""}${sentence(answer.how)}` : `Not possible: ${answer.reason}`);
  }

  open() {
    storeToken(this.value);
    this.form.dataset.state = "open";
    setText(this.label, "Unlocked in this tab");
    setText(this.button, "Lock");
    this.input.value = "";
    this.input.disabled = true;
    this.input.placeholder = "••••••••";
    this.how.hidden = true;
    this.actions.disabled = false;
  }

  /** Locks the controls; `value` is a token to keep because it could not be checked. */
  lock(reason, value = "") {
    this.value = value;
    storeToken(value);
    this.form.dataset.state = "locked";
    setText(this.label, "Locked: changes need the token");
    setText(this.button, "Unlock");
    this.input.disabled = false;
    this.input.placeholder = "token";
    this.input.value = "";
    this.how.hidden = false;
    if (reason) setText(this.how, reason);
    this.actions.disabled = true;
    if (!reason) this.check("");
  }
}

const sentence = (text) => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;

/** The token of a link such as http://127.0.0.1:8080/#token=..., which is removed from the address at once. A browser sends
 * this part of an address to no server. */
function tokenOfLink() {
  const token = new URLSearchParams(window.location.hash.slice(1)).get("token");
  if (token !== null) window.history.replaceState(null, "", window.location.pathname + window.location.search);
  return token ?? "";
}

function storedToken() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

function storeToken(value) {
  try {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  } catch {
    // without storage only this page knows it
  }
}
