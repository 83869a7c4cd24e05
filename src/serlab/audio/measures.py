"""Simple measures of sound while it is read: level, clipped samples, highest frequency, whether there is speech.

:class:`Meter` takes blocks, so a recording of any length needs no second pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serlab.audio.gate import SAMPLE_RATE, Audio
from serlab.audio.speech import FRAME, detector

LOWEST_DB = -120.0
"""Level of silence."""

# A clipped waveform stays at its maximum; a clean one only touches it.
_CLIPPED_PEAK, _CLIPPED_RUN = 0.98, 3
_BINS = 8
_BAND_HZ = _BINS * SAMPLE_RATE / FRAME
# Speech in CREMA-D, at 11,025 Hz, reaches 5.25 kHz or more by this measure; at 8 kHz, 4 kHz.
_BELOW_LOUDEST_DB = 60.0
_SPEECH_FRAMES = 3
_FRAMES_AT_ONCE = 4
_LOUD, _FRAMES_BEFORE = 0.1, 2


@dataclass(frozen=True)
class SoundMeasures:
    """Measures of one clip or recording.

    Attributes:
        seconds: its length.
        level: root mean square in dB of full scale.
        clipped: share of samples that stay at full scale for three or more.
        band: highest frequency within 60 dB of the loudest band of 250 Hz, in Hz.
    """

    seconds: float
    level: float
    clipped: float
    band: float


class Meter:
    """Measures sound block by block."""

    def __init__(self) -> None:
        self._samples = self._clipped = 0
        self._heard = self._power = 0.0
        self._bands = np.zeros(FRAME // 2 // _BINS)

    @classmethod
    def of(cls, audio: Audio) -> SoundMeasures:
        """Measure a clip."""
        meter = cls()
        meter.hear(audio.original)
        meter.see(audio.samples)
        return meter.measures()

    def hear(self, samples: NDArray[np.float32]) -> None:
        """Add a block at its original rate, mono, shape (samples,): level and clipping."""
        self._heard += len(samples)
        self._clipped += clipped_samples(samples)
        self._power += float(np.square(samples, dtype=np.float64).sum())

    def see(self, samples: NDArray[np.float32]) -> None:
        """Add a block at 16 kHz, shape (samples,): length and spectrum; less than 32 ms at its end is left out."""
        self._samples += len(samples)
        frames = _frames(samples)
        spectra = np.abs(np.fft.rfft(frames * np.hanning(FRAME).astype(np.float32), axis=1)) ** 2
        self._bands += spectra[:, : FRAME // 2].sum(axis=0).reshape(-1, _BINS).sum(axis=1)

    def measures(self) -> SoundMeasures:
        """The measures of all blocks so far."""
        loud = np.flatnonzero(self._bands >= self._bands.max() * 10 ** (-_BELOW_LOUDEST_DB / 10))
        heard = max(1.0, self._heard)
        return SoundMeasures(
            self._samples / SAMPLE_RATE,
            decibel(self._power / heard),
            self._clipped / heard,
            float(_BAND_HZ * (loud[-1] + 1)),
        )


def has_speech(samples: NDArray[np.float32], name: str) -> bool:
    """Whether a detector finds a tenth of a second of speech in samples at 16 kHz; stops as soon as it does.

    Args:
        samples: shape (samples,).
        name: of the detector.

    Raises:
        MachineError: the detector is not installed.
    """
    frames = _frames(samples)
    if not len(frames):
        return False
    power = np.square(frames, dtype=np.float64).mean(axis=1)
    # Most clips have speech at their first loud frame, so the silence before is only heard in vain.
    loud = max(0, int(np.argmax(power >= _LOUD * power.max())) - _FRAMES_BEFORE)
    return _finds(name, frames[loud:]) or (loud > 0 and _finds(name, frames))


def _finds(name: str, frames: NDArray[np.float32]) -> bool:
    found, heard = detector(name), 0
    for start in range(0, len(frames), _FRAMES_AT_ONCE):
        heard += int((found.feed(frames[start : start + _FRAMES_AT_ONCE]) >= 0.5).sum())
        if heard >= min(_SPEECH_FRAMES, len(frames)):
            return True
    return False


def clipped_samples(samples: NDArray[np.float32]) -> int:
    """Number of samples that stay at full scale for three or more."""
    size = np.abs(samples)
    peak = float(size.max(initial=0))
    if peak < _CLIPPED_PEAK:
        return 0
    top = (size >= peak - 1e-4).astype(np.int8)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], top, [0]]).astype(np.int8)))
    runs = edges[1::2] - edges[::2]
    return int(runs[runs >= _CLIPPED_RUN].sum())


def decibel(power: float) -> float:
    """A power in dB of full scale, at least that of silence."""
    return max(LOWEST_DB, 10 * math.log10(power)) if power > 0 else LOWEST_DB


def _frames(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Whole frames, shape (frames, 512)."""
    return samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
