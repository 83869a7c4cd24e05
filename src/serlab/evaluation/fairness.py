"""Fairness: for whom a model works less well, by attributes of the speakers.

Each group's UAR has an interval over the group's own speakers. The gap is the best group's UAR less
the worst one's. Noise alone makes it positive, so it is tested, and shown beside what chance gives:
the group names are permuted over the speakers (Good 2005, "Permutation, parametric and bootstrap
tests of hypotheses"), each keeping all its clips, and p = (1 + reached) / (1 + permutations)
(Phipson and Smyth 2010). A gap that is not shown may still exist: with few speakers the 95th
percentile of chance is large.

Groups of fewer than 10 speakers get no score and take no part in the gap. The UAR of a group
without clips of some label cannot be compared with the others'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serlab.evaluation.metrics import recall
from serlab.evaluation.resampling import FEWEST_SPEAKERS, STANDARD, Interval, Resampling
from serlab.evaluation.significance import PERMUTATIONS

_BANDS = (
    (0, 20, "under 20"),
    *((decade, decade + 10, f"{decade}-{decade + 9}") for decade in range(20, 60, 10)),
    (60, float("inf"), "60+"),
)
_ROUNDING = 1e-12

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """One group of speakers.

    Attributes:
        name: as the corpus gives it.
        speakers: their number.
        uar: mean over seeds of the unweighted average recall, with its interval over the group's
            speakers; None if ``reason`` says why.
        recalls: recall of each label, mean over seeds; None for a label without clips, all None
            below 10 speakers.
        reason: why there is no UAR, empty if there is one.
    """

    name: str
    speakers: int
    uar: Interval | None
    recalls: dict[str, float | None]
    reason: str = ""


@dataclass(frozen=True)
class Gap:
    """The largest difference between groups, beside what chance gives.

    Attributes:
        value: the best group's score less the worst one's.
        best: name of the group with the highest score.
        worst: name of the group with the lowest.
        p: share of permutations with a gap at least as large; not adjusted for the number of gaps
            tested.
        null_median: median gap over the permutations.
        null_high: their 95th percentile.
    """

    value: float
    best: str
    worst: str
    p: float
    null_median: float
    null_high: float


@dataclass(frozen=True)
class Fairness:
    """Groups by one attribute of the speakers.

    Attributes:
        groups: in alphabetical order.
        gap: of UAR, between the groups that have one; None if ``reason`` says why.
        label_gaps: of each label's recall, between the same groups; None for a label without clips.
        unknown: number of speakers without a value of the attribute; they are in no group.
        reason: why there is no gap, empty if there is one.
    """

    groups: tuple[Group, ...]
    gap: Gap | None
    label_gaps: dict[str, Gap | None]
    unknown: int
    reason: str = ""


def age_bands(ages: Sequence[float]) -> list[str | None]:
    """Name the band of each age: under 20, 20-29, 30-39, 40-49, 50-59, 60+; None for an unknown age (NaN).

    >>> age_bands([20, 59.5, 74, float("nan")])
    ['20-29', '50-59', '60+', None]
    """
    return [next((name for low, high, name in _BANDS if low <= age < high), None) for age in ages]


def judge_groups(
    matrices: NDArray[np.integer[Any]],
    speakers: Sequence[str],
    groups: Mapping[str, str | None],
    *,
    labels: Sequence[str],
    permutations: int = PERMUTATIONS,
    resampling: Resampling = STANDARD,
) -> Fairness:
    """Score each group and test the gaps between them.

    Args:
        matrices: confusion counts, rows the true label, shape (seeds, speakers, K, K).
        speakers: name of each speaker.
        groups: group of each speaker; speakers that it lacks, or that have None or an empty name,
            are unknown.
        labels: the full label list, K long.
        permutations: of the groups' names over the speakers.
        resampling: how speakers are resampled; its seed is that of the permutations too.
    """
    names = np.array([_known(groups.get(speaker)) for speaker in speakers], dtype=object)
    spoken = matrices.sum(axis=(0, 1, 3)) > 0
    judged = [
        _judge(name, matrices[:, names == name], labels, spoken, resampling) for name in sorted(set(names) - {""})
    ]
    compared = [group.name for group in judged if group.uar is not None]
    unknown = int((names == "").sum())
    if len(compared) < 2:
        reason = f"fewer than two groups of at least {FEWEST_SPEAKERS} speakers with clips of every label"
        return Fairness(tuple(judged), None, dict.fromkeys(labels), unknown, reason)
    chosen = np.isin(names, compared)
    place = np.array([compared.index(name) for name in names[chosen]])
    orders = np.random.default_rng(resampling.seed).permuted(np.tile(place, (permutations, 1)), axis=1)
    hits = np.diagonal(matrices, axis1=2, axis2=3)[:, chosen]
    clips = matrices.sum(axis=-1)[:, chosen]
    actual, chance = (_recalls(each, len(compared), hits, clips) for each in (place[None], orders))
    return Fairness(
        groups=tuple(judged),
        gap=_gap(actual[..., spoken].mean(axis=-1), chance[..., spoken].mean(axis=-1), compared),
        label_gaps={
            label: _gap(actual[..., k], chance[..., k], compared) if spoken[k] else None
            for k, label in enumerate(labels)
        },
        unknown=unknown,
    )


def _judge(
    name: str,
    matrices: NDArray[np.integer[Any]],
    labels: Sequence[str],
    spoken: NDArray[np.bool_],
    resampling: Resampling,
) -> Group:
    seeds, speakers, classes, _ = matrices.shape
    if speakers < FEWEST_SPEAKERS:
        return Group(name, speakers, None, dict.fromkeys(labels), f"too few ({speakers} speakers)")
    by_label = recall(matrices.sum(axis=1)).mean(axis=0)
    recalls = {label: None if np.isnan(value) else float(value) for label, value in zip(labels, by_label, strict=True)}
    missing = [label for label, value, here in zip(labels, by_label, spoken, strict=True) if here and np.isnan(value)]
    if missing:
        return Group(name, speakers, None, recalls, f"no clips of {', '.join(missing)}")
    flat = matrices.swapaxes(0, 1).reshape(speakers, -1).astype(np.float64)

    def average_recall(weights: Floats) -> Floats:
        # A label that the drawn speakers lack makes the mean NaN, and the replicate is left out.
        each = recall((weights @ flat).reshape(-1, seeds, classes, classes))[..., spoken]
        return np.asarray(each.mean(axis=(1, 2)), np.float64)

    value = float(by_label[spoken].mean())
    return Group(name, speakers, resampling.interval(value, average_recall, speakers), recalls)


def _recalls(
    place: NDArray[np.integer[Any]], groups: int, hits: NDArray[np.integer[Any]], clips: NDArray[np.integer[Any]]
) -> Floats:
    """Recalls when the speakers are in these groups, mean over seeds; NaN where a group has no clip of a label.

    Args:
        place: group of each speaker, shape (permutations, speakers).
        groups: number of groups.
        hits: clips that are right, shape (seeds, speakers, K).
        clips: clips of each label, of the same shape.

    Returns:
        Shape (permutations, groups, K).
    """
    right, of = (each.swapaxes(0, 1).reshape(place.shape[1], -1).astype(np.float64) for each in (hits, clips))
    shape = (len(place), *hits.shape[::2])
    recalls = np.empty((len(place), groups, hits.shape[2]))
    for group in range(groups):
        member = (place == group).astype(np.float64)
        with np.errstate(invalid="ignore"):
            recalls[:, group] = ((member @ right) / (member @ of)).reshape(shape).mean(axis=1)
    return recalls


def _gap(actual: Floats, chance: Floats, names: Sequence[str]) -> Gap:
    """The gap of scores of shape (1, groups) beside those of the permutations, shape (permutations, groups)."""
    value = float(np.ptp(actual[0]))
    gaps = np.ptp(chance, axis=1)
    # A permutation that leaves a group without a label has no gap; it counts as reached, against the claim.
    reached = len(gaps) - int((gaps < value - _ROUNDING).sum())
    median, high = np.quantile(gaps[~np.isnan(gaps)], (0.5, 0.95))
    return Gap(
        value=value,
        best=names[int(actual[0].argmax())],
        worst=names[int(actual[0].argmin())],
        p=(1 + reached) / (1 + len(gaps)),
        null_median=float(median),
        null_high=float(high),
    )


def _known(group: object) -> str:
    """The group's name, empty if unknown (NaN in a table)."""
    return group if isinstance(group, str) else ""
