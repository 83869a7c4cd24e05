"""Augmentation of training clips: waveform views, masks on features, mixup.

All functions use numpy and draw from a generator that is passed in
(:func:`serlab.core.randomness.keyed`). Waveform augmentation is a finite set of *views*, so
features of a view can be cached. Masks and mixup are cheap and drawn again in each epoch. Do not
augment dev or test clips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import soxr
from numpy.typing import NDArray

from serlab.audio import SAMPLE_RATE
from serlab.core import MachineError, UserError

VERSION = "views-1"
"""Version of the augmentation; raised if a view of the same clip would give different samples."""

_RANGES = {
    "speed": (0.5, 2.0),
    "pitch": (-12.0, 12.0),
    "gain": (0.01, 100.0),
    "noise": (0.0, 1.0),
    "time_mask": (0, 160_000),
}


@dataclass(frozen=True)
class View:
    """A change of a clip's waveform; the default changes nothing.

    Attributes:
        speed: playing speed, 0.5 to 2; tempo and pitch change together, the length becomes n /
            speed.
        pitch: shift in semitones at unchanged tempo, -12 to 12; needs the extra ``augment``.
        gain: factor on the amplitude, 0.01 to 100; above 1 samples may leave -1 to 1, and nothing
            is clipped.
        noise: standard deviation of added white Gaussian noise, 0 to 1, on the scale of the samples
            after the gain.
        time_mask: length in samples of one section that is set to 0, at most half of the clip.

    >>> View(speed=3.0)
    Traceback (most recent call last):
        ...
    serlab.core.errors.UserError: speed of an augmentation view must lie between 0.5 and 2.0, got 3.0.
    """

    speed: float = 1.0
    pitch: float = 0.0
    gain: float = 1.0
    noise: float = 0.0
    time_mask: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, (low, high) = getattr(self, field.name), _RANGES[field.name]
            numeric = isinstance(value, int | float) and not isinstance(value, bool)
            if not numeric or not low <= value <= high:
                raise UserError(
                    f"{field.name} of an augmentation view must lie between {low} and {high}, got {value!r}."
                )
        if not isinstance(self.time_mask, int):
            raise UserError(f"time_mask of an augmentation view must be a whole number, got {self.time_mask!r}.")


def apply(samples: NDArray[np.float32], view: View, rng: np.random.Generator) -> NDArray[np.float32]:
    """Apply a view to a clip: speed, pitch, gain, noise, time mask, in this order.

    Args:
        samples: shape (n,), 16 kHz.
        view: what to change.
        rng: generator for the noise and the position of the mask; speed, pitch and gain draw
            nothing.

    Returns:
        A new array of shape (n / speed, rounded).

    Raises:
        MachineError: the view shifts the pitch, and the extra ``augment`` is not installed.
    """
    changed = samples.astype(np.float32)
    if view.speed != 1:
        changed = soxr.resample(changed, SAMPLE_RATE * view.speed, SAMPLE_RATE, quality="HQ")
    if view.pitch:
        changed = _shift_pitch(changed, view.pitch)
    if view.gain != 1:
        changed *= np.float32(view.gain)
    if view.noise:
        changed += np.float32(view.noise) * rng.standard_normal(changed.size, dtype=np.float32)
    width = min(view.time_mask, changed.size // 2)
    if width:
        start = rng.integers(changed.size - width + 1)
        changed[start : start + width] = 0
    return changed


def spec_augment(
    features: NDArray[np.float32],
    rng: np.random.Generator,
    *,
    time_masks: int,
    time_width: int,
    band_masks: int,
    band_width: int,
    fill: float,
) -> NDArray[np.float32]:
    """Mask random ranges of frames and of bands (SpecAugment, Park et al. 2019, without time warping).

    A mild setting for clips of two to three seconds at 100 frames per second is 2 masks of at most
    16 frames and 2 of at most 8 bands.

    Args:
        features: shape (frames, bands).
        rng: generator for widths (uniform from 0 to the largest) and positions.
        time_masks: number of masks over frames.
        time_width: largest number of frames per mask.
        band_masks: number of masks over bands.
        band_width: largest number of bands per mask.
        fill: value of masked frames and bands, e.g. the mean of the training features.

    Returns:
        A new array of the same shape.

    Raises:
        UserError: a number of masks or a width is negative.
    """
    counts = {"time_masks": time_masks, "time_width": time_width, "band_masks": band_masks, "band_width": band_width}
    for name, value in counts.items():
        if value < 0:
            raise UserError(f"{name} of spec_augment must not be negative, got {value}.")
    masked = features.copy()
    for axis, number, widest in ((0, time_masks, time_width), (1, band_masks, band_width)):
        size = features.shape[axis]
        for _ in range(number):
            width = rng.integers(min(widest, size) + 1)
            start = rng.integers(size - width + 1)
            stretch = slice(start, start + width)
            masked[(stretch, slice(None)) if axis == 0 else (slice(None), stretch)] = fill
    return masked


def mix(rng: np.random.Generator, size: int, alpha: float) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw weights and partners to mix a batch with itself (mixup, Zhang et al. 2018).

    Example i becomes ``weights[i] * x[i] + (1 - weights[i]) * x[partner[i]]``, its target likewise.

    Args:
        rng: generator for weights and partners.
        size: number of examples in the batch.
        alpha: both parameters of the Beta distribution; 0 mixes nothing.

    Returns:
        Weights of shape (size,), 0.5 to 1 (at least half of each example is the example itself),
        and partners, a permutation of 0 .. size - 1.

    Raises:
        UserError: alpha is negative or not finite.
    """
    if not 0 <= alpha < math.inf:
        raise UserError(f"alpha of mixup must be 0 or a positive number, got {alpha}.")
    partner = rng.permutation(size)
    drawn = rng.beta(alpha, alpha, size) if alpha else np.ones(size)
    return np.maximum(drawn, 1 - drawn).astype(np.float32), partner


def _shift_pitch(samples: NDArray[np.float32], semitones: float) -> NDArray[np.float32]:
    try:
        from python_stretch import Signalsmith
    except ImportError as error:
        raise MachineError(
            "shifting the pitch needs python-stretch; install it with pip install 'serlab[augment]'."
        ) from error
    # A new stretcher with a fixed seed, because its state and random phases would otherwise depend
    # on earlier clips.
    stretch = Signalsmith.Stretch(0)
    stretch.preset(1, float(SAMPLE_RATE))
    stretch.setTransposeSemitones(semitones)
    shifted: NDArray[np.float32] = np.asarray(stretch.process(samples[np.newaxis]), np.float32)[0]
    return shifted
