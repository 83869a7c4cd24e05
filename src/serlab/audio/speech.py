"""Speech detection in a stream of 16 kHz samples: a probability of speech per frame of 32 ms.

Two detectors share one interface and never look ahead, so a live stream and a file give the same
frames for any size of chunks. Silero VAD (Silero Team, MIT licence; extra ``vad``) is a small
recurrent network, run by onnxruntime. The energy detector needs no other package: a frame is speech
if it is well above the noise floor, which falls with every quieter frame and rises slowly.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from serlab.core import MachineError, argument, unknown

FRAME = 512
"""Samples per frame, 32 ms at 16 kHz: the frame that Silero VAD was trained with."""

DetectorName = Literal["auto", "silero", "energy", "none"]
DETECTORS: tuple[DetectorName, ...] = ("auto", "silero", "energy", "none")

_CONTEXT = 64
_FLOOR_AT_START_DB = -60.0
_RISE_DB = 6.0 * FRAME / 16000  # six decibels per second
_ABOVE_FLOOR_DB = 12.0
_LOWEST_DB = -50.0


class Detector(Protocol):
    """Distinguishes speech from other sound, frame by frame."""

    name: str

    def feed(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add frames, shape (frames, 512); return probabilities of speech, shape (frames,)."""


class EnergyGate:
    """Speech is what is at least 12 dB above the noise floor, and above -50 dBFS."""

    name = "energy"

    def __init__(self) -> None:
        self.floor = _FLOOR_AT_START_DB

    def feed(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next frames; see :class:`Detector`."""
        power = np.mean(np.square(frames, dtype=np.float64), axis=1)
        speech = np.zeros(len(frames), np.float32)
        for place, level in enumerate(10 * np.log10(power + 1e-12)):
            self.floor = min(self.floor + _RISE_DB, max(level, -100.0))
            speech[place] = level > max(self.floor + _ABOVE_FLOOR_DB, _LOWEST_DB)
        return speech


class Silero:
    """Silero VAD at 16 kHz through onnxruntime, one thread.

    Raises:
        MachineError: silero-vad or onnxruntime is not installed.
    """

    name = "silero"

    def __init__(self) -> None:
        self.session = _session()
        self.state = np.zeros((2, 1, 128), np.float32)
        self.context = np.zeros(_CONTEXT, np.float32)

    def feed(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next frames; see :class:`Detector`."""
        speech = np.zeros(len(frames), np.float32)
        rate = np.array(16000, np.int64)
        for place, frame in enumerate(frames):
            samples = np.concatenate([self.context, frame])[np.newaxis]
            found, self.state = self.session.run(None, {"input": samples, "state": self.state, "sr": rate})
            speech[place], self.context = found[0, 0], frame[-_CONTEXT:]
        return speech


class Everything:
    """Classifies every frame as speech."""

    name = "none"

    def feed(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next frames; see :class:`Detector`."""
        return np.ones(len(frames), np.float32)


def detector(name: str = "auto") -> Detector:
    """A fresh detector.

    Args:
        name: ``silero``, ``energy``, ``none``, or ``auto``: Silero VAD if it is installed, else the
            energy detector.

    Raises:
        UserError: there is no such detector.
        MachineError: ``silero`` is not installed.

    >>> detector("energy").feed(np.zeros((2, 512), np.float32))
    array([0., 0.], dtype=float32)
    """
    if name not in DETECTORS:
        raise unknown("speech detector", name, DETECTORS)
    if name == "auto":
        name = "silero" if has_silero() else "energy"
    if name == "none":
        return Everything()
    return Silero() if name == "silero" else EnergyGate()


def has_silero() -> bool:
    """Whether the extra ``vad`` is installed."""
    return all(importlib.util.find_spec(module) for module in ("silero_vad", "onnxruntime"))


@cache
def _session() -> Any:
    """The network, loaded once; its state is each detector's own. The package itself would import torchaudio."""
    if not has_silero():
        raise MachineError(
            "speech detection by silero needs silero-vad and onnxruntime; install them with: pip install "
            f"'serlab[vad]', or use {argument('vad', 'energy')}."
        )
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    spec = importlib.util.find_spec("silero_vad")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0]) / "data" / "silero_vad.onnx"
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
