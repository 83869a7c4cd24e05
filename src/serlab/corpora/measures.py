"""Measures of each clip of a corpus: whether it can be used, its fingerprint, and simple acoustic measures.

Each file is decoded once for all of them. The results are cached by path and SHA-256, so an
unchanged corpus is not decoded again for screening, audits or the search for duplicates.
"""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.audio import Audio, AudioError
from serlab.audio.fingerprints import RATE, Print, fingerprint
from serlab.audio.measures import LOWEST_DB, clipped_samples, decibel
from serlab.corpora.base import Corpus
from serlab.corpora.remembered import home_of, recall, remember
from serlab.corpora.scan import in_threads

MISSING = "missing"
"""Fault of a clip in the official list that this copy of the corpus lacks."""

_VERSION = 4
_KIND = "measures"
_FRAME_S = 0.02
_SPEECH_BELOW_PEAK_DB = 40.0
_FLOOR_SHARE = 0.05


@dataclass(frozen=True)
class ClipMeasures:
    """Measures of one clip.

    Attributes:
        fault: why the clip cannot be used, as :class:`serlab.audio.AudioError` says; empty if it
            can.
        print: its fingerprint, as text.
        level: root mean square in dB of full scale.
        floor: level of its quietest 5 %, in dB of full scale.
        leading: seconds before the first frame within 40 dB of the loudest one.
        clipped: share of samples that stay at full scale for three or more.
        trailing: seconds after the last frame within 40 dB of the loudest one.
        silent: share of frames that are not within 40 dB of the loudest one.
    """

    fault: str = ""
    print: str = ""
    level: float = 0.0
    floor: float = 0.0
    leading: float = 0.0
    clipped: float = 0.0
    trailing: float = 0.0
    silent: float = 0.0

    @property
    def fingerprint(self) -> Print:
        """The fingerprint; empty if there is none."""
        return np.frombuffer(base64.b64decode(self.print), np.uint32).reshape(2, -1)


def measure(corpus: Corpus, *, only: pd.Series | None = None) -> pd.Series:
    """Measure every clip of a corpus; results are cached.

    Args:
        corpus: the corpus.
        only: which rows of its table to measure, as booleans; all by default.

    Returns:
        :class:`ClipMeasures`, indexed by clip, in the corpus's order.
    """
    home = home_of(corpus.clips["path"])
    table = corpus.clips if only is None else corpus.clips[only]
    known = recall(_KIND, home)
    clips = list(zip(table["path"], table["sha256"], strict=True))
    # A file that could not be read may have been fixed without a new hash, e.g. its permissions.
    fresh = [(path, sha) for path, sha in clips if path and known.get(path, [])[:2] != [_VERSION, sha]]
    found = in_threads(lambda clip: _measure(Path(clip[0])), fresh, f"listening to {corpus.name}") if fresh else []
    measured = {path: asdict(each) for (path, _), each in zip(fresh, found, strict=True)}
    sound = {path: [_VERSION, sha, measured[path]] for path, sha in fresh if sha and not measured[path]["fault"]}
    if sound:
        remember(_KIND, home, known | sound)
    rows = [_recalled(path, measured, known) for path in table["path"]]
    return pd.Series(rows, index=table["clip"], dtype=object)


def _recalled(path: str, measured: dict[str, Any], known: dict[str, Any]) -> ClipMeasures:
    if not path:
        return ClipMeasures(fault=MISSING)
    return ClipMeasures(**(measured[path] if path in measured else known[path][2]))


def _measure(path: Path) -> ClipMeasures:
    try:
        sound = Audio.from_file(path)
    except AudioError as error:
        return ClipMeasures(fault=error.reason)
    samples, rate = sound.original, sound.sample_rate
    levels = _levels(samples, rate)
    speech = np.flatnonzero(levels >= levels.max() - _SPEECH_BELOW_PEAK_DB)
    return ClipMeasures(
        print=base64.b64encode(fingerprint(sound.at(RATE)).tobytes()).decode(),
        level=decibel(float(np.mean(np.square(samples, dtype=np.float64)))),
        floor=float(np.quantile(levels, _FLOOR_SHARE)),
        leading=float(speech[0]) * _FRAME_S,
        clipped=clipped_samples(samples) / len(samples),
        trailing=float(len(levels) - 1 - speech[-1]) * _FRAME_S,
        silent=1 - len(speech) / len(levels),
    )


def _levels(samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """Level of each 20 ms in dB of full scale, shape (frames,)."""
    size = max(1, round(_FRAME_S * rate))
    whole = samples[: len(samples) // size * size] if len(samples) >= size else samples
    frames = whole.reshape(-1, min(size, len(whole))).astype(np.float64)
    levels: NDArray[np.float64] = 10 * np.log10(np.maximum((frames**2).mean(axis=1), 10 ** (LOWEST_DB / 10)))
    return levels
