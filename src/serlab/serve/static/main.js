// The page: takes a recording, asks the server, shows what it says.

import { element, show } from "./answers.js";
import * as api from "./api.js";
import { spectrogram, wave } from "./draw.js";
import { save } from "./download.js";
import * as recorder from "./record.js";
import { decode } from "./sound.js";
import { clock, sentence } from "./words.js";

const NATURAL_SECONDS = 30; // A longer recording is divided.
const EXAMPLES = [
  ["calm", "Calm voice"],
  ["excited", "Excited voice"],
  ["long", "44 seconds"],
];

const at = (id) => document.getElementById(id);
const audio = at("audio");
const state = { about: [], file: null, sound: null, answers: [], views: [], asking: null, stopAt: Infinity, stop: null, starting: false, loads: 0, chosen: 0 };

function say(text) {
  at("status").textContent = text;
}

function complain(sentence) {
  at("error").textContent = sentence ? sentence[0].toUpperCase() + sentence.slice(1) : "";
}

// Models and options

async function loadModels() {
  const load = (state.loads += 1);
  let found;
  try {
    found = await api.models(at("token").value);
    if (load !== state.loads) return; // A later token is being tried.
  } catch (error) {
    if (load !== state.loads) return;
    at("token-label").hidden = error.status !== 401;
    complain(error.status === 401 ? "Enter the server's token." : error.message);
    return;
  }
  complain("");
  Object.assign(state, { about: found.models, maxMb: found.max_mb, maxSeconds: found.max_seconds });
  const choices = () => found.models.map(({ name }) => element("option", { text: name, value: name }));
  at("first").replaceChildren(...choices());
  at("second").replaceChildren(element("option", { text: "no other model", value: "" }), ...choices());
  at("second-label").hidden = found.models.length < 2;
  if (found.models.length > 1) at("second").value = found.models[1].name;
  const shares = found.models.map(({ abstains }) => abstains).reduce((some, other) => some.filter((share) => other.includes(share)));
  at("abstain").replaceChildren(
    element("option", { text: "answer always", value: "" }),
    ...shares.map((share) => element("option", { text: `say "can't tell": at most ${Math.round(100 * share)} % errors`, value: share })),
  );
  at("abstain-label").hidden = !shares.length;
  at("limits").textContent = [...new Set(found.models.map(({ limits }) => limits))].join(" ");
}

// A recording, and its answers

async function take(file) {
  state.chosen += 1;
  complain("");
  if (file.size > 1e6 * (state.maxMb ?? Infinity)) {
    complain(`The file has ${(file.size / 1e6).toFixed(0)} MB; at most ${state.maxMb} MB can be sent.`);
    return;
  }
  audio.pause();
  state.file = file;
  audio.src = URL.createObjectURL(file);
  at("answers").hidden = true;
  at("recording").hidden = false;
  const [sound] = await Promise.all([decode(file), ask()]);
  if (state.file !== file) return;
  state.sound = sound;
  at("position").hidden = !sound;
  at("position-help").hidden = !sound;
  at("position").setAttribute("aria-valuemax", Math.round(sound?.seconds ?? 0));
  move(0);
  draw();
}

async function ask() {
  const { file } = state;
  if (!file) return;
  state.asking?.abort();
  const asking = new AbortController();
  state.asking = asking;
  const names = [...new Set([at("first").value, at("second").value])].filter(Boolean);
  const how = { abstain: at("abstain").value, token: at("token").value, signal: asking.signal };
  say("The model is listening …");
  complain("");
  try {
    const answers = await Promise.all(names.map(async (model) => {
      const answer = await api.predict(file, { model, ...how });
      return answer.seconds > NATURAL_SECONDS ? api.predict(file, { model, segments: true, ...how }) : answer;
    }));
    if (state.asking === asking) showAnswers(answers);
  } catch (error) {
    if (error.name === "AbortError" || state.asking !== asking) return;
    say("");
    at("answers").hidden = true;
    complain(error.message);
    if (error.status === 401) at("token-label").hidden = false;
    if (error.status === 400 || error.status === 413) at("recording").hidden = !state.sound;
  }
}

function showAnswers(answers) {
  state.answers = answers;
  state.views = answers.map((answer) => show(answer, state.about.find(({ name }) => name === answer.model), play));
  at("models").replaceChildren(...state.views.map(({ part }) => part));
  const warnings = [...new Set(answers.flatMap((answer) => answer.warnings.map(({ message }) => sentence(message))))];
  at("warnings").replaceChildren(...warnings.map((text) => element("li", { text })));
  at("answers").hidden = false;
  say(answers.map((answer, i) => `${answer.model} answers: ${state.views[i].word}.`).join(" "));
  draw();
}

function draw() {
  if (state.sound && !at("position").hidden) {
    wave(at("wave"), state.sound);
    spectrogram(at("spectrogram"), state.sound);
  }
  for (const view of state.views) view.draw();
}

// Playing

function play(from, to = Infinity) {
  state.stopAt = to;
  audio.currentTime = from;
  audio.play().catch(() => complain("This browser cannot play the recording."));
}

function move(seconds) {
  const length = state.sound?.seconds || audio.duration || 1;
  const position = at("position");
  at("head").hidden = !seconds;
  at("head").style.left = `${(100 * seconds) / length}%`;
  position.setAttribute("aria-valuenow", Math.round(seconds));
  position.setAttribute("aria-valuetext", `${clock(seconds)} of ${clock(length)}`);
  for (const view of state.views) view.move(seconds);
}

audio.addEventListener("timeupdate", () => {
  if (audio.currentTime >= state.stopAt) {
    audio.pause();
    state.stopAt = Infinity;
  }
  move(audio.currentTime);
});

at("position").addEventListener("click", (event) => {
  const box = at("position").getBoundingClientRect();
  play(((event.clientX - box.left) / box.width) * (state.sound?.seconds ?? 0));
});

at("position").addEventListener("keydown", (event) => {
  const length = state.sound?.seconds ?? 0;
  const step = Math.max(0.5, length / 60);
  const now = audio.currentTime;
  const to = { ArrowLeft: now - step, ArrowDown: now - step, ArrowRight: now + step, ArrowUp: now + step, Home: 0, End: length }[event.key];
  if (to !== undefined) {
    audio.currentTime = Math.max(0, Math.min(length, to));
    move(audio.currentTime);
  } else if (event.key === " " || event.key === "Enter") {
    if (audio.paused) play(now);
    else audio.pause();
  } else {
    return;
  }
  event.preventDefault();
});

// Ways to bring a recording

at("file").addEventListener("change", ({ target }) => {
  if (target.files.length) take(target.files[0]);
  target.value = ""; // The same file may be chosen again.
});

for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
at("drop").addEventListener("dragover", () => at("drop").classList.add("over"));
at("drop").addEventListener("dragleave", () => at("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  at("drop").classList.remove("over");
  if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
});

for (const [name, title] of EXAMPLES) {
  const button = element("button", { type: "button", text: title });
  button.addEventListener("click", async () => {
    const choice = (state.chosen += 1);
    let content;
    try {
      const response = await fetch(`static/examples/${name}.mp3`);
      if (!response.ok) throw new Error(response.status);
      content = await response.blob();
    } catch {
      if (choice === state.chosen) complain("The server does not answer; is it still running?");
      return;
    }
    if (choice === state.chosen) take(new File([content], `${name}.mp3`, { type: "audio/mpeg" }));
  });
  at("examples").append(button);
}

function recording(on) {
  at("record").setAttribute("aria-pressed", String(on));
  at("record-text").textContent = on ? "Stop" : "Record";
  if (!on) at("level").style.width = "0";
}

async function toggleRecording() {
  const stop = state.stop;
  if (stop) {
    state.stop = null;
    recording(false);
    take(await stop());
    return;
  }
  if (state.starting) return; // A second microphone would stay on.
  const starting = (on) => {
    state.starting = on;
    at("record").setAttribute("aria-disabled", String(on)); // With disabled, the button would lose the focus.
  };
  starting(true);
  complain("");
  try {
    const level = (rms, seconds) => {
      at("level").style.width = `${Math.min(100, 300 * rms)}%`;
      if (state.stop) at("record-text").textContent = `Stop (${clock(seconds)})`;
    };
    state.stop = await recorder.start(level, toggleRecording);
    recording(true);
    say("Recording. Press the button again to stop.");
  } catch (error) {
    complain(error.name === "NotAllowedError" ? "The browser does not allow the microphone." : "There is no microphone that the browser can use.");
  } finally {
    starting(false);
  }
}

at("record").addEventListener("click", toggleRecording);
if (!recorder.possible()) {
  at("record").disabled = true;
  at("record-note").textContent = "Recording needs an address of this machine, or https.";
}

// Options, downloads, size and colours

for (const id of ["first", "second", "abstain"]) at(id).addEventListener("change", ask);
at("token").addEventListener("change", async () => {
  await loadModels();
  ask();
});
at("options").addEventListener("submit", (event) => event.preventDefault());
for (const button of document.querySelectorAll("[data-form]")) {
  button.addEventListener("click", () => save(button.dataset.form, state.file.name, state.answers));
}
let waiting = 0;
new ResizeObserver(() => {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(draw);
}).observe(document.body);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
loadModels();
