// Lists what is wrong with the look of a page: text that is cut, covered, wrapped or hard to read, and a page that scrolls to
// the side. It is evaluated in the page by `appearance.py`; texts on canvases are those that `canvas_texts.js` has noted.
() => {
  const MIN_CONTRAST = 4.5;
  const SLACK = 1.5; // pixels: the side bearings of glyphs
  const CUT = 0.3; // pixels: fractions
  const problems = [];
  const pixel = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const known = new Map();

  /** [red, green, blue, alpha] of any CSS colour, the parts up to 255 and 1. */
  const parse = (text) => {
    if (!known.has(text)) {
      pixel.clearRect(0, 0, 1, 1);
      pixel.fillStyle = text;
      pixel.fillRect(0, 0, 1, 1);
      const [red, green, blue, alpha] = pixel.getImageData(0, 0, 1, 1).data;
      known.set(text, [red, green, blue, alpha / 255]);
    }
    return known.get(text);
  };
  const over = ([r, g, b, alpha], ground) => [r, g, b].map((part, index) => part * alpha + ground[index] * (1 - alpha));
  const luminance = (rgb) => rgb.map((part) => part / 255).map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)).reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const contrast = (one, other) => {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  const ancestors = (node) => (node ? [node, ...ancestors(node.parentElement)] : []);

  /** {background, opacity, clips} of an element with all its ancestors: the colour behind its text, and those that cut or scroll. */
  const places = new Map();
  const placed = (node) => {
    if (!node) return { background: [255, 255, 255], opacity: 1, clips: [] };
    if (!places.has(node)) {
      const { background, opacity, clips } = placed(node.parentElement);
      const style = getComputedStyle(node);
      const isClip = style.overflowX !== "visible" && node !== document.body && node !== document.documentElement;
      const clip = { edge: node.getBoundingClientRect(), scrolls: { x: /auto|scroll/.test(style.overflowX), y: /auto|scroll/.test(style.overflowY) } };
      places.set(node, { background: over(parse(style.backgroundColor), background), opacity: opacity * style.opacity, clips: isClip ? [clip, ...clips] : clips });
    }
    return places.get(node);
  };
  const nameOf = (node) => `${node.tagName.toLowerCase()}${node.id ? `#${node.id}` : ""}${[...node.classList].map((name) => `.${name}`).join("")}`;
  const placeOf = (node) => ancestors(node).slice(0, 3).map(nameOf).reverse().join(" > ");
  const report = (what, node, text) => problems.push(`${what}: “${text.trim().slice(0, 60)}” in ${placeOf(node)}`);
  const checkContrast = (node, colour, text) => {
    const [red, green, blue, alpha] = parse(colour);
    const { background: below, opacity } = placed(node);
    const found = contrast(over([red, green, blue, alpha * opacity], below), below);
    if (found < MIN_CONTRAST) report(`contrast ${found.toFixed(1)}`, node, text);
  };

  if (document.documentElement.scrollWidth > window.innerWidth) problems.push(`the page is ${document.documentElement.scrollWidth} pixels wide, the window ${window.innerWidth}`);

  /** The part of a rectangle that an element's ancestors leave in view, or null; `cut` is set if one cuts it that does not scroll. */
  const inView = (node, { left, right, top, bottom }) => {
    const part = { left, right, top, bottom, cut: false };
    for (const { edge, scrolls } of placed(node).clips) {
      const beyond = { x: part.left < edge.left - CUT || part.right > edge.right + CUT, y: part.top < edge.top - SLACK || part.bottom > edge.bottom + SLACK };
      if ((beyond.x && !scrolls.x) || (beyond.y && !scrolls.y)) part.cut = true;
      Object.assign(part, { left: Math.max(part.left, edge.left), right: Math.min(part.right, edge.right), top: Math.max(part.top, edge.top), bottom: Math.min(part.bottom, edge.bottom) });
      if (part.right - part.left < SLACK || part.bottom - part.top < SLACK) return part.cut ? part : null;
    }
    return part;
  };
  const isShown = (node) => node.checkVisibility() && !node.closest(".spoken, .skip, option, datalist, script, style, title");

  // Texts.
  const items = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const node = text.parentElement;
    if (!text.data.trim() || !isShown(node)) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    const rects = [...range.getClientRects()].filter(({ width, height }) => width > 1 && height > 1);
    const parts = rects.map((rect) => inView(node, rect)).filter(Boolean);
    if (parts.some(({ cut }) => cut)) report("cut", node, text.data);
    if (new Set(rects.map(({ top }) => Math.round(top))).size > 1 && /^\W?[\d.,:]+( \S{1,6})?$/.test(text.data.trim())) report("wrapped", node, text.data);
    for (const part of parts) items.push({ node, text: text.data, ...part });
    if (parts.length) checkContrast(node, getComputedStyle(node).color, text.data);
  }

  // What fields show: the text that was typed or chosen, or the placeholder.
  const room = document.createElement("canvas").getContext("2d");
  const ARROW = 20; // pixels of a select's arrow
  for (const field of document.querySelectorAll("input:not([type=checkbox]), select")) {
    if (!isShown(field)) continue;
    const style = getComputedStyle(field);
    const typed = field.tagName === "SELECT" ? field.selectedOptions[0]?.text ?? "" : field.value;
    const text = typed || field.placeholder || "";
    room.font = style.font;
    const wide = field.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - (field.tagName === "SELECT" ? ARROW : 0);
    if (room.measureText(text).width > wide + SLACK) report("cut", field, text);
    if (text) checkContrast(field, typed ? style.color : getComputedStyle(field, "::placeholder").color, text);
  }

  // Texts and controls that cover each other.
  for (const node of document.querySelectorAll("button, input, select, canvas")) {
    const part = isShown(node) && inView(node, node.getBoundingClientRect());
    if (part) items.push({ node, text: "", ...part });
  }
  for (const [index, one] of items.entries()) {
    for (const other of items.slice(index + 1)) {
      if (one.right - other.left < SLACK || other.right - one.left < SLACK || one.bottom - other.top < 3 || other.bottom - one.top < 3) continue;
      if (!one.node.contains(other.node) && !other.node.contains(one.node)) report(`covered by ${placeOf(other.node)} “${other.text.trim().slice(0, 30)}”`, one.node, one.text);
    }
  }

  // Texts on canvases.
  for (const [canvas, texts] of window.canvasTexts ?? []) {
    if (!canvas.isConnected || !canvas.checkVisibility()) continue;
    const below = placed(canvas).background;
    for (const [index, one] of texts.entries()) {
      if (one.left < -SLACK || one.right > canvas.clientWidth + SLACK || one.top < -SLACK || one.bottom > canvas.clientHeight + SLACK || one.text.includes("…")) report("cut", canvas, one.text);
      const behind = over(one.behind, below);
      const [red, green, blue, alpha] = parse(one.colour);
      const found = contrast(over([red, green, blue, alpha * one.alpha], behind), behind);
      if (found < MIN_CONTRAST) report(`contrast ${found.toFixed(1)}`, canvas, one.text);
      const covering = texts.slice(index + 1).find((other) => Math.min(one.right, other.right) - Math.max(one.left, other.left) > SLACK && Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > SLACK);
      if (covering) report(`covered by “${covering.text}”`, canvas, one.text);
      if (canvas.id === "world" && window.canvasCircles.get(canvas).some(({ x, y }) => x > one.left && x < one.right && y > one.top && y < one.bottom)) report("lies on a sensor", canvas, one.text);
    }
  }
  return problems;
}
