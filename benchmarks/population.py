"""A population of speakers like CREMA-D's, to draw experiments with known true values.

A clip is recognised if a sum of normal effects is positive: the label's level, and effects of the
speaker, of the speaker and label, of the speaker and recipe, of all three, of the clip (the same
for both recipes) and of chance. With a total variance of one, a recipe's true recall of a label is
the normal probability of its level, exactly. The shares of the variance are those at which pairs of
clips are both recognised as often as in the tables at hand: two clips of a speaker or not, of a
label or not, by one recipe or two, are bivariate normal, so each share is one equation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import multivariate_normal

from serlab.evaluation.counts import SpeakerCounts, predicted_of

_HIGHEST = 0.95


@dataclass(frozen=True)
class Population:
    """Shares of variance, and levels.

    Attributes:
        levels: normal quantile of the true recall per recipe and label, shape (models, K).
        clips: number of clips per speaker and label, shape (K,).
        speaker: share of the speaker for all recipes and labels.
        label: share of speaker and label.
        recipe: share of speaker and recipe.
        both: share of speaker, recipe and label.
        clip: share of the clip.
    """

    levels: NDArray[np.float64]
    clips: NDArray[np.int64]
    speaker: float
    label: float
    recipe: float
    both: float
    clip: float

    def draw(self, speakers: int, random: np.random.Generator) -> NDArray[np.bool_]:
        """Draw whether each recipe recognises each clip, shape (models, speakers, clips of a speaker)."""
        recognised: NDArray[np.bool_] = self.draw_trainings(speakers, random)[0]
        return recognised

    def draw_trainings(
        self, speakers: int, random: np.random.Generator, *, seeds: int = 1, folds: int = 1, scatter: float = 0.0
    ) -> NDArray[np.bool_]:
        """Draw whether each training run recognises each clip, shape (seeds, models, speakers, clips of a speaker).

        Training runs of a recipe share all effects but chance and the effect of the run, constant
        within a fold.

        Args:
            speakers: number of speakers, in equal blocks over the folds.
            random: generator of the experiment.
            seeds: number of training runs per recipe and fold.
            folds: number of folds.
            scatter: standard deviation of a run's effect, in addition to the variance of one.
        """
        clips = np.broadcast_to(self.clips, (speakers, len(self.clips)))
        found = self.draw_clips(clips, random, seeds=seeds, folds=folds, scatter=scatter)
        return found.reshape(*found.shape[:2], speakers, -1)

    def draw_clips(
        self,
        clips: NDArray[np.integer[Any]],
        random: np.random.Generator,
        *,
        seeds: int = 1,
        folds: int = 1,
        scatter: float = 0.0,
        shift: NDArray[np.float64] | float = 0.0,
    ) -> NDArray[np.bool_]:
        """Draw whether each training run recognises each clip of a design, shape (seeds, models, clips).

        Args:
            clips: clips per speaker and label, shape (speakers, K); clips are in the order of its cells.
            random: generator of the experiment.
            seeds: number of training runs per recipe and fold.
            folds: number of folds.
            scatter: standard deviation of a run's effect, in addition to the variance of one.
            shift: a further effect of each speaker, shape (speakers,).
        """
        speakers, models = len(clips), len(self.levels)
        spoken = (
            np.sqrt(self.speaker) * random.standard_normal((1, speakers, 1))
            + np.sqrt(self.label) * random.standard_normal((1, *clips.shape))
            + np.sqrt(self.recipe) * random.standard_normal((models, speakers, 1))
            + np.sqrt(self.both) * random.standard_normal((models, *clips.shape))
            + np.reshape(shift, (-1, 1))
        )
        of_cell = (self.levels[:, None] + spoken).reshape(models, -1)
        speaker = np.repeat(np.arange(speakers), clips.sum(axis=1))
        rest = 1 - self.speaker - self.label - self.recipe - self.both - self.clip
        of_clip = np.repeat(of_cell, clips.ravel(), axis=1)
        of_clip += np.sqrt(self.clip) * random.standard_normal((1, len(speaker)))
        chance = np.sqrt(rest) * random.standard_normal((seeds, *of_clip.shape))
        trained = scatter * random.standard_normal((seeds, models, folds))[..., fold_of(speakers, folds)[speaker]]
        found: NDArray[np.bool_] = of_clip + chance + trained > 0
        return found


def fold_of(speakers: int, folds: int) -> NDArray[np.int64]:
    """Return each speaker's fold, shape (speakers,), in blocks of equal size as far as possible."""
    return np.arange(speakers) * folds // speakers


def fit(tables: Sequence[pd.DataFrame], labels: Sequence[str]) -> Population:
    """Estimate the population from the tables of two recipes on the same clips.

    Args:
        tables: two prediction tables with one subset and seed each.
        labels: the full label list.
    """
    merged = [
        table.assign(**{f"right{place}": predicted_of(table) == table["label"]}).set_index("clip")
        for place, table in enumerate(tables)
    ]
    clips = merged[0][["speaker", "label", "right0"]].join(merged[1]["right1"], how="inner")
    speaker, speakers = pd.factorize(clips["speaker"])
    label = clips["label"].map({name: place for place, name in enumerate(labels)}).to_numpy(np.int64)
    right = clips[["right0", "right1"]].to_numpy(np.float64).T
    cell = speaker * len(labels) + label
    shape = (len(speakers), len(labels))
    count = np.bincount(cell, minlength=np.prod(shape)).reshape(shape).astype(np.float64)
    hits = np.stack([np.bincount(cell, weights=each, minlength=np.prod(shape)).reshape(shape) for each in right])
    levels = ndtri(hits.sum(axis=1) / count.sum(axis=0))
    same_clip = np.bincount(cell, weights=right[0] * right[1], minlength=np.prod(shape)).reshape(shape)

    def correlation(recipes: Sequence[tuple[int, int]], *, same_label: bool) -> float:
        """Correlation of the latent normals of two clips of one speaker."""
        seen, pairs, expected = 0.0, 0.0, []
        for (one, other), first, second in product(recipes, range(len(labels)), range(len(labels))):
            if (first == second) != same_label:
                continue
            itself = same_label and np.sum(hits[one, :, first] if one == other else same_clip[:, first])
            number = float(np.sum(count[:, first] * count[:, second]) - (count[:, first].sum() if same_label else 0))
            seen += float(np.sum(hits[one, :, first] * hits[other, :, second]) - itself)
            pairs += number
            expected.append((number, levels[one, first], levels[other, second]))
        return _solve(seen / pairs, [(number / pairs, a, b) for number, a, b in expected])

    alone, across = [(0, 0), (1, 1)], [(0, 1)]
    both_labels = correlation(across, same_label=False)
    one_label = correlation(across, same_label=True)
    weights = [(float(count[:, k].sum() / count.sum()), levels[0, k], levels[1, k]) for k in range(len(labels))]
    on_clip = _solve(float(same_clip.sum() / count.sum()), weights)
    alone_labels = correlation(alone, same_label=False)
    alone_label = correlation(alone, same_label=True)
    recipe = max(0.0, alone_labels - both_labels)
    spoken = max(0.0, one_label - both_labels)
    return Population(
        levels=levels,
        clips=np.round(count.mean(axis=0)).astype(np.int64),
        speaker=max(0.0, both_labels),
        label=spoken,
        recipe=recipe,
        both=max(0.0, alone_label - alone_labels - spoken),
        clip=max(0.0, on_clip - one_label),
    )


def counts_of(right: NDArray[np.bool_], clips: NDArray[np.int64], folds: int = 1) -> SpeakerCounts:
    """Convert recognised clips to a recipe's counts; errors count for the next label.

    Args:
        right: shape (speakers, clips), or (seeds, speakers, clips).
        clips: clips of each label that a speaker has, shape (K,).
        folds: number of folds.
    """
    speakers = right.shape[-2]
    design = np.broadcast_to(clips, (speakers, len(clips)))
    return counts_of_clips(right.reshape(-1, right.shape[-2] * right.shape[-1]), design, folds)


def counts_of_clips(right: NDArray[np.bool_], clips: NDArray[np.integer[Any]], folds: int = 1) -> SpeakerCounts:
    """Convert recognised clips of a design to a recipe's counts; errors count for the next label.

    Args:
        right: shape (seeds, clips), in the order of the design's cells.
        clips: clips per speaker and label, shape (speakers, K).
        folds: number of folds.
    """
    speakers, labels = clips.shape
    ends = np.cumsum(clips.ravel())
    so_far = np.pad(np.cumsum(right, axis=1), ((0, 0), (1, 0)))
    hits: NDArray[np.int64] = so_far[:, ends] - so_far[:, ends - clips.ravel()]
    matrices = np.zeros((len(right), speakers, labels, labels), np.int64)
    place = np.arange(labels)
    hits = hits.reshape(-1, speakers, labels)
    matrices[..., place, place] = hits
    matrices[..., place, (place + 1) % labels] = clips - hits
    return SpeakerCounts(
        labels=tuple(map(str, place)),
        speakers=tuple(map(str, range(speakers))),
        folds=tuple(range(1, folds + 1)),
        seeds=tuple(range(len(right))),
        matrices=matrices,
        speaker=np.arange(speakers),
        fold=fold_of(speakers, folds),
    )


def _solve(seen: float, expected: Sequence[tuple[float, float, float]]) -> float:
    """Find the correlation that gives the observed joint accuracy, over pairs of (share, level, level)."""

    def excess(correlation: float) -> float:
        normal = multivariate_normal(cov=[[1, correlation], [correlation, 1]])
        return float(sum(share * normal.cdf([one, other]) for share, one, other in expected)) - seen

    if excess(0.0) >= 0:
        return 0.0
    return float(brentq(excess, 0.0, _HIGHEST, xtol=1e-4)) if excess(_HIGHEST) > 0 else _HIGHEST
