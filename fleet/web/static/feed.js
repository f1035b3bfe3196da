// Asking the server again and again: one question after the other, none from a page that nobody looks at, patiently
// when there is no answer.

const SLOWEST = 5000;

export async function ask(path, options = {}) {
  const response = await fetch(path, { signal: AbortSignal.timeout(10000), ...options });
  const document = await response.json();
  if (!response.ok) throw Object.assign(new Error(document.error ?? `${path}: ${response.status}`), { status: response.status });
  return document;
}

export class Feed {
  /** Asks for `path()` every `interval` milliseconds and hands the answer to `take`. `tell(state, reason)` hears "live",
   * "lost" or "resting" whenever it changes. */
  constructor(path, interval, take, tell = () => {}) {
    Object.assign(this, { path, interval, take, tell, state: "", failures: 0, timer: 0, asking: false });
    document.addEventListener("visibilitychange", () => this.wake());
    window.addEventListener("online", () => this.wake());
    this.wake();
  }

  wake() {
    clearTimeout(this.timer);
    if (document.hidden) this.say("resting");
    else if (!this.asking) this.look();
  }

  async look() {
    this.asking = true;
    try {
      const answer = await ask(this.path());
      this.failures = 0;
      await this.take(answer, this.state === "lost");
      this.say("live");
    } catch (error) {
      this.failures += 1;
      this.say("lost", error.status ? error.message : "the server does not answer");
      if (!error.status && !["TypeError", "TimeoutError", "AbortError", "SyntaxError"].includes(error.name)) console.error(error);
    }
    this.asking = false;
    if (document.hidden) this.say("resting");
    else this.timer = setTimeout(() => this.look(), this.failures ? Math.min(this.interval * 2 ** (this.failures - 1), SLOWEST) : this.interval);
  }

  say(state, reason = "") {
    if (state === this.state) return;
    this.state = state;
    this.tell(state, reason);
  }
}

/** Shows in the bar whether the page is up to date, and says when it is not. */
export function showLink(state, reason) {
  const link = document.getElementById("link");
  const notice = document.getElementById("notice");
  link.className = `link ${state}`;
  link.textContent = state;
  notice.hidden = state !== "lost";
  if (state === "lost") notice.textContent = `Not up to date since ${new Date().toISOString().slice(11, 19)}: ${reason}. Trying again.`;
}
