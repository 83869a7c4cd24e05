// Answers as parts of the page. Everything from a server or file is set as text, never as HTML.

import { lanes } from "./draw.js";
import { clock, percent, spansOf, wordOf } from "./words.js";

const MEANING = {
  "can't tell": "The probabilities are too close for the limit of errors that you chose.",
  "no speech": "No part of the recording sounds like speech.",
};

export function element(tag, { text, ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

function bars(answer) {
  const list = element("ul", { className: "bars" });
  const top = Math.max(...Object.values(answer.probabilities));
  for (const [label, share] of Object.entries(answer.probabilities)) {
    const fill = element("div", { className: "fill" });
    fill.style.width = `${100 * share}%`;
    const row = element("li", { className: share === top ? "top" : "" },
      element("span", { className: "name", text: label }),
      element("div", { className: "track", "aria-hidden": "true" }, fill),
      element("span", { className: "share", text: percent(share) }));
    list.append(row);
  }
  return list;
}

function tested(about) {
  if (!about?.uar) return "Its recall on unseen speakers is not known.";
  const { value, low, high, speakers, speaker_disjoint: disjoint, own } = about.uar;
  const range = low === null ? "" : ` (95 % interval ${percent(low)} to ${percent(high)})`;
  const whom = disjoint ? `${speakers ?? ""} unseen speakers`.trim() : "clips that it was not trained on";
  const corpus = about.corpus ?? "its corpus";
  const found = `${percent(value)} of the clips of an average emotion${range}.`;
  if (own) return `Tested on ${whom} of ${corpus}: it names ${found}`;
  return `It was trained on all clips of ${corpus}, so it was not tested itself. Models with its recipe, trained on parts of them and tested on ${whom}, name ${found}`;
}

function timeline(answer, labels, play) {
  const canvas = element("canvas", { "aria-hidden": "true" });
  const head = element("div", { className: "head" });
  const field = element("div", { className: "field" }, canvas, head);
  field.addEventListener("click", (event) => {
    const box = field.getBoundingClientRect();
    play(((event.clientX - box.left) / box.width) * answer.seconds);
  });
  const names = element("div", { className: "names", "aria-hidden": "true" }, ...labels.map((text) => element("span", { text, title: text })));
  const times = element("div", { className: "times", "aria-hidden": "true" },
    ...[0, 0.5, 1].map((share) => element("span", { text: clock(share * answer.seconds) })));
  const spans = spansOf(answer.segments);
  return {
    part: element("div", { className: "lanes" }, names, field, times),
    draw: () => lanes(canvas, spans, labels, answer.seconds),
    move: (seconds) => {
      head.style.left = `${(100 * seconds) / answer.seconds}%`;
    },
  };
}

function table(answer, play) {
  const body = element("tbody");
  for (const segment of answer.segments) {
    const when = `${clock(segment.start)} to ${clock(segment.end)}`;
    const button = element("button", { type: "button", text: "Play", "aria-label": `Play ${when}` });
    button.addEventListener("click", () => play(segment.start, segment.end));
    const top = segment.label === null ? "" : percent(segment.probabilities[segment.label]);
    body.append(element("tr", {}, element("td", { text: when }), element("td", { text: wordOf(segment) }),
      element("td", { text: top }), element("td", {}, button)));
  }
  const head = element("tr", {}, ...["Time", "Answer", "Probability", "Sound"].map((text) => element("th", { text, scope: "col" })));
  const all = element("table", {}, element("thead", {}, head), body);
  const scroll = element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": `Segments, ${answer.model}` }, all);
  return element("details", {}, element("summary", { text: `All ${answer.segments.length} segments as a table` }), scroll);
}

// One model's answer: its part of the page, and how to draw and move its timeline.
export function show(answer, about, play) {
  const word = wordOf(answer);
  const long = Boolean(answer.segments?.length);
  const part = element("article", { className: long ? "model wide" : "model" },
    element("h3", { text: answer.model }));
  if (answer.label) part.append(element("p", { className: "small before", text: "Most like the training clips labelled" }));
  part.append(element("p", { className: "label", text: word }));
  if (MEANING[word]) part.append(element("p", { className: "small", text: MEANING[word] }));
  if (long) part.append(element("p", { className: "small", text: "The mean over the whole recording:" }));
  part.append(bars(answer));
  const view = { part, draw: () => {}, move: () => {}, word };
  if (long) {
    const line = timeline(answer, about?.labels ?? Object.keys(answer.probabilities), play);
    part.append(element("p", { className: "small", text: "Over time: the stronger the colour, the more probable; a line marks the label. Click to play." }), line.part, table(answer, play));
    Object.assign(view, { draw: line.draw, move: line.move });
  }
  part.append(element("p", { className: "small", text: tested(about) }));
  return view;
}
