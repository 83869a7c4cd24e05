"""Sounds that are as rich as speech."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serlab.audio import Audio, Limits
from serlab.audio.fingerprints import RATE as LOW

RATE = 16000

Sound = NDArray[np.float32]


def take(voice: int, reading: int, seconds: float = 2.5) -> Sound:
    """A reading of one sentence by one voice: bands of noise under slow envelopes, which readings of a voice share."""
    same, own = np.random.default_rng([voice]), np.random.default_rng([voice, reading])
    time = np.arange(round(seconds * RATE)) / RATE
    wave = np.zeros(len(time))
    for centre in np.geomspace(200, 3000, 12):
        knots = same.random(round(seconds * 8) + 2) ** 2 * own.uniform(0.7, 1.3)
        envelope = np.interp(time, np.linspace(0, seconds, len(knots)), knots)
        drift = np.cumsum(own.normal(0, 0.02, len(time)))
        wave += envelope * np.sin(2 * np.pi * centre * time + drift + own.uniform(0, 6))
    return (0.2 * wave / np.abs(wave).max()).astype(np.float32)


def low(sound: Sound) -> Sound:
    """A sound at the rate of fingerprints."""
    return Audio.from_array(sound, RATE, limits=Limits(0), allow_silence=True).at(LOW)


def silent(samples: int) -> Sound:
    return np.zeros(samples, np.float32)
