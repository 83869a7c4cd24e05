"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const [chart, scroll, cursor, now, player] = ["chart", "scroll", "cursor", "now", "player"].map((id) => document.getElementById(id));
let at = 0, zoom = 1;

const clock = (seconds) => {
  const whole = Math.floor(seconds), [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return (h ? h + ":" + String(m).padStart(2, "0") : m) + ":" + String(s).padStart(2, "0");
};

function describe(seconds) {
  const column = Math.min(data.columns.length - 1, Math.floor((seconds / data.seconds) * data.columns.length));
  const span = data.spans.findLast((one) => one[0] <= seconds) || data.spans[0];
  const shares = data.columns[column];
  const best = shares ? shares.map((share, i) => [share, data.labels[i]]).sort((a, b) => b[0] - a[0]).slice(0, 2) : [];
  return clock(seconds) + " · " + span[1] + (best.length ? " (" + best.map(([p, label]) => label + " " + p.toFixed(2)).join(", ") + ")" : "");
}

function show(seconds, follow) {
  at = Math.min(data.seconds, Math.max(0, seconds));
  cursor.style.left = (100 * at) / data.seconds + "%";
  const text = describe(at);
  now.textContent = text;
  chart.setAttribute("aria-valuenow", at.toFixed(1));
  chart.setAttribute("aria-valuetext", text);
  const place = (at / data.seconds) * chart.clientWidth;
  if (follow && (place < scroll.scrollLeft || place > scroll.scrollLeft + scroll.clientWidth)) scroll.scrollLeft = place - scroll.clientWidth / 4;
}

function seek(seconds) {
  show(seconds, true);
  if (player) player.currentTime = at;
}

function widen(factor) {
  const middle = (scroll.scrollLeft + scroll.clientWidth / 2) / chart.clientWidth;
  zoom = Math.min(data.most, Math.max(1, zoom * factor));
  chart.style.width = 100 * zoom + "%";
  scroll.scrollLeft = middle * chart.clientWidth - scroll.clientWidth / 2;
}

chart.addEventListener("click", (event) => seek(((event.clientX - chart.getBoundingClientRect().left) / chart.clientWidth) * data.seconds));
document.querySelectorAll("[data-at]").forEach((button) => button.addEventListener("click", () => seek(Number(button.dataset.at))));
document.getElementById("in").addEventListener("click", () => widen(2));
document.getElementById("out").addEventListener("click", () => widen(0.5));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("audio, button, summary")) return;
  const step = event.shiftKey ? 10 : 1;
  const to = { ArrowLeft: at - step, ArrowRight: at + step, PageUp: at - 10, PageDown: at + 10, Home: 0, End: data.seconds }[event.key];
  if (to !== undefined && (event.target === chart || !event.target.closest(".rows, .scroll"))) seek(to);
  else if (event.key === " " && player) { if (player.paused) player.play(); else player.pause(); }
  else return;
  event.preventDefault();
});
if (player) {
  player.addEventListener("timeupdate", () => show(player.currentTime, !player.paused));
  player.addEventListener("error", () => { document.getElementById("fault").hidden = false; });
}
show(0);
