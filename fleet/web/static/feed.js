// Polling: requests one after the other, none while the page is hidden, less often while the server does not answer.

const MAX_INTERVAL_MS = 5000;

export async function fetchJson(path, options = {}) {
  const response = await fetch(path, { signal: AbortSignal.timeout(10000), ...options });
  const document = await response.json();
  if (!response.ok) throw Object.assign(new Error(document.error ?? `${path}: ${response.status}`), { status: response.status });
  return document;
}

export class Feed {
  /** Requests `path()` every `interval` milliseconds and calls `onAnswer` with the document. `onState(state, reason)` is
   * called with "live", "lost" or "resting" when the state changes. */
  constructor(path, interval, onAnswer, onState = () => {}) {
    Object.assign(this, { path, interval, onAnswer, onState, state: "", failures: 0, timer: 0, asking: false });
    document.addEventListener("visibilitychange", () => this.resume());
    window.addEventListener("online", () => this.resume());
    this.resume();
  }

  resume() {
    clearTimeout(this.timer);
    if (document.hidden) this.setState("resting");
    else if (!this.asking) this.poll();
  }

  async poll() {
    this.asking = true;
    try {
      const answer = await fetchJson(this.path());
      this.failures = 0;
      await this.onAnswer(answer);
      this.setState("live");
    } catch (error) {
      this.failures += 1;
      this.setState("lost", error.status ? error.message : "the server does not answer");
      if (!error.status && !["TypeError", "TimeoutError", "AbortError", "SyntaxError"].includes(error.name)) console.error(error);
    }
    this.asking = false;
    if (document.hidden) this.setState("resting");
    else this.timer = setTimeout(() => this.poll(), this.failures ? Math.min(this.interval * 2 ** (this.failures - 1), MAX_INTERVAL_MS) : this.interval);
  }

  setState(state, reason = "") {
    if (state === this.state) return;
    this.state = state;
    this.onState(state, reason);
  }
}

/** Shows in the bar whether the page is up to date, and since when it is not. */
export function showLink(state, reason) {
  const link = document.getElementById("link");
  const notice = document.getElementById("notice");
  link.className = `link ${state}`;
  link.textContent = state;
  notice.hidden = state !== "lost";
  if (state === "lost") notice.textContent = `Not up to date since ${new Date().toISOString().slice(11, 19)}: ${reason}. Trying again.`;
}
