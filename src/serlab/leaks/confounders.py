"""Whether a confounder, such as the sample rate, predicts the label (SL006).

A histogram predicts the label from each confounder alone: its values are binned, and a clip gets
the label that is most frequent in its bin among the clips of other speakers, relative to the size
of each label. Cross-validation over speakers gives a UAR. Chance is the same with labels permuted
within each speaker. Speakers with a single label exchange it with each other, because nothing can
be permuted within them. A histogram needs no fitting beyond counting, so hundreds of permutations
take about a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.corpora.base import Corpus
from serlab.corpora.measures import ClipMeasures
from serlab.corpora.scan import recordings_of
from serlab.evaluation.metrics import confusion, uar
from serlab.leaks.findings import Finding, Severity

PERMUTATIONS = 199
_SIGNIFICANT = 0.01
# Ten speakers with one label each have few permutations, so a smaller p is hardly possible.
_SIGNIFICANT_OF_WHOLE_SPEAKERS = 0.05
_FOLDS = 5
_BINS = 24
_SMOOTHING = 0.5
# With six labels, these correspond to a UAR of .50 and .90.
_WARNING, _ERROR = (0.50 - 1 / 6) / (1 - 1 / 6), (0.90 - 1 / 6) / (1 - 1 / 6)
_FEWEST_CLIPS = 30
_CARRIES = {"duration", "level", "leading silence", "noise floor"}


@dataclass(frozen=True)
class Predictability:
    """How well a confounder predicts the label.

    Attributes:
        uar: in cross-validation over speakers.
        chance: mean UAR with labels permuted within speakers.
        p: share of permutations that reach the UAR, including the real order.
        whole: whether labels were permuted among speakers, because most clips belong to speakers
            with one label.
    """

    uar: float
    chance: float
    p: float
    whole: bool = False


def check_confounders(corpus: Corpus, measures: Sequence[ClipMeasures]) -> list[Finding]:
    """Check duration, level, sample rate, container, leading silence, noise floor and folder.

    Args:
        corpus: the corpus.
        measures: of each clip, in the corpus's order.

    Returns:
        One finding per confounder that predicts the label better than chance.
    """
    usable = np.array([not each.fault for each in measures])
    clips = corpus.clips[usable].reset_index(drop=True)
    sound = [each for each in measures if not each.fault]
    if len(clips) < _FEWEST_CLIPS or clips["label"].nunique() < 2:
        return [Finding("SL006", "not applicable", f"{len(clips)} usable clips are too few for this check.")]
    groups = clips["speaker"] if corpus.speakers_known else clips["clip"]
    if groups.nunique() < 2:
        return [Finding("SL006", "not applicable", "All clips are from one speaker; cross-validation needs two.")]
    labels = pd.Categorical(clips["label"], categories=corpus.labels).codes.astype(np.int64)
    found = []
    for name, values in _confounders(clips, sound).items():
        bins = binned(values)
        if bins.max() == 0:
            continue
        score = how_well(bins, labels, pd.factorize(groups)[0], len(corpus.labels), within=corpus.speakers_known)
        severity = _severity(score, len(corpus.labels))
        if severity:
            found.append(_finding(name, score, severity))
    return found


def _finding(name: str, score: Predictability, severity: Severity) -> Finding:
    maybe = " (it may itself carry emotion)" if name in _CARRIES else ""
    return Finding(
        "SL006",
        severity,
        f"The {name} of a clip alone predicts its label with a UAR of {100 * score.uar:.1f} % (chance "
        f"{100 * score.chance:.1f} %){maybe}.",
        figures={"uar": score.uar, "chance": score.chance, "p": score.p},
    )


def _severity(score: Predictability, classes: int) -> Severity | None:
    above = (score.uar - 1 / classes) / (1 - 1 / classes)
    if score.p > (_SIGNIFICANT_OF_WHOLE_SPEAKERS if score.whole else _SIGNIFICANT) or score.uar <= score.chance:
        return None
    return "error" if above >= _ERROR else "warning" if above >= _WARNING else "note"


def _confounders(clips: pd.DataFrame, measures: Sequence[ClipMeasures]) -> dict[str, pd.Series]:
    paths = [Path(path) for path in recordings_of(clips)]
    return {
        "duration": clips["duration"],
        "level": pd.Series([each.level for each in measures]),
        "sample rate": clips["sample_rate"].astype(str),
        "container": pd.Series([path.suffix.lower() for path in paths]),
        "leading silence": pd.Series([each.leading for each in measures]),
        "noise floor": pd.Series([each.floor for each in measures]),
        "folder": _folders(paths, clips["label"]),
    }


def _folders(paths: Sequence[Path], labels: pd.Series) -> pd.Series:
    """Each clip's folder, without the levels that have exactly one name per label.

    Such a level is the source of the labels, whatever its folders are called.
    """
    levels = pd.DataFrame([path.parent.parts[::-1] for path in paths]).fillna("")
    kinds = labels.nunique()
    of_labels = [
        level
        for level in levels
        if levels[level].nunique() == kinds == len(set(zip(levels[level], labels, strict=True)))
    ]
    return levels.drop(columns=of_labels).agg("/".join, axis=1)


def binned(values: pd.Series) -> NDArray[np.int64]:
    """The bin of each value: one per category, or by quantile for numbers."""
    if values.dtype == object or isinstance(values.dtype, pd.StringDtype):
        return _numbered(values)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1]))
    places: NDArray[np.int64] = np.searchsorted(edges, values.to_numpy(np.float64), side="right")
    return _numbered(places)


def _numbered(values: pd.Series | NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(pd.factorize(values)[0], np.int64)


def how_well(
    bins: NDArray[np.int64],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    classes: int,
    *,
    within: bool = True,
    permutations: int = PERMUTATIONS,
) -> Predictability:
    """Cross-validate over groups how well bins predict labels, and compare with permuted labels.

    Args:
        bins: bin index of each clip, shape ``(clips,)``.
        labels: label index of each clip, shape ``(clips,)``.
        groups: speaker index of each clip, shape ``(clips,)``; a speaker is never in two folds.
        classes: number of labels.
        within: permute labels within groups, and among groups with one label; otherwise among all
            clips.
        permutations: number of permutations.
    """
    random = np.random.default_rng(0)
    fold_of_group = random.permutation(groups.max() + 1) % min(_FOLDS, groups.max() + 1)
    cells = fold_of_group[groups] * (bins.max() + 1) + bins
    shape = (int(fold_of_group.max()) + 1, int(bins.max()) + 1)
    real = _score(cells, labels, shape, classes)
    order = np.argsort(groups, kind="stable")
    of_group = np.zeros(groups.max() + 1, np.int64)
    of_group[groups] = labels
    single = np.ones(len(of_group), bool)
    single[groups[labels != of_group[groups]]] = False
    whole = within & single[groups]
    chance = np.empty(permutations)
    for number in range(permutations):
        keys = random.random(len(labels))
        shuffled = np.empty_like(labels)
        # Sorting by a random key inside each group permutes within it.
        shuffled[order] = labels[np.lexsort((keys, groups)) if within else np.argsort(keys)]
        if whole.any():
            dealt = of_group.copy()
            dealt[single] = random.permutation(of_group[single])
            shuffled[whole] = dealt[groups[whole]]
        chance[number] = _score(cells, shuffled, shape, classes)
    reached = 1 + int((chance >= real - 1e-12).sum())
    return Predictability(real, float(chance.mean()), reached / (1 + permutations), bool(whole.mean() > 0.5))


def _score(cells: NDArray[np.int64], labels: NDArray[np.int64], shape: tuple[int, int], classes: int) -> float:
    """UAR of the histogram's cross-validated predictions; ``cells`` index fold and bin of each clip."""
    folds, bins = shape
    counts = np.bincount(cells * classes + labels, minlength=folds * bins * classes).reshape(folds, bins, classes)
    others = counts.sum(axis=0) - counts
    likelihood = (others + _SMOOTHING) / (others.sum(axis=1, keepdims=True) + _SMOOTHING * bins)
    guess = likelihood.argmax(axis=2).reshape(-1)[cells]
    return float(uar(confusion(labels, guess, classes)))
