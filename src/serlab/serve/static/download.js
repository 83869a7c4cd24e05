// The answers as files.

import { spansOf, wordOf } from "./words.js";

// A spreadsheet would run a cell that begins like a formula.
const safe = (text) => (/^[=+\-@\t\r]/.test(text) ? `'${text}` : text);
const cell = (value) => (/[",\r\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));

function csv(name, answers) {
  const labels = [...new Set(answers.flatMap((answer) => Object.keys(answer.probabilities)))];
  const rows = [["path", "model", "start", "end", "predicted", ...labels.map((label) => `prob_${label}`)]];
  for (const answer of answers) {
    const parts = answer.segments?.length ? answer.segments : [{ ...answer, start: "", end: "" }];
    for (const part of parts) {
      const shares = labels.map((label) => part.probabilities[label] ?? "");
      rows.push([safe(name), answer.model, part.start, part.end, part.label ?? "", ...shares]);
    }
  }
  return rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

const time = (seconds) => {
  const whole = Math.round(1000 * seconds);
  const part = (value, digits) => String(Math.floor(value)).padStart(digits, "0");
  return `${part(whole / 3600000, 2)}:${part((whole / 60000) % 60, 2)}:${part((whole / 1000) % 60, 2)}.${part(whole % 1000, 3)}`;
};
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function vtt(answers) {
  const cues = [];
  for (const answer of answers) {
    const segments = answer.segments?.length ? answer.segments : [{ ...answer, start: 0, end: answer.seconds }];
    const joined = [];
    for (const { segment, from, to } of spansOf(segments)) {
      const word = wordOf(segment);
      const last = joined.at(-1);
      if (last?.word === word) last.to = to;
      else joined.push({ word, from, to });
    }
    const before = answers.length > 1 ? `${answer.model}: ` : "";
    for (const { word, from, to } of joined) {
      if (word !== "no speech") cues.push(`${time(from)} --> ${time(to)}\n${plain(before + word)}\n`);
    }
  }
  return ["WEBVTT\n", ...cues].join("\n");
}

export function save(form, name, answers) {
  const [type, text] = {
    csv: () => ["text/csv", csv(name, answers)],
    json: () => ["application/json", `${JSON.stringify({ path: name, answers }, null, 1)}\n`],
    vtt: () => ["text/vtt", vtt(answers)],
  }[form]();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = `${name.replace(/\.[^.]*$/, "") || "recording"}.${form}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
