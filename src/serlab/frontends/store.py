"""Features of a corpus's clips, kept in memory as far as a budget allows.

A front end is a pure function, so what it gave once can be given again: to the next epoch, fold, seed or recipe with
the same front end. Beyond the budget features are computed each time; the result is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from serlab.audio import read
from serlab.augment import View, apply
from serlab.frontends.base import Features, FrontEnd
from serlab.progress import bar
from serlab.randomness import keyed

BUDGET_BYTES = 4 * 2**30
_READERS = 2
_PLAIN = View()


@dataclass(frozen=True)
class ClipFile:
    """A clip to be read: its id, its file, its length in seconds."""

    clip: str
    path: str
    duration: float


class FeatureStore:
    """Computes and remembers features.

    Args:
        frontend: the front end.
        budget: bytes of features to keep.
    """

    def __init__(self, frontend: FrontEnd, budget: int = BUDGET_BYTES) -> None:
        self.frontend = frontend
        self.left = budget
        self.kept: dict[tuple[str, View, int], Features] = {}

    def get(self, clip: ClipFile, view: View = _PLAIN, seed: int = 0) -> Features:
        """Features of one view of one clip.

        Args:
            clip: the clip.
            view: the waveform augmentation; the clip as it is by default.
            seed: the run's seed, which keys the view's noise and mask.
        """
        random = bool(view.noise or view.time_mask)
        key = (clip.clip, view, seed if random else 0)
        features = self.kept.get(key)
        if features is None:
            samples = read(Path(clip.path))
            if view != _PLAIN:
                samples = apply(samples, view, keyed(seed, clip.clip, repr(view)))
            features = self.frontend(samples)
            if features.nbytes <= self.left:
                self.left -= features.nbytes
                self.kept[key] = features
        return features

    def many(self, clips: Sequence[ClipFile], title: str) -> list[Features]:
        """Features of many clips as they are, with a progress bar; reading overlaps with computing."""
        with bar(title, len(clips)) as progress, ThreadPoolExecutor(_READERS) as pool:
            features = []
            for item in pool.map(self.get, clips):
                features.append(item)
                progress.advance()
        return features
