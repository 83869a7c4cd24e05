// Pictures on canvases, in the colours of the style sheet.

import { spectrum } from "./sound.js";

const LOWEST = -70;
const HIGHEST = 10;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const mixed = (share) => {
  const [low, high] = ["--low", "--high"].map((name) => colour(name).split(" ").map(Number));
  return low.map((value, i) => Math.round(value + share * (high[i] - value)));
};

function sized(canvas) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale));
  canvas.height = Math.max(1, Math.round(canvas.clientHeight * scale));
  return canvas.getContext("2d");
}

export function wave(canvas, { samples }) {
  const context = sized(canvas);
  const { width, height } = canvas;
  context.fillStyle = colour("--wave");
  const peak = samples.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3);
  for (let x = 0; x < width; x += 1) {
    const [from, to] = [x, x + 1].map((place) => Math.floor((place * samples.length) / width));
    let [low, high] = [0, 0];
    for (let i = from; i < Math.max(to, from + 1); i += 1) {
      low = Math.min(low, samples[i] || 0);
      high = Math.max(high, samples[i] || 0);
    }
    const [top, bottom] = [high, low].map((value) => (0.5 - (0.48 * value) / peak) * height);
    context.fillRect(x, top, 1, Math.max(1, bottom - top));
  }
}

export function spectrogram(canvas, { samples }) {
  const context = sized(canvas);
  const { width, height } = canvas;
  const image = context.createImageData(width, height);
  const shades = Array.from({ length: 64 }, (_, i) => mixed(i / 63));
  for (let x = 0; x < width; x += 1) {
    const levels = spectrum(samples, Math.round((x * samples.length) / width) - 256);
    for (let y = 0; y < height; y += 1) {
      const level = levels[Math.floor(((height - 1 - y) * levels.length) / height)];
      const share = Math.max(0, Math.min(1, (level - LOWEST) / (HIGHEST - LOWEST)));
      const at = 4 * (y * width + x);
      image.data.set(shades[Math.round(63 * share)], at);
      image.data[at + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}

// One lane per label; the darker a field, the more probable. A frame marks the label of a segment.
export function lanes(canvas, spans, labels, seconds) {
  canvas.style.height = `${1.5 * labels.length}rem`;
  const context = sized(canvas);
  const { width, height } = canvas;
  const lane = height / labels.length;
  context.fillStyle = `rgb(${mixed(0.06)})`;
  context.fillRect(0, 0, width, height);
  for (const { from, to, segment } of spans) {
    const [left, right] = [from, to].map((time) => (time / seconds) * width);
    labels.forEach((label, i) => {
      const share = segment.probabilities[label];
      if (share === undefined) return;
      context.fillStyle = `rgb(${mixed(0.06 + 0.94 * share)})`;
      context.fillRect(left, i * lane + 1, Math.max(1, right - left), lane - 2);
      if (label === segment.label) {
        context.fillStyle = colour("--play");
        context.fillRect(left, (i + 1) * lane - 4, Math.max(1, right - left), 3);
      }
    });
  }
}
