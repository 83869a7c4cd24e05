"""Populations in which intervals and answers are hard to get right, drawn with the effects of the fitted population.

Each :class:`Case` differs from the balanced population in one way: a label that few speakers spoke, speakers who are
hardly recognised, clips that come mostly from easy speakers, one speaker with half of the clips, many models that are
equally good, or a few trainings that scatter. All models of a case are equally good, so every "ahead" is false.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import norm

from benchmarks.population import Population, counts_of_clips
from serlab.core.progress import bar
from serlab.evaluation.bootstrap import differences, intervals
from serlab.evaluation.counts import SpeakerCounts
from serlab.evaluation.metrics import METRICS, UAR, UAR_SPEAKERS, Metric, uar
from serlab.evaluation.resampling import LEVEL, Resampling, expanded_percentiles
from serlab.evaluation.significance import answer_of, holm

REPLICATES = 1000
HARDLY = -2.0
"""What a hardly recognised speaker adds to all levels, in standard deviations: a recall of 80 % becomes one of 12 %."""
_SIZE, _SPREAD, _FEWEST, _MOST = 10, 0.75, 2, 40
"""Clips per label if speakers differ: the median, the scatter of its logarithm (5 to 95 %: twelvefold), the limits."""


@dataclass(frozen=True)
class Case:
    """One population, and the size of its experiments.

    Attributes:
        name: unique; seeds the draws.
        title: what is special, for the page.
        speakers: number of speakers.
        labels: number of labels.
        spoken_by: number of speakers who speak the last label, None for all.
        hardly: share of speakers who are hardly recognised.
        ease: what one standard deviation of log clips per speaker adds to a speaker's levels; 0 for equal clips.
        half: whether the first speaker has half of the clips.
        models: number of models, all equally good.
        seeds: trainings of each.
        folds: number of test folds.
        points: standard deviation of a fold's UAR over trainings, in points.
        metric: key of the score that is judged.
    """

    name: str
    title: str
    speakers: int
    labels: int = 6
    spoken_by: int | None = None
    hardly: float = 0.0
    ease: float = 0.0
    half: bool = False
    models: int = 2
    seeds: int = 1
    folds: int = 1
    points: int = 0
    metric: str = "uar"

    def population(self, fitted: Population) -> Population:
        """The fitted population with this case's labels and equally good models."""
        levels = np.tile(fitted.levels[0, : self.labels], (self.models, 1))
        return replace(fitted, levels=levels, clips=fitted.clips[: self.labels])

    def design(
        self, clips: NDArray[np.int64], random: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Draw clips per speaker and label, shape (speakers, K), and each speaker's shift of levels."""
        design = np.tile(clips, (self.speakers, 1))
        shift = np.zeros(self.speakers)
        if self.spoken_by is not None:
            design[self.spoken_by :, -1] = 0
        if self.half:
            design[0] *= self.speakers - 1
        if self.hardly:
            shift += HARDLY * (random.random(self.speakers) < self.hardly)
        if self.ease:
            normal = random.standard_normal(self.speakers)
            design = np.tile(_sizes(normal)[:, None], (1, self.labels))
            shift += self.ease * normal
        return design, shift

    def truth(self, levels: NDArray[np.float64], scatter: float) -> float:
        """The score of a model over all clips, speakers and trainings, from its levels, shape (K,)."""
        if self.ease:
            normal = ndtri((np.arange(100_000) + 0.5) / 100_000)
            weights = np.ones(len(normal)) if self.metric == UAR_SPEAKERS.key else _sizes(normal)
            recalls = np.average(ndtr(levels + self.ease * normal[:, None]), axis=0, weights=weights)
            return float(recalls.mean())
        spread = np.sqrt(1 + scatter**2)
        recalls = (1 - self.hardly) * ndtr(levels / spread) + self.hardly * ndtr((levels + HARDLY) / spread)
        return float(recalls.mean())


_PEOPLE = (20, 50)
CASES = (
    *(Case(f"balanced-{size}", "balanced", size) for size in (*_PEOPLE, 91)),
    *(
        Case(f"rare-{few}-of-50", f"one of 2 labels spoken by {few}", 50, labels=2, spoken_by=few)
        for few in (3, 4, 6, 10)
    ),
    Case("rare-3-of-20", "one of 6 labels spoken by 3", 20, spoken_by=3),
    *(Case(f"hardly-{size}", "7 % of the speakers hardly recognised", size, hardly=0.07) for size in _PEOPLE),
    *(Case(f"ease-{size}", "clips vary tenfold, easy speakers have more", size, ease=0.5) for size in _PEOPLE),
    *(
        Case(f"ease-mean-{size}", "the same, mean over speakers", size, ease=0.5, metric=UAR_SPEAKERS.key)
        for size in _PEOPLE
    ),
    *(Case(f"half-{size}", "one speaker has half of the clips", size, half=True) for size in _PEOPLE),
    *(Case(f"models-{models}", f"{models} equal models", 50, models=models) for models in (3, 5, 7)),
    *(
        Case(
            f"seeds-{seeds}-folds-{folds}",
            f"{seeds} seeds that scatter by 4 points, {'5 folds' if folds > 1 else '1 fold'}",
            50,
            seeds=seeds,
            folds=folds,
            points=4,
        )
        for seeds in (2, 3)
        for folds in (1, 5)
    ),
)


def measure(case: Case, fitted: Population, trials: range, seed: int = 0) -> dict[str, Any]:
    """Count how often a case's intervals contain the true UAR, and how often a report calls a model ahead.

    Args:
        case: the population.
        fitted: where its effects come from.
        trials: experiments to draw, by number.
        seed: of the experiments.

    Returns:
        ``trials``, their number; ``without``, the share that had no interval; the shares that had one and contain the
        true score of the first model in it (``coverage``, not for families) or call at least one model ahead
        (``false_alarms``), each ``now`` and, for one training, ``before``: expanded percentiles alone, each pair on
        its own.
    """
    population = case.population(fitted)
    scatter = case.points / 100 / float(norm.pdf(population.levels[0]).mean())
    truth = case.truth(population.levels[0], scatter)
    paired = case.models == 2
    methods = ("now", "before") if case.seeds == 1 and case.metric == UAR.key else ("now",)
    counted = {what: dict.fromkeys(methods, 0) for what in (("coverage",) if paired else ()) + ("false_alarms",)}
    without = 0
    with bar(case.name, len(trials)) as done:
        for trial in trials:
            random = np.random.default_rng([seed, zlib.crc32(case.name.encode()), trial])
            design, shift = case.design(population.clips, random)
            right = population.draw_clips(
                design, random, seeds=case.seeds, folds=case.folds, scatter=scatter, shift=shift
            )
            models = [counts_of_clips(right[:, place], design, case.folds) for place in range(case.models)]
            judged = _judged(models, truth, METRICS[case.metric], Resampling(replicates=REPLICATES, seed=trial))
            without += not judged
            for what, hits in judged.items():
                for name, hit in hits.items():
                    counted[what][name] += hit
            done.advance()
    shares = {what: {name: hits / len(trials) for name, hits in found.items()} for what, found in counted.items()}
    return {"trials": len(trials), "without": without / len(trials), **shares}


def _judged(
    models: Sequence[SpeakerCounts], truth: float, metric: Metric, resampling: Resampling
) -> dict[str, dict[str, bool]]:
    """What one experiment says: whether the first model's interval holds, and whether any model is called ahead."""
    pairs = list(combinations(models, 2))
    alone = {metric.key: metric}
    found = [differences(*pair, metrics=alone, resampling=resampling)[metric.key] for pair in pairs]
    tested = [each.p for each in found if each.p is not None]
    if not tested:
        return {}
    answers = [answer_of(p, None, each.value) for p, each in zip(holm(tested), found, strict=True)]
    alarms = {"now": any(answer != "not shown" for answer in answers)}
    judged = {"false_alarms": alarms}
    once = len(models[0].seeds) == 1 and metric == UAR
    if once:
        alarms["before"] = any(not _holds(0.0, *percentiles_alone(pair, resampling)) for pair in pairs)
    if len(models) == 2:
        one = intervals(models[0], metrics=alone, resampling=resampling)[metric.key]
        judged["coverage"] = {"now": _holds(truth, one.low, one.high)}
        if once:
            judged["coverage"]["before"] = _holds(truth, *percentiles_alone(models[:1], resampling))
    return judged


def percentiles_alone(terms: Sequence[SpeakerCounts], resampling: Resampling) -> tuple[float, float]:
    """The interval of UAR, or of a difference, by expanded percentiles alone; terms have one seed."""
    speakers = len(terms[0].speakers)
    weights = resampling.draw(speakers)
    labels = len(terms[0].labels)
    drawn = [(weights @ term.by_speaker[0].reshape(speakers, -1)).reshape(-1, labels, labels) for term in terms]
    complete = (drawn[0].sum(axis=-1) > 0.5).all(axis=1)
    scores = [uar(each[complete]) for each in drawn]
    return expanded_percentiles(scores[0] - scores[1] if len(scores) == 2 else scores[0], speakers, LEVEL)


def _sizes(normal: NDArray[np.float64]) -> NDArray[np.int64]:
    """Clips per label of speakers whose log number of clips is as many standard deviations above the mean."""
    return np.clip(np.round(_SIZE * np.exp(_SPREAD * normal)), _FEWEST, _MOST).astype(np.int64)


def _holds(value: float, low: float | None, high: float | None) -> bool:
    assert low is not None
    assert high is not None
    return low <= value <= high
