"""Long recordings joined from the clips of one subset, with pauses, and what is heard when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray

from serlab.audio import SAMPLE_RATE, Audio
from serlab.core.files import writing
from serlab.core.progress import bar
from serlab.core.randomness import keyed
from serlab.evaluation.diarization import Span

# A turn is a few clips of one speaker and label; pauses in seconds within turns and between them.
_MOST_CLIPS_PER_TURN = 4
_WITHIN, _BETWEEN = (0.2, 0.6), (1.0, 4.0)
_FRAME = 320


@dataclass(frozen=True)
class Section:
    """The part of a recording with one speaker.

    Attributes:
        speaker: who speaks.
        start, end: in seconds.
        spans: what is heard when, from the start of the section; pauses have no label, and the last span ends with it.
    """

    speaker: str
    start: float
    end: float
    spans: tuple[Span, ...]

    def cut(self, spans: list[Span]) -> list[Span]:
        """The part of a recording's spans in this section, from its start."""
        inside = [Span(max(0.0, s.start - self.start), min(self.end, s.end) - self.start, s.label) for s in spans]
        return [span for span in inside if span.start < span.end]


def join(clips: pd.DataFrame, seconds: float, seed: int, path: Path) -> list[Section]:
    """Write a recording at 16 kHz, 16 bits, in which each speaker has a section of the same length.

    Args:
        clips: columns ``clip``, ``path``, ``speaker`` and ``label``.
        seconds: length of the recording.
        seed: the order of speakers, turns and clips, and the pauses depend on it.
        path: the WAV file.

    Returns:
        The sections. A pause has noise at the level of the quietest tenth of the clip before it.
    """
    speakers = keyed(seed, "speakers").permutation(sorted(clips["speaker"].unique())).tolist()
    length = round(seconds * SAMPLE_RATE / len(speakers))
    sections = []
    with (
        bar(f"joining {path.name}", len(speakers)) as progress,
        writing(path) as temporary,
        soundfile.SoundFile(temporary, "w", SAMPLE_RATE, 1, "PCM_16", format="WAV") as file,
    ):
        for place, speaker in enumerate(speakers):
            samples, spans = _section(clips[clips["speaker"] == speaker], length, seed, speaker)
            file.write(samples)
            start = place * length / SAMPLE_RATE
            sections.append(Section(speaker, start, start + length / SAMPLE_RATE, tuple(spans)))
            progress.advance()
    return sections


def _section(clips: pd.DataFrame, length: int, seed: int, speaker: str) -> tuple[NDArray[np.float32], list[Span]]:
    draw = keyed(seed, "section", speaker)
    pieces: list[NDArray[np.float32]] = []
    spans: list[Span] = []
    held = 0
    for turn in _turns(clips, draw):
        for number, (path, label) in enumerate(turn):
            sound = Audio.from_file(path).samples
            pause = round(draw.uniform(*(_WITHIN if number + 1 < len(turn) else _BETWEEN)) * SAMPLE_RATE)
            if held + len(sound) + pause > length:
                continue
            spans.append(Span(held / SAMPLE_RATE, (held + len(sound)) / SAMPLE_RATE, label))
            pieces += [sound, _noise(sound, pause, draw)]
            held += len(sound) + pause
    pieces.append(_noise(pieces[-2], length - held, draw))
    spans.append(Span(spans[-1].end, length / SAMPLE_RATE, None))
    return np.concatenate(pieces), spans


def _turns(clips: pd.DataFrame, draw: np.random.Generator) -> Iterator[list[tuple[str, str]]]:
    """All clips in a random order of turns."""
    turns = []
    for label, same in sorted(clips.groupby("label")):
        paths = draw.permutation(same.sort_values("clip")["path"].to_numpy()).tolist()
        while paths:
            size = int(draw.integers(1, _MOST_CLIPS_PER_TURN + 1))
            turns.append([(path, str(label)) for path in paths[:size]])
            paths = paths[size:]
    for place in draw.permutation(len(turns)):
        yield turns[place]


def _noise(sound: NDArray[np.float32], length: int, draw: np.random.Generator) -> NDArray[np.float32]:
    frames = sound[: len(sound) // _FRAME * _FRAME].reshape(-1, _FRAME)
    level = np.sqrt(np.quantile(np.mean(np.square(frames), axis=1), 0.1))
    noise: NDArray[np.float32] = (level * draw.standard_normal(length)).astype(np.float32)
    return noise
