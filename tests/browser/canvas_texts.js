// Notes the texts on each canvas since it was last cleared, in `window.canvasTexts`, with the colour that was behind them, and
// the circles, in `window.canvasCircles`.
window.canvasTexts = new Map();
window.canvasCircles = new Map();
{
  const { getContext } = HTMLCanvasElement.prototype;
  HTMLCanvasElement.prototype.getContext = function (kind, options) {
    return getContext.call(this, kind, { ...options, willReadFrequently: true });
  };
  const { arc, clearRect, fillText } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.clearRect = function (...box) {
    window.canvasTexts.set(this.canvas, []);
    window.canvasCircles.set(this.canvas, []);
    clearRect.apply(this, box);
  };
  CanvasRenderingContext2D.prototype.arc = function (x, y, radius, ...angles) {
    window.canvasCircles.get(this.canvas)?.push({ x, y, radius });
    arc.call(this, x, y, radius, ...angles);
  };
  CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
    const { actualBoundingBoxLeft: before, actualBoundingBoxRight: behind, actualBoundingBoxAscent: above, actualBoundingBoxDescent: below } = this.measureText(text);
    const [left, right, top, bottom] = [x - before, x + behind, y - above, y + below];
    const ratio = this.canvas.width / this.canvas.clientWidth || 1;
    const [red, green, blue, alpha] = this.getImageData(Math.max(left, 0) * ratio, ((top + bottom) / 2) * ratio, 1, 1).data;
    window.canvasTexts.get(this.canvas)?.push({ text, left, right, top, bottom, colour: this.fillStyle, alpha: this.globalAlpha, behind: [red, green, blue, alpha / 255] });
    fillText.call(this, text, x, y);
  };
}
