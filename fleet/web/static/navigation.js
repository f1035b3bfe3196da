// Moving in time on a chart, by pointer, wheel, fingers and keys: a drag of the mouse zooms to what it covers, with Shift it
// moves; the wheel zooms with Ctrl and moves sideways with Shift; one finger moves, two zoom.

const MIN_DRAG_PIXELS = 6;
const WHEEL_SHARE = 0.0025; // of what is shown, for each pixel of the wheel

export class Navigation {
  /** `timeAt(event)` returns the time at a pointer, or null. `ranges` is moved, `select(span)` shows what a drag covers, null
   * at its end. */
  constructor(canvas, { timeAt, ranges, select }) {
    Object.assign(this, { canvas, timeAt, ranges, select, pointers: new Map(), drag: null });
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.up(event, name === "pointerup"));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("dblclick", (event) => ranges.zoom(2, timeAt(event)));
  }

  get span() {
    return this.ranges.shown().span;
  }

  down(event) {
    if (event.button) return;
    const time = this.timeAt(event);
    if (time === null) return;
    this.pointers.set(event.pointerId, event);
    this.canvas.setPointerCapture(event.pointerId);
    this.begin(event, time);
  }

  /** Begins a drag, or begins it again with another number of fingers. */
  begin(event, time) {
    const perPixel = (this.timeAt({ clientX: event.clientX + 100, clientY: event.clientY }) - time) / 100;
    this.drag = { x: event.clientX, time, perPixel, span: this.span, spread: this.spread(), moves: event.pointerType !== "mouse" || event.shiftKey, begun: false };
  }

  /** The distance of two fingers, 0 for one. */
  spread() {
    const [one, other] = [...this.pointers.values()];
    return other ? Math.max(Math.abs(one.clientX - other.clientX), 1) : 0;
  }

  move(event) {
    if (!this.drag || !this.pointers.has(event.pointerId)) return;
    this.pointers.set(event.pointerId, event);
    const { x, time, perPixel, span, spread, moves } = this.drag;
    if (!this.drag.begun && Math.abs(event.clientX - x) < MIN_DRAG_PIXELS) return;
    this.drag.begun = true;
    const [from, to] = span;
    if (spread) {
      const by = spread / Math.max(this.spread(), 1);
      this.ranges.setWindow(time - (time - from) * by, time + (to - time) * by);
    } else if (moves) {
      const shift = (x - event.clientX) * perPixel;
      this.ranges.setWindow(from + shift, to + shift);
    } else {
      const end = time + (event.clientX - x) * perPixel;
      this.drag.chosen = [Math.max(Math.min(time, end), from), Math.min(Math.max(time, end), to)];
      this.select(this.drag.chosen);
    }
  }

  up(event, completes) {
    if (!this.pointers.delete(event.pointerId) || !this.drag) return;
    const { chosen } = this.drag;
    const [left] = this.pointers.values();
    this.drag = null;
    if (left) this.begin(left, this.timeAt(left) ?? 0);
    this.select(null);
    if (completes && chosen) this.ranges.setWindow(...chosen);
  }

  wheel(event) {
    const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (!event.ctrlKey && !event.metaKey && !sideways) return; // the page scrolls
    event.preventDefault();
    const size = event.deltaMode ? 30 : 1; // lines instead of pixels
    if (event.ctrlKey || event.metaKey) this.ranges.zoom(2 ** (event.deltaY * size * 2 * WHEEL_SHARE), this.timeAt(event));
    else this.ranges.pan((event.deltaX || event.deltaY) * size * WHEEL_SHARE);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { ranges } = this;
    const act = { "+": () => ranges.zoom(0.5), "=": () => ranges.zoom(0.5), "-": () => ranges.zoom(2), 0: () => ranges.setPeriod(ranges.period) }[event.key];
    const shift = event.shiftKey && { ArrowLeft: -0.5, ArrowRight: 0.5 }[event.key];
    if (event.key === "Escape" && this.drag) {
      this.drag = null;
      this.select(null);
      return;
    }
    if (!act && !shift) return;
    event.preventDefault();
    if (shift) ranges.pan(shift);
    else act();
  }
}
