// Sound in the browser: decoding for pictures and playback, WAV for recordings, spectra.

const RATE = 16000;

// Mono samples for pictures, or null if the browser cannot decode the file.
export async function decode(file) {
  try {
    const context = new OfflineAudioContext(1, 1, RATE);
    const buffer = await context.decodeAudioData(await file.arrayBuffer());
    const samples = new Float32Array(buffer.length);
    for (let channel = 0; channel < buffer.numberOfChannels; channel += 1) {
      const data = buffer.getChannelData(channel);
      for (let i = 0; i < samples.length; i += 1) samples[i] += data[i] / buffer.numberOfChannels;
    }
    return { samples, rate: buffer.sampleRate, seconds: buffer.duration };
  } catch {
    return null;
  }
}

// A WAV file of 16 bits from pieces of samples.
export function wav(pieces, rate) {
  const count = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  const text = (at, word) => [...word].forEach((sign, i) => view.setUint8(at + i, sign.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * count, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * count, true);
  let at = 44;
  for (const piece of pieces) {
    for (const value of piece) {
      view.setInt16(at, Math.max(-32768, Math.min(32767, Math.round(value * 32768))), true);
      at += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}

const SIZE = 512;
const WINDOW = Float32Array.from({ length: SIZE }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / SIZE));

// Levels of a spectrum in dB, SIZE / 2 of them, of the window that begins at `start`.
export function spectrum(samples, start) {
  const real = new Float32Array(SIZE);
  const imaginary = new Float32Array(SIZE);
  for (let i = 0; i < SIZE; i += 1) real[i] = (samples[start + i] || 0) * WINDOW[i];
  transform(real, imaginary);
  return Float32Array.from({ length: SIZE / 2 }, (_, i) => 10 * Math.log10((real[i] ** 2 + imaginary[i] ** 2) / SIZE + 1e-10));
}

// Fast Fourier transform in place (Cooley and Tukey).
function transform(real, imaginary) {
  const n = real.length;
  for (let i = 1, j = 0; i < n; i += 1) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let length = 2; length <= n; length <<= 1) {
    for (let k = 0; k < length / 2; k += 1) {
      const angle = (-2 * Math.PI * k) / length;
      const [c, s] = [Math.cos(angle), Math.sin(angle)];
      for (let i = k; i < n; i += length) {
        const j = i + length / 2;
        const [x, y] = [real[j] * c - imaginary[j] * s, real[j] * s + imaginary[j] * c];
        [real[j], imaginary[j]] = [real[i] - x, imaginary[i] - y];
        real[i] += x;
        imaginary[i] += y;
      }
    }
  }
}
