// The colours of tokens.css for canvases, in the current theme.

const resolved = new Map();
const listeners = new Set();
const probe = document.createElement("span");
probe.hidden = true;
document.body.append(probe);

/** [red, green, blue] of a token such as "healthy". */
function parts(name) {
  if (!resolved.has(name)) {
    probe.style.color = "";
    probe.style.color = `var(--${name}, gray)`;
    resolved.set(name, (getComputedStyle(probe).color.match(/[\d.]+/g) ?? [128, 128, 128]).slice(0, 3).map(Number));
  }
  return resolved.get(name);
}

export function colour(name, alpha = 1) {
  const [red, green, blue] = parts(name);
  return alpha === 1 ? `rgb(${red} ${green} ${blue})` : `rgb(${red} ${green} ${blue} / ${alpha})`;
}

/** Whether this [red, green, blue] is bright: then black text has the better contrast, of at least 4.6 on any colour of the ramp. */
export const bright = ([red, green, blue]) => 0.299 * red + 0.587 * green + 0.114 * blue > 103;

export const isDark = () => !bright(parts("panel"));

export function onThemeChange(listener) {
  listeners.add(listener);
}

function notify() {
  resolved.clear();
  listeners.forEach((listener) => listener());
}

document.addEventListener("themechange", notify);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", notify);

// From low to high in perceptually even steps, distinguishable without seeing red or green (after viridis).
const RAMP = [
  [68, 40, 110], [62, 74, 137], [48, 104, 142], [38, 130, 142], [31, 158, 137], [74, 184, 110], [150, 206, 70], [246, 224, 60],
];

/** [red, green, blue] for 0 to 1. */
export function ramp(share) {
  const position = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1);
  const low = Math.min(Math.floor(position), RAMP.length - 2);
  return RAMP[low].map((part, index) => Math.round(part + (RAMP[low + 1][index] - part) * (position - low)));
}
