// Recording as WAV: no lossy codec, and none of the browser's changes to the sound.

import { wav } from "./sound.js";

const MOST_SECONDS = 60;

export const possible = () => Boolean(navigator.mediaDevices?.getUserMedia && window.AudioWorkletNode);

// Starts; returns a function that stops, whose promise is the recording.
export async function start(onLevel, onFull) {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 },
  });
  const release = () => stream.getTracks().forEach((track) => track.stop());
  const pieces = [];
  let count = 0;
  let context;
  let node;
  try {
    context = new AudioContext();
    await context.audioWorklet.addModule("static/worklet.js");
    node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => {
      pieces.push(data);
      count += data.length;
      onLevel(Math.sqrt(data.reduce((sum, value) => sum + value * value, 0) / data.length), count / context.sampleRate);
      if (count > MOST_SECONDS * context.sampleRate) {
        node.port.onmessage = null; // It is full once.
        onFull();
      }
    };
    context.createMediaStreamSource(stream).connect(node);
  } catch (error) {
    if (node) node.port.onmessage = null;
    release();
    context?.close();
    throw error;
  }
  return async () => {
    node.port.onmessage = null;
    release();
    await context.close();
    return new File([wav(pieces, context.sampleRate)], "recording.wav", { type: "audio/wav" });
  };
}
