"""What a model has heard in training, and warnings about sound that is unlike it.

The folder of a model holds quantiles of length, level, clipping and bandwidth of the training
clips, and a Gaussian of their embeddings. Folders of older versions lack them and give no warnings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from serlab.approaches.base import Subset
from serlab.approaches.classical import Floats
from serlab.audio import SAMPLE_RATE, Audio
from serlab.audio.measures import Meter, SoundMeasures, has_speech
from serlab.audio.speech import DETECTORS, detector
from serlab.core import MachineError
from serlab.core.randomness import keyed
from serlab.model.distance import FALSE_ALARMS, Distance

FILE = "inputs.safetensors"

_LISTENED = 256
_LOW, _HIGH = 0.01, 0.99
# Beyond these, an input is not only at the edge of the training clips but clearly outside.
_TIMES = 2.0
_QUIETER_DB = 6.0
_BAND_SHARE = 0.85
_CLIPPED = 0.001
_USUALLY = 0.95
# For models that have nothing to compare with.
_SHORT_S, _QUIET_DB = 1.0, -45.0
_COLLECTED = 1 << 14

Code = Literal["band", "channels", "clipped", "long", "no-speech", "quiet", "short", "unlike"]
"""Codes of warnings: the same in Python, on the command line and in answers of a server."""


@dataclass(frozen=True)
class InputWarning:
    """A way in which a clip is unlike the training clips of a model.

    Attributes:
        code: what it is.
        message: for people: the end of a sentence, e.g. ``"it lasts 0.2 s"``.
    """

    code: Code
    message: str


NO_SPEECH = InputWarning("no-speech", "no speech was found in it")


@dataclass(frozen=True)
class Inputs:
    """The training clips of a model.

    Attributes:
        clips: how many there were.
        speakers: how many; None if unknown.
        seconds: 1 % quantile, median and 99 % quantile of their lengths.
        level: 1 % quantile of their levels, dB of full scale.
        band: 1 % quantile of the highest frequency, Hz; see :class:`serlab.audio.measures.SoundMeasures`.
        clipped: 99 % quantile of the share of clipped samples.
        detector: name of a detector of speech.
        speech: share of the clips in which it finds speech.
        distance: of embeddings; None if there are none, or too few clips.
    """

    clips: int
    speakers: int | None
    seconds: tuple[float, float, float]
    level: float
    band: float
    clipped: float
    detector: str
    speech: float
    distance: Distance | None = None

    @classmethod
    def fit(cls, train: Subset, distance: Distance | None, *, seed: int) -> Self:
        """Describe training clips; at most 256 of them, drawn at random, are read again.

        Args:
            train: the training clips.
            distance: of their embeddings.
            seed: of the run.
        """
        drawn = keyed(seed, "inputs").permutation(len(train.files))[:_LISTENED]
        sounds = [Audio.from_file(train.files[place].path) for place in sorted(drawn)]
        measured = [Meter.of(sound) for sound in sounds]
        name, speakers = detector().name, set(train.clips["speaker"])
        return cls(
            clips=len(train.files),
            speakers=len(speakers) if all(speakers) else None,
            seconds=_quantiles([file.duration for file in train.files]),
            level=_quantiles([each.level for each in measured])[0],
            band=_quantiles([each.band for each in measured])[0],
            clipped=_quantiles([each.clipped for each in measured])[2],
            detector=name,
            speech=float(np.mean([has_speech(sound.samples, name) for sound in sounds])),
            distance=distance,
        )

    @classmethod
    def read(cls, folder: Path, content: dict[str, Any]) -> Self:
        """Read what :meth:`save` wrote.

        Args:
            folder: the model folder.
            content: what :meth:`data` gave.

        Raises:
            OSError, SafetensorError, KeyError, TypeError, ValueError: it is something else.
        """
        found, speakers, name = content["distance"], content["speakers"], content["detector"]
        if name not in DETECTORS:
            raise ValueError(f"there is no detector {name}")
        low, median, high = map(float, content["seconds"])
        return cls(
            clips=int(content["clips"]),
            speakers=None if speakers is None else int(speakers),
            seconds=(low, median, high),
            detector=name,
            distance=None if found is None else Distance.of(load_file(folder / FILE), found),
            **{each: float(content[each]) for each in ("level", "band", "clipped", "speech")},
        )

    def data(self) -> dict[str, Any]:
        """All but arrays, as JSON-able data."""
        return {**vars(self), "distance": self.distance and self.distance.numbers()}

    def save(self, folder: Path) -> None:
        """Write the arrays into a model folder."""
        if self.distance is not None:
            save_file(self.distance.arrays(), folder / FILE)

    @property
    def window(self) -> float:
        """The usual length of a training clip, from 1 to 10 seconds: a window for long recordings."""
        return min(10.0, max(1.0, round(self.seconds[1], 1)))

    def about_clip(self, audio: Audio) -> list[InputWarning]:
        """Warnings about the sound of a clip."""
        measures = Meter.of(audio)
        found = [*self._lengths(measures.seconds), *self._sound(measures, measures.level)]
        if self.speech >= _USUALLY and not _spoken(audio.samples, self.detector):
            found.append(NO_SPEECH)
        return found

    def about_distance(self, far: float) -> list[InputWarning]:
        """Warnings about the distance of a clip's embedding."""
        if self.distance is None or far <= self.distance.threshold:
            return []
        message = (
            f"the model's features of it are unlike those of the training clips (distance {far:.2f}; of new speakers' "
            f"clips, {100 * (1 - FALSE_ALARMS):.0f} % are below {self.distance.threshold:.2f})"
        )
        return [InputWarning("unlike", message)]

    def _lengths(self, seconds: float) -> list[InputWarning]:
        low, _, high = self.seconds
        code: Code | None = "short" if seconds < low / _TIMES else "long" if seconds > high * _TIMES else None
        message = f"it lasts {seconds:.1f} s; 98 % of the training clips last {low:.1f} to {high:.1f} s"
        return [InputWarning(code, message)] if code else []

    def _sound(self, measures: SoundMeasures, level: float) -> list[InputWarning]:
        found = []
        if measures.band < _BAND_SHARE * self.band:
            message = f"it has no sound above {measures.band / 1000:.1f} kHz; the training clips reach "
            found.append(InputWarning("band", f"{message}{self.band / 1000:.1f} kHz"))
        if measures.clipped > max(_CLIPPED, self.clipped):
            found.append(_clipped(measures))
        if level < self.level - _QUIETER_DB:
            message = f"its level is {level:.0f} dB; 99 % of the training clips are above {self.level:.0f} dB"
            found.append(InputWarning("quiet", message))
        return found


def in_general(audio: Audio, rate: int, channels: int) -> list[InputWarning]:
    """Warnings about a clip for models that know nothing of their training clips.

    Args:
        audio: the clip.
        rate: its sample rate in the file, Hz.
        channels: in the file.
    """
    measures, found = Meter.of(audio), []
    if measures.seconds < _SHORT_S:
        found.append(InputWarning("short", f"it lasts {measures.seconds:.1f} s; a sentence of 2 to 5 s works best"))
    if rate < SAMPLE_RATE:
        message = f"its sample rate is {rate} Hz, so it has no sound above {rate / 2000:g} kHz"
        found.append(InputWarning("band", message))
    if measures.level < _QUIET_DB:
        found.append(InputWarning("quiet", f"its level is {measures.level:.0f} dB; speech is usually above -40 dB"))
    if measures.clipped > _CLIPPED:
        found.append(_clipped(measures))
    if channels > 1:
        found.append(InputWarning("channels", f"its {channels} channels were averaged"))
    return found


class _Collector:
    """Passes samples on in blocks of one size, so that nothing depends on the size of pieces."""

    def __init__(self, take: Callable[[NDArray[np.float32]], None]) -> None:
        self._take, self._held = take, np.zeros(0, np.float32)

    def add(self, samples: NDArray[np.float32]) -> None:
        held = np.concatenate([self._held, samples])
        whole = len(held) // _COLLECTED * _COLLECTED
        for start in range(0, whole, _COLLECTED):
            self._take(held[start : start + _COLLECTED])
        self._held = held[whole:]

    def finish(self) -> None:
        self._take(self._held)
        self._held = self._held[:0]


class Heard:
    """What is heard of a recording while it is divided into segments."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._meter, self._spoken = Meter(), Meter()
        self._original, self._resampled = _Collector(self._meter.hear), _Collector(self._meter.see)
        self._spoken_windows = self._windows = self._unlike = 0

    def hear(self, samples: NDArray[np.float32]) -> None:
        """Add samples at their original rate, mono, shape (samples,)."""
        self._original.add(samples)

    def see(self, samples: NDArray[np.float32]) -> None:
        """Add samples at 16 kHz, shape (samples,)."""
        self._resampled.add(samples)

    def finish(self) -> None:
        """Note that the recording has ended."""
        self._original.finish()
        self._resampled.finish()

    def window(self, samples: NDArray[np.float32], embedding: Floats | None) -> None:
        """Count a segment with speech: samples at 16 kHz, and its embedding, shape (dims,)."""
        self._spoken_windows += 1
        self._spoken.hear(samples)
        distance = self._inputs.distance
        if distance is not None and embedding is not None:
            self._windows += 1
            self._unlike += bool(distance.far(embedding[np.newaxis])[0] > distance.threshold)

    def warnings(self) -> tuple[InputWarning, ...]:
        """Warnings about what was heard so far; its level is that of the segments with speech; none without any."""
        if not self._spoken_windows:
            return ()
        found = self._inputs._sound(self._meter.measures(), self._spoken.measures().level)
        if 2 * self._unlike > self._windows:
            share = f"{100 * self._unlike / self._windows:.0f} %"
            message = f"the model's features of {share} of its segments are unlike those of the training clips"
            found.append(InputWarning("unlike", message))
        return tuple(found)


def _clipped(measures: SoundMeasures) -> InputWarning:
    return InputWarning("clipped", f"{100 * measures.clipped:.1f} % of its samples are clipped")


def _spoken(samples: NDArray[np.float32], name: str) -> bool:
    """Whether there is speech; True if the detector is not installed here."""
    try:
        return has_speech(samples, name)
    except MachineError:
        return True


def _quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    low, median, high = np.quantile(values, [_LOW, 0.5, _HIGH])
    return float(low), float(median), float(high)
