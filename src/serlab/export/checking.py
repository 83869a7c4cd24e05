"""The comparison of an exported model with torch, clip by clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serlab.audio import SAMPLE_RATE, find_audio
from serlab.checkpoints.checks import trial_sound
from serlab.core import FindingsError, UserError, argument
from serlab.core.progress import bar, say
from serlab.frontends.base import Samples
from serlab.model.model import Model
from serlab.model.sounds import NATURAL_SECONDS, audio_of

TOLERANCE = 1e-4
_TRIAL_SECONDS = (0.1, 0.37, 1.0, 2.503, 4.0, 9.21)


@dataclass(frozen=True)
class Clip:
    """A clip for the comparison: its name for messages, and its samples at 16 kHz."""

    name: str
    samples: Samples


@dataclass(frozen=True)
class Agreement:
    """How well an exported model agrees with torch.

    Attributes:
        clips: number of clips.
        flips: clips with another label than torch's.
        difference: largest difference of a probability.
        worst: the clip with that difference.
    """

    clips: int
    flips: int
    difference: float
    worst: str


def trial_clips() -> list[Clip]:
    """Synthetic clips of several lengths: a buzz that rises and falls, with noise."""
    second, generator = trial_sound(), np.random.default_rng(1)
    clips = []
    for seconds in _TRIAL_SECONDS:
        count = round(seconds * SAMPLE_RATE)
        wave = np.resize(second, count) * np.interp(np.arange(count), [0, count / 3, count], [0.1, 1.5, 0.05])
        wave = wave + 0.02 * generator.standard_normal(count)
        clips.append(Clip(f"a synthetic clip of {seconds:g} s", wave.astype(np.float32)))
    return clips


def given_clips(paths: Sequence[Path]) -> list[Clip]:
    """Read files and folders; those that cannot be used are named and left out.

    Raises:
        UserError: there is no clip that can be used.
    """
    clips: list[Clip] = []
    for path in find_audio(list(paths)).files if paths else ():
        try:
            audio = audio_of(path, None)
        except UserError as error:
            say(f"left out: {error}")
            continue
        if audio is None or audio.silent:
            say(f"left out: {path} is {'silent' if audio else f'longer than {NATURAL_SECONDS:g} s'}.")
        else:
            clips.append(Clip(str(path), audio.samples))
    if paths and not clips:
        raise UserError(f"{argument('clips')} has no clip that can be used; give other files or folders.")
    return clips


def session_of(content: bytes) -> Any:
    """An onnxruntime session on the processor."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])


def run(session: Any, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities (batch, labels) of clips (batch, samples)."""
    probabilities: NDArray[np.float32] = session.run(None, {"audio": batch})[0]
    return probabilities


def compare(model: Model, session: Any, clips: Sequence[Clip], title: str) -> Agreement:
    """Compare probabilities of a session with those of torch in fp32."""
    flips, difference, worst = 0, 0.0, ""
    with bar(title, len(clips)) as progress:
        for clip, wanted in zip(clips, _torch(model, clips), strict=True):
            found = run(session, clip.samples[None])[0]
            apart = float(np.abs(found - wanted).max()) if np.isfinite(found).all() else np.inf
            flips += int(found.argmax()) != int(wanted.argmax())
            if apart >= difference:
                difference, worst = apart, clip.name
            progress.advance()
    return Agreement(len(clips), flips, difference, worst)


def _torch(model: Model, clips: Sequence[Clip]) -> Iterator[NDArray[np.float64]]:
    for clip in clips:
        yield model.predict_proba(clip.samples, SAMPLE_RATE)


def require(agreement: Agreement, folder: Path) -> None:
    """Refuse an exported model that differs from torch.

    Raises:
        FindingsError: a probability differs by more than 1e-4.
    """
    if agreement.difference > TOLERANCE:
        raise FindingsError(
            f"the exported probabilities of {folder} differ from torch by {agreement.difference:.2g} on "
            f"{agreement.worst}; at most {TOLERANCE:g} is accepted, so nothing was written."
        )


def require_independent(session: Any, clips: Sequence[Clip], folder: Path) -> None:
    """Refuse an exported model whose answers depend on the other clips of a batch.

    Raises:
        FindingsError: a probability differs by more than 1e-4.
    """
    length = min(len(clip.samples) for clip in clips[2:4])
    batch = np.stack([clip.samples[:length] for clip in clips[2:4]])
    together = run(session, batch)
    apart = float(np.abs(together - np.concatenate([run(session, row[None]) for row in batch])).max())
    if not apart <= TOLERANCE:
        raise FindingsError(
            f"the exported probabilities of {folder} differ by {apart:.2g} between a clip alone and in a batch; at "
            f"most {TOLERANCE:g} is accepted, so nothing was written."
        )
