"""Whether something that has nothing to do with emotion tells the label (SL006).

Each nuisance predicts the label by itself, through a histogram: its values fall into bins, and a clip gets the label
that is most frequent, relative to the label's clips, in its bin among other speakers' clips. Cross-validation over
speakers gives a UAR; the same with labels permuted within each speaker says what chance would give. Speakers of one
label exchange theirs as a whole: nothing else can be permuted there. A histogram needs no fitting beyond counting, so
that hundreds of permutations take a second.
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
from serlab.evaluation.metrics import confusion, uar
from serlab.leaks.findings import Finding, Severity

PERMUTATIONS = 199
_SIGNIFICANT = 0.01
# Ten speakers of one label each can be dealt out in few ways, so that hardly a smaller p can be had.
_SIGNIFICANT_OF_WHOLE_SPEAKERS = 0.05
_FOLDS = 5
_BINS = 24
_SMOOTHING = 0.5
# As far above chance as .50 and .90 of six labels are.
_WARNING, _ERROR = (0.50 - 1 / 6) / (1 - 1 / 6), (0.90 - 1 / 6) / (1 - 1 / 6)
_FEWEST_CLIPS = 30
_CARRIES = {"duration", "level", "leading silence", "noise floor"}


@dataclass(frozen=True)
class Told:
    """How well a nuisance tells the label.

    Attributes:
        uar: in cross-validation over speakers.
        chance: mean UAR over labels permuted within speakers.
        p: share of permutations that reach the UAR, the real one counted.
        whole: whether most clips are of speakers with one label, whose labels were permuted among speakers.
    """

    uar: float
    chance: float
    p: float
    whole: bool = False


def check_confounders(corpus: Corpus, heard: Sequence[ClipMeasures]) -> list[Finding]:
    """Look at duration, level, sample rate, container, leading silence, noise floor and folder.

    Args:
        corpus: the corpus.
        heard: what was heard in each clip, in the corpus's order.

    Returns:
        One finding a nuisance that tells more than chance; what is the same in all clips tells nothing.
    """
    usable = np.array([not each.fault for each in heard])
    clips = corpus.clips[usable].reset_index(drop=True)
    sound = [each for each in heard if not each.fault]
    if len(clips) < _FEWEST_CLIPS or clips["label"].nunique() < 2:
        return [Finding("SL006", "not applicable", f"{len(clips)} usable clips are too few to tell.")]
    groups = clips["speaker"] if corpus.speakers_known else clips["clip"]
    if groups.nunique() < 2:
        return [Finding("SL006", "not applicable", "All clips are of one speaker, so nothing can be cross-validated.")]
    labels = pd.Categorical(clips["label"], categories=corpus.labels).codes.astype(np.int64)
    found = []
    for name, values in _nuisances(clips, sound).items():
        bins = binned(values)
        if bins.max() == 0:
            continue
        told = how_well(bins, labels, pd.factorize(groups)[0], len(corpus.labels), within=corpus.speakers_known)
        severity = _severity(told, len(corpus.labels))
        if severity:
            found.append(_finding(name, told, severity))
    return found


def _finding(name: str, told: Told, severity: Severity) -> Finding:
    maybe = " (it may carry emotion itself)" if name in _CARRIES else ""
    return Finding(
        "SL006",
        severity,
        f"The {name} of a clip alone tells its label with a UAR of {100 * told.uar:.1f} % (chance "
        f"{100 * told.chance:.1f} %){maybe}.",
        figures={"uar": told.uar, "chance": told.chance, "p": told.p},
    )


def _severity(told: Told, classes: int) -> Severity | None:
    above = (told.uar - 1 / classes) / (1 - 1 / classes)
    if told.p > (_SIGNIFICANT_OF_WHOLE_SPEAKERS if told.whole else _SIGNIFICANT) or told.uar <= told.chance:
        return None
    return "error" if above >= _ERROR else "warning" if above >= _WARNING else "note"


def _nuisances(clips: pd.DataFrame, heard: Sequence[ClipMeasures]) -> dict[str, pd.Series]:
    paths = [Path(path) for path in clips["path"]]
    return {
        "duration": clips["duration"],
        "level": pd.Series([each.level for each in heard]),
        "sample rate": clips["sample_rate"].astype(str),
        "container": pd.Series([path.suffix.lower() for path in paths]),
        "leading silence": pd.Series([each.leading for each in heard]),
        "noise floor": pd.Series([each.floor for each in heard]),
        "folder": _folders(paths, clips["label"]),
    }


def _folders(paths: Sequence[Path], labels: pd.Series) -> pd.Series:
    """Each clip's folder without those levels, from the clip up, that have one name for each label.

    Such a level is where the label was taken from, whatever its folders are called.
    """
    levels = pd.DataFrame([path.parent.parts[::-1] for path in paths]).fillna("")
    kinds = labels.nunique()
    told = [
        level
        for level in levels
        if levels[level].nunique() == kinds == len(set(zip(levels[level], labels, strict=True)))
    ]
    return levels.drop(columns=told).agg("/".join, axis=1)


def binned(values: pd.Series) -> NDArray[np.int64]:
    """Number each value's bin: categories as they are, numbers by quantile."""
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
) -> Told:
    """How well bins tell labels, by cross-validation over groups, against labels permuted within groups.

    Args:
        bins: number of each clip's bin.
        labels: number of each clip's label.
        groups: number of each clip's speaker; clips of one are never on both sides.
        classes: number of labels.
        within: permute labels within groups, and among groups of one label; otherwise among all clips.
        permutations: how many.
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
    return Told(real, float(chance.mean()), reached / (1 + permutations), bool(whole.mean() > 0.5))


def _score(cells: NDArray[np.int64], labels: NDArray[np.int64], shape: tuple[int, int], classes: int) -> float:
    """UAR of the histogram's cross-validated guesses; ``cells`` number fold and bin of each clip."""
    folds, bins = shape
    counts = np.bincount(cells * classes + labels, minlength=folds * bins * classes).reshape(folds, bins, classes)
    others = counts.sum(axis=0) - counts
    likelihood = (others + _SMOOTHING) / (others.sum(axis=1, keepdims=True) + _SMOOTHING * bins)
    guess = likelihood.argmax(axis=2).reshape(-1)[cells]
    return float(uar(confusion(labels, guess, classes)))
