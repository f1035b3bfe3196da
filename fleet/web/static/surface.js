// A canvas in the resolution of the screen, drawn at most once per frame, and redrawn when its size or the theme changes.

import { onThemeChange } from "./palette.js";

export class Surface {
  /** `draw(context, width, height)` draws in CSS pixels, on a cleared canvas. */
  constructor(canvas, draw) {
    this.canvas = canvas;
    this.draw = draw;
    this.width = 0;
    this.height = 0;
    this.waiting = false;
    new ResizeObserver(() => this.resize()).observe(canvas);
    onThemeChange(() => this.request());
    this.resize();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    this.canvas.width = Math.max(Math.round(this.width * ratio), 1);
    this.canvas.height = Math.max(Math.round(this.height * ratio), 1);
    this.request();
  }

  request() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      if (!this.width || !this.height) return;
      const context = this.canvas.getContext("2d");
      const ratio = this.canvas.width / this.width;
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, this.width, this.height);
      context.font = '11px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
      this.draw(context, this.width, this.height);
    });
  }

  /** The position of a pointer event, in CSS pixels from the corner of the canvas. */
  position(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }
}
