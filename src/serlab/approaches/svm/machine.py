"""Support vector machines with an RBF kernel, one against one, and two ways to turn their decisions into logits.

The first way is the SVM's own decision, scaled by a temperature. The other one, used by the first
version, is a logistic regression over the pairs' decision values. The regression has K (K - 1) / 2
weights per label and is fitted only on held-out clips, so it can contradict the SVM if a label has
few speakers. Do not train new models with it.
"""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from serlab.approaches.classical import (
    Array,
    FittedArrays,
    Floats,
    Targets,
    check_finite,
    check_width,
    logistic_path,
    statistics,
)
from serlab.approaches.svm.pairs import one_against_rest, votes
from serlab.core.progress import bar, say
from serlab.evaluation.calibration import TEMPERATURES, fit_temperature
from serlab.evaluation.metrics import confusion, uar

_INNER_FOLDS = 3
_KERNEL_ROWS = 512
_KERNEL_CACHE_MB = 500


@dataclass(frozen=True, eq=False)
class SupportVectors(FittedArrays):
    """A fitted SVM; subclasses define how its decision values become logits.

    Attributes:
        mean: of the training features, shape (d,).
        scale: their standard deviation, 1 instead of 0, shape (d,).
        support: standardised support vectors, shape (s, d).
        dual: coefficient of each support vector in each pair of labels, shape (s, pairs).
        offset: of each pair, shape (pairs,).
        penalty: C, as chosen.
        gamma: of the kernel exp(-gamma |x - y|^2), as chosen.
        inner_uar: their UAR on clips of held-out training speakers.
    """

    AXES: ClassVar[Mapping[str, str]] = {
        "mean": "d", "scale": "d", "support": "sd", "dual": "sP", "offset": "P",
        "penalty": "", "gamma": "", "inner_uar": "",
    }  # fmt: skip

    mean: Array
    scale: Array
    support: Array
    dual: Array
    offset: Array
    penalty: Array
    gamma: Array
    inner_uar: Array

    @classmethod
    def fit(
        cls,
        features: Floats,
        targets: Targets,
        speakers: Sequence[str],
        *,
        n_labels: int,
        seed: int,
        penalties: Sequence[float],
        gammas: Sequence[float],
        workers: int | None = None,
    ) -> Self:
        """Choose C and gamma on held-out training speakers, calibrate on the same clips, fit on all clips.

        There are up to three inner folds, grouped by speaker and stratified by label. They are only
        stratified by label, and no temperature is fitted, if fewer than two speakers are known, or
        if the speakers of a fold have all clips of all labels but one. The SVM weighs labels
        equally (``class_weight="balanced"``).

        Args:
            features: of the training clips, shape (n, d).
            targets: label indices, shape (n,); at least two clips of each label.
            speakers: speaker of each clip, empty if unknown.
            n_labels: length K of the full label list.
            seed: assigns speakers to the inner folds.
            penalties: values of C to choose from; ties go to the first.
            gammas: values of gamma to choose from.
            workers: number of threads; all processors by default. The result does not depend on it.

        Returns:
            The fitted model.

        Raises:
            UserError: a feature is not finite.
        """
        check_finite(features)
        mean, scale = statistics(features)
        grid = [(penalty, gamma) for penalty in penalties for gamma in gammas]
        folds, grouped = _inner_folds(targets, speakers, n_labels, seed)
        seen = np.zeros((len(targets), n_labels), bool)
        for held in folds:
            seen[np.ix_(held, np.unique(targets[~held]))] = True
        decisions = _held_out(features, targets, folds, grid, n_labels, workers or os.cpu_count() or 1)
        answers = [cls._answer(values, seen) for values in decisions]
        scores = np.array([uar(confusion(targets, answer, n_labels)) for answer in answers])
        best = int(scores.argmax())
        penalty, gamma = grid[best]
        machine = _fit_machine((features - mean) / scale, targets, penalty, gamma)
        return cls(
            mean=mean,
            scale=scale,
            support=machine.support_vectors_,
            dual=_pair_coefficients(machine),
            offset=machine.intercept_,
            penalty=np.array(penalty),
            gamma=np.array(gamma),
            inner_uar=scores[best],
            **cls._calibrate(decisions[best], seen & grouped, targets),
        )

    @property
    def n_labels(self) -> int:
        """Number K of labels; the SVM has K (K - 1) / 2 pairs."""
        return (1 + math.isqrt(1 + 8 * self.offset.size)) // 2

    @property
    def chosen(self) -> dict[str, Any]:
        """C, gamma, and their inner UAR."""
        return {"C": float(self.penalty), "gamma": float(self.gamma), "inner_uar": float(self.inner_uar)}

    def decision_values(self, features: Floats) -> Array:
        """Decision values of all pairs of labels, (0, 1), (0, 2), ..., shape (n, pairs)."""
        check_width(features, self.mean)
        inputs = (features - self.mean) / self.scale
        norms = np.square(self.support).sum(axis=1)
        values = np.empty((len(inputs), self.offset.size))
        for start in range(0, len(inputs), _KERNEL_ROWS):
            rows = inputs[start : start + _KERNEL_ROWS]
            distances = np.square(rows).sum(axis=1, keepdims=True) - 2 * rows @ self.support.T + norms
            np.maximum(distances, 0, out=distances)  # Below zero only by rounding.
            values[start : start + _KERNEL_ROWS] = np.exp(-self.gamma * distances) @ self.dual + self.offset
        return values

    @abstractmethod
    def logits(self, features: Floats) -> Array:
        """Logits of clips.

        Args:
            features: shape (n, d).

        Returns:
            Natural-log scores, shape (n, K); their softmax is the probability.

        Raises:
            UserError: the features have another width than in training, or one is not finite.
        """

    @staticmethod
    @abstractmethod
    def _answer(values: Array, seen: NDArray[np.bool_]) -> Targets:
        """Predicted labels of held-out clips, shape (n,); ``seen``: labels that their SVM has learned."""

    @staticmethod
    @abstractmethod
    def _calibrate(values: Array, seen: NDArray[np.bool_], targets: Targets) -> dict[str, Array]:
        """Fields of the subclass, fitted on held-out clips; ``seen`` is all false if speakers overlap."""


@dataclass(frozen=True, eq=False)
class SupportVectorClassifier(SupportVectors):
    """The SVM's own decision: its one-against-rest values, divided by a temperature.

    The label of the highest logit is scikit-learn's ``SVC(break_ties=True).predict``, whatever the
    temperature.

    Attributes:
        temperature: above 0, shared by all labels, fitted on held-out training speakers (Guo et al.
            2017); 1 if this is not possible, see :attr:`calibrated`.
        calibrated: 1 if the temperature was fitted, else 0.
    """

    AXES: ClassVar[Mapping[str, str]] = {**SupportVectors.AXES, "temperature": "", "calibrated": ""}

    temperature: Array
    calibrated: Array

    @property
    def chosen(self) -> dict[str, Any]:
        """C, gamma, their inner UAR, and the temperature (None if it could not be fitted)."""
        return {**super().chosen, "temperature": float(self.temperature) if self.calibrated else None}

    def logits(self, features: Floats) -> Array:
        """One-against-rest values over the temperature; see :meth:`SupportVectors.logits`."""
        values = self.decision_values(features)
        scores: Array = one_against_rest(values, np.ones((len(values), self.n_labels), bool)) / self.temperature
        return scores

    @staticmethod
    def _answer(values: Array, seen: NDArray[np.bool_]) -> Targets:
        labels: Targets = one_against_rest(values, seen).argmax(axis=1)
        return labels

    @staticmethod
    def _calibrate(values: Array, seen: NDArray[np.bool_], targets: Targets) -> dict[str, Array]:
        # If the SVM has not seen a clip's label, the clip is wrong at every temperature and so not
        # informative.
        known = seen[np.arange(len(targets)), targets]
        temperature = TEMPERATURES[1]
        if known.any():
            temperature = fit_temperature(one_against_rest(values, seen)[known], targets[known])
        # At the upper end, held-out probabilities are no better than uniform ones; the search
        # returns it rounded.
        if temperature > 0.999 * TEMPERATURES[1]:
            say("no temperature fits the held-out training speakers; probabilities are uncalibrated (temperature 1).")
            return {"temperature": np.array(1.0), "calibrated": np.array(0.0)}
        return {"temperature": np.array(temperature), "calibrated": np.array(1.0)}


@dataclass(frozen=True, eq=False)
class RegressedSupportVectorClassifier(SupportVectors):
    """The first version: a multinomial logistic regression over the pairs' decision values.

    Attributes:
        weight: from the pairs' decision values to logits, shape (pairs, K).
        bias: of the logits, shape (K,).
    """

    AXES: ClassVar[Mapping[str, str]] = {**SupportVectors.AXES, "weight": "PK", "bias": "K"}

    weight: Array
    bias: Array

    def logits(self, features: Floats) -> Array:
        """The regression's logits; see :meth:`SupportVectors.logits`."""
        return self.decision_values(features) @ self.weight + self.bias

    @staticmethod
    def _answer(values: Array, seen: NDArray[np.bool_]) -> Targets:
        labels: Targets = votes(values, seen).argmax(axis=1)
        return labels

    @staticmethod
    def _calibrate(values: Array, seen: NDArray[np.bool_], targets: Targets) -> dict[str, Array]:
        ((weight, bias),) = logistic_path(values, targets, seen.shape[1], [1.0])
        return {"weight": weight, "bias": bias}


def _held_out(
    features: Floats,
    targets: Targets,
    folds: Sequence[NDArray[np.bool_]],
    grid: Sequence[tuple[float, float]],
    n_labels: int,
    workers: int,
) -> Array:
    """Decision values of each clip from the SVM that has not seen it, shape (grid, n, pairs)."""

    def compute(task: tuple[tuple[float, float], NDArray[np.bool_]]) -> Array:
        (penalty, gamma), held = task
        mean, scale = statistics(features[~held])
        machine = _fit_machine((features[~held] - mean) / scale, targets[~held], penalty, gamma)
        return _all_pairs(machine, (features[held] - mean) / scale, n_labels)

    tasks = [(point, held) for point in grid for held in folds]
    decisions = np.zeros((len(grid), len(targets), n_labels * (n_labels - 1) // 2))
    pool = ThreadPoolExecutor(workers)
    try:
        with bar("searching C and gamma", len(tasks)) as progress:
            for step, values in enumerate(pool.map(compute, tasks)):
                decisions[step // len(folds), folds[step % len(folds)]] = values
                progress.advance()
    finally:
        pool.shutdown(cancel_futures=True)
    return decisions


def _inner_folds(
    targets: Targets, speakers: Sequence[str], n_labels: int, seed: int
) -> tuple[list[NDArray[np.bool_]], bool]:
    """Masks of the clips that each inner fold holds out, and whether their speakers are held out too.

    Together, the folds hold out every clip once. Each fold leaves at least two labels for training.
    """
    groups = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)[1]
    alone = np.arange(len(targets))
    if groups.max() == 0:
        return _deal(targets, alone, n_labels, seed), True
    folds = _deal(targets, groups, n_labels, seed)
    if all(len(np.unique(targets[~held])) > 1 for held in folds):
        return folds, True
    say("too few training speakers have each label; C and gamma are chosen on held-out clips, not speakers.")
    return _deal(targets, alone, n_labels, seed), False


def _deal(targets: Targets, groups: Targets, n_labels: int, seed: int) -> list[NDArray[np.bool_]]:
    from sklearn.model_selection import StratifiedGroupKFold

    number = min(_INNER_FOLDS, int(groups.max()) + 1, int(np.bincount(targets, minlength=n_labels).min()))
    splitter = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
    folds = []
    for _, held in splitter.split(targets, targets, groups):
        mask = np.zeros(len(targets), bool)
        mask[held] = True
        folds.append(mask)
    return folds


def _fit_machine(inputs: Array, targets: Targets, penalty: float, gamma: float) -> Any:
    from sklearn.svm import SVC

    options = {"class_weight": "balanced", "decision_function_shape": "ovo", "cache_size": _KERNEL_CACHE_MB}
    return SVC(C=penalty, gamma=gamma, **options).fit(inputs, targets)


def _all_pairs(machine: Any, inputs: Array, n_labels: int) -> Array:
    """Decision values of all pairs of the full label list; 0 if the SVM has not seen one of the two."""
    column = {pair: index for index, pair in enumerate(combinations(range(n_labels), 2))}
    known = [column[pair] for pair in combinations(machine.classes_.tolist(), 2)]
    values = np.zeros((len(inputs), len(column)))
    values[:, known] = machine.decision_function(inputs).reshape(len(inputs), len(known))
    return values


def _pair_coefficients(machine: Any) -> Array:
    """Spread libsvm's compact coefficients to one column per pair of labels.

    A support vector of label i has K - 1 coefficients, one for each other label j: row j - 1 if j >
    i, else j.
    """
    n_labels = len(machine.classes_)
    owner = np.repeat(np.arange(n_labels), machine.n_support_)
    dual = np.zeros((len(owner), n_labels * (n_labels - 1) // 2))
    for column, (first, second) in enumerate(combinations(range(n_labels), 2)):
        dual[owner == first, column] = machine.dual_coef_[second - 1, owner == first]
        dual[owner == second, column] = machine.dual_coef_[first, owner == second]
    return dual
