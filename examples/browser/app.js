// Predicts the emotion in an audio file with an ONNX file of `serlab export`; nothing is sent anywhere.

import * as ort from "./vendor/ort.wasm.min.mjs";

ort.env.wasm.wasmPaths = new URL("./vendor/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // More need cross-origin isolation.

const status = document.getElementById("status");
const answer = document.getElementById("answer");

// The runtime does not show a file's metadata, so they are read here: field 14 of ModelProto, pairs of key and value.
function metadata(bytes) {
  const found = {};
  let place = 0;
  const number = () => {
    let value = 0, scale = 1, byte;
    do {
      byte = bytes[place++];
      value += (byte & 127) * scale;
      scale *= 128;
    } while (byte & 128);
    return value;
  };
  const fields = (end, take) => {
    while (place < end) {
      const key = number(), field = Math.floor(key / 8), kind = key & 7;
      if (kind === 0) number();
      else if (kind === 1) place += 8;
      else if (kind === 5) place += 4;
      else {
        const stop = number() + place;
        take(field, stop);
        place = stop;
      }
    }
  };
  const text = (stop) => new TextDecoder().decode(bytes.subarray(place, stop));
  fields(bytes.length, (field, stop) => {
    if (field !== 14) return;
    const pair = {};
    fields(stop, (part, end) => { pair[part] = text(end); });
    found[pair[1]] = pair[2];
  });
  return found;
}

async function load(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} is missing; write it with: serlab export MODEL model.onnx`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  const about = metadata(bytes);
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  return { session, labels: JSON.parse(about.labels), rate: Number(about.sample_rate) };
}

// Mono samples at the model's rate; the browser decodes and resamples.
async function samplesOf(buffer, rate) {
  const decoded = await new OfflineAudioContext(1, 1, rate).decodeAudioData(buffer);
  const mono = new Float32Array(decoded.length);
  for (let channel = 0; channel < decoded.numberOfChannels; channel++) {
    decoded.getChannelData(channel).forEach((value, index) => { mono[index] += value / decoded.numberOfChannels; });
  }
  return mono;
}

async function predict(model, buffer, name) {
  let samples;
  try {
    samples = await samplesOf(buffer, model.rate);
  } catch {
    throw new Error(`${name} cannot be decoded`);
  }
  const seconds = samples.length / model.rate;
  if (seconds < 0.1 || seconds > 30) throw new Error(`${name} is ${seconds.toFixed(2)} s long; expected 0.1 to 30 s`);
  if (samples.every((value) => Math.abs(value) < 1e-4)) throw new Error(`${name} is silent`);
  const audio = new ort.Tensor("float32", samples, [1, samples.length]);
  const start = performance.now();
  const { probabilities } = await model.session.run({ audio });
  const took = Math.round(performance.now() - start);
  show(name, model.labels, [...probabilities.data], took);
}

function show(name, labels, shares, took) {
  const best = labels[shares.indexOf(Math.max(...shares))];
  status.textContent = `${name}: ${best} (${took} ms)`;
  answer.replaceChildren(...labels.map((label, index) => {
    const row = document.createElement("tr");
    const bar = Object.assign(document.createElement("progress"), { value: shares[index], max: 1 });
    bar.setAttribute("aria-label", label);
    for (const part of [label, bar, shares[index].toFixed(4)]) row.insertCell().append(part);
    return row;
  }));
}

async function told(work) {
  try {
    await work();
  } catch (error) {
    answer.replaceChildren();
    status.textContent = error.message;
  }
}

await told(async () => {
  const model = await load("model.onnx");
  status.textContent = "Choose a file.";
  document.getElementById("file").addEventListener("change", (event) => told(async () => {
    const [file] = event.target.files;
    if (file) await predict(model, await file.arrayBuffer(), file.name);
  }));
  // For tests and links: ?clip=clip.wav predicts a file beside this page.
  const clip = new URLSearchParams(location.search).get("clip");
  if (clip) await predict(model, await (await fetch(clip)).arrayBuffer(), clip);
});
document.body.dataset.ready = "yes";
