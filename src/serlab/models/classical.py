"""Classical models on fixed-length features: a calibrated support vector machine, and a linear probe.

Both standardise features with the statistics of their training clips, compute in float64 and keep their fitted state
as plain arrays (no pickle): scikit-learn fits them, numpy alone predicts. Logits are natural-log scores whose softmax
is the model's probability.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serlab.core import UserError
from serlab.evaluation.metrics import confusion, uar
from serlab.progress import bar

Floats = NDArray[np.floating[Any]]
Array = NDArray[np.float64]
Targets = NDArray[np.integer[Any]]

PENALTIES = tuple(2.0**power for power in (-2, 0, 2, 4))
"""C of the support vector machine to choose from."""

GAMMAS = tuple(2.0**power for power in (-12, -10, -8, -6))
"""Widths of the RBF kernel to choose from, for standardised features."""

_INNER_FOLDS = 3
_KERNEL_ROWS = 512
_KERNEL_CACHE_MB = 500


@dataclass(frozen=True, eq=False)
class _Fitted:
    """A fitted model whose fields are arrays, single numbers as arrays of shape ()."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The whole fitted state, by name."""
        return {field.name: np.array(getattr(self, field.name), order="C") for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Rebuild the model from :meth:`arrays`.

        Raises:
            UserError: an array is missing.
        """
        names = [field.name for field in fields(cls)]
        missing = [name for name in names if name not in arrays]
        if missing:
            raise UserError(f"the model's weights lack {', '.join(missing)}; train it again or copy the whole folder.")
        return cls(**{name: arrays[name] for name in names})


@dataclass(frozen=True, eq=False)
class SupportVectorClassifier(_Fitted):
    """Support vector machine with RBF kernel (one against one), calibrated by multinomial logistic regression.

    Attributes:
        mean: of the training features, shape (d,).
        scale: their standard deviation, 1 where it is 0, shape (d,).
        support: standardised support vectors, shape (s, d).
        dual: coefficient of each support vector in each pair of labels, shape (s, pairs).
        offset: of each pair, shape (pairs,).
        weight: from the pairs' decision values to logits, shape (pairs, K).
        bias: of the logits, shape (K,).
        penalty: C, as chosen.
        gamma: of the kernel exp(-gamma |x - y|^2), as chosen.
        inner_uar: UAR that chose them, over clips of held-out training speakers.
    """

    mean: Array
    scale: Array
    support: Array
    dual: Array
    offset: Array
    weight: Array
    bias: Array
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
        penalties: Sequence[float] = PENALTIES,
        gammas: Sequence[float] = GAMMAS,
        workers: int | None = None,
    ) -> Self:
        """Choose C and gamma on held-out training speakers, calibrate on the same, fit on all clips.

        Up to three inner folds, grouped by speaker and stratified by label; by label alone where fewer than two
        speakers are known. The machine weighs labels equally (``class_weight="balanced"``); the calibration does
        not, so that its softmax is a probability at the training side's label frequencies.

        Args:
            features: of the training clips, shape (n, d).
            targets: label indices, shape (n,).
            speakers: speaker of each clip, empty where unknown.
            n_labels: length K of the full label list.
            seed: deals speakers to the inner folds.
            penalties: values of C to choose from; of equal scores the first wins.
            gammas: values of gamma to choose from.
            workers: threads; all processors by default. The result does not depend on it.

        Returns:
            The fitted model.

        Raises:
            UserError: a label has fewer than two clips, an inner fold is left with one label, or a feature is not
                finite.
        """
        _check_training(features, targets, n_labels, at_least=2)
        mean, scale = _statistics(features)
        folds = _inner_folds(targets, speakers, n_labels, seed)
        grid = [(penalty, gamma) for penalty in penalties for gamma in gammas]

        def held_out(task: tuple[tuple[float, float], NDArray[np.bool_]]) -> tuple[Array, Targets]:
            (penalty, gamma), held = task
            own_mean, own_scale = _statistics(features[~held])
            machine = _fit_machine((features[~held] - own_mean) / own_scale, targets[~held], penalty, gamma)
            inputs = (features[held] - own_mean) / own_scale
            return _all_pairs(machine, inputs, n_labels), machine.predict(inputs)

        pairs = n_labels * (n_labels - 1) // 2
        decisions = np.zeros((len(grid), len(targets), pairs))
        predicted = np.zeros((len(grid), len(targets)), np.int64)
        tasks = [(point, held) for point in grid for held in folds]
        pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
        try:
            with bar("searching C and gamma", len(tasks)) as progress:
                for step, (values, labels) in enumerate(pool.map(held_out, tasks)):
                    point, held = step // len(folds), folds[step % len(folds)]
                    decisions[point, held], predicted[point, held] = values, labels
                    progress.advance()
        finally:
            pool.shutdown(cancel_futures=True)
        scores = np.array([uar(confusion(targets, labels, n_labels)) for labels in predicted])
        best = int(scores.argmax())
        ((weight, bias),) = _logistic_path(decisions[best], targets, n_labels, [1.0])
        penalty, gamma = grid[best]
        machine = _fit_machine((features - mean) / scale, targets, penalty, gamma)
        return cls(
            mean=mean,
            scale=scale,
            support=machine.support_vectors_,
            dual=_pair_coefficients(machine),
            offset=machine.intercept_,
            weight=weight,
            bias=bias,
            penalty=np.array(penalty),
            gamma=np.array(gamma),
            inner_uar=scores[best],
        )

    @property
    def chosen(self) -> dict[str, Any]:
        """C, gamma, and the inner UAR that chose them."""
        return {"C": float(self.penalty), "gamma": float(self.gamma), "inner_uar": float(self.inner_uar)}

    def decision_values(self, features: Floats) -> Array:
        """Decision values of all pairs of labels, (0, 1), (0, 2), ..., shape (n, pairs)."""
        _check_width(features, self.mean)
        inputs = (features - self.mean) / self.scale
        norms = np.square(self.support).sum(axis=1)
        values = np.empty((len(inputs), self.offset.size))
        for start in range(0, len(inputs), _KERNEL_ROWS):
            rows = inputs[start : start + _KERNEL_ROWS]
            distances = np.square(rows).sum(axis=1, keepdims=True) - 2 * rows @ self.support.T + norms
            values[start : start + _KERNEL_ROWS] = np.exp(-self.gamma * distances) @ self.dual + self.offset
        return values

    def logits(self, features: Floats) -> Array:
        """Logits of clips.

        Args:
            features: shape (n, d).

        Returns:
            Natural-log scores, shape (n, K); their softmax is the probability.

        Raises:
            UserError: the features have another width than those of training, or one is not finite.
        """
        return self.decision_values(features) @ self.weight + self.bias


@dataclass(frozen=True, eq=False)
class Probe(_Fitted):
    """Multinomial logistic regression on one layer of a frozen encoder's pooled features.

    Attributes:
        mean: of the layer's training features, shape (d,).
        scale: their standard deviation, 1 where it is 0, shape (d,).
        weight: shape (d, K).
        bias: shape (K,).
        layer: index of the layer, as chosen.
        penalty: C (inverse strength of the L2 penalty), as chosen.
        dev_uar: UAR on the fold's dev side that chose them.
    """

    mean: Array
    scale: Array
    weight: Array
    bias: Array
    layer: NDArray[np.int64]
    penalty: Array
    dev_uar: Array

    @classmethod
    def fit(
        cls,
        features: Floats,
        targets: Targets,
        dev_features: Floats,
        dev_targets: Targets,
        *,
        n_labels: int,
        penalties: Sequence[float],
    ) -> Self:
        """Fit on the training side for each layer and C; keep the one with the best UAR on dev.

        Nothing is fitted on dev.

        Args:
            features: of the training clips, shape (n, layers, d).
            targets: their label indices, shape (n,).
            dev_features: of the dev clips, shape (m, layers, d).
            dev_targets: their label indices, shape (m,).
            n_labels: length K of the full label list.
            penalties: values of C to choose from; of equal scores the lowest layer, then the first C wins.

        Returns:
            The fitted model.

        Raises:
            UserError: a label has no training clip, dev is empty, or a feature is not finite.
        """
        _check_training(features, targets, n_labels, at_least=1)
        _check_width(dev_features, features[0])
        if not len(dev_targets):
            raise UserError("the dev side has no clip to choose the probe's layer by; choose another protocol.")
        fits = []
        with bar("fitting probes", features.shape[1]) as progress:
            for layer in range(features.shape[1]):
                mean, scale = _statistics(features[:, layer])
                inputs = (features[:, layer] - mean) / scale
                dev_inputs = (dev_features[:, layer] - mean) / scale
                path = _logistic_path(inputs, targets, n_labels, penalties)
                for penalty, (weight, bias) in zip(penalties, path, strict=True):
                    predicted = (dev_inputs @ weight + bias).argmax(axis=1)
                    fit = cls(
                        mean=mean,
                        scale=scale,
                        weight=weight,
                        bias=bias,
                        layer=np.array(layer),
                        penalty=np.array(penalty),
                        dev_uar=uar(confusion(dev_targets, predicted, n_labels)),
                    )
                    fits.append(fit)
                progress.advance()
        return max(fits, key=lambda fit: float(fit.dev_uar))

    @property
    def chosen(self) -> dict[str, Any]:
        """Layer, C, and the dev UAR that chose them."""
        return {"layer": int(self.layer), "C": float(self.penalty), "dev_uar": float(self.dev_uar)}

    def logits(self, features: Floats) -> Array:
        """Logits of clips.

        Args:
            features: shape (n, layers, d), all layers as in training.

        Returns:
            Natural-log scores, shape (n, K); their softmax is the probability.

        Raises:
            UserError: the features have another width than those of training, or one is not finite.
        """
        layer = features[:, int(self.layer)]
        _check_width(layer, self.mean)
        scores: Array = (layer - self.mean) / self.scale @ self.weight + self.bias
        return scores


def _check_training(features: Floats, targets: Targets, n_labels: int, *, at_least: int) -> None:
    _check_finite(features)
    counts = np.bincount(targets, minlength=n_labels)
    rare = np.flatnonzero(counts < at_least)
    if rare.size:
        raise UserError(
            f"label number {rare[0] + 1} of {n_labels} has too few training clips ({counts[rare[0]]}, needed: "
            f"{at_least}); choose a protocol whose training side has every label."
        )


def _check_width(features: Floats, like: Floats) -> None:
    if features.shape[1:] != like.shape:
        raise UserError(
            f"the model takes features of shape {like.shape} a clip, got {features.shape[1:]}; use the front end "
            "that it was trained with."
        )
    _check_finite(features)


def _check_finite(features: Floats) -> None:
    bad = np.flatnonzero(~np.isfinite(features).all(axis=tuple(range(1, features.ndim))))
    if bad.size:
        raise UserError(f"a feature of clip number {bad[0] + 1} of {len(features)} is not finite; leave the clip out.")


def _statistics(features: Floats) -> tuple[Array, Array]:
    mean, scale = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    # A constant column's deviation is rounding noise, or 0.
    return mean, np.where(scale > 1e-9 * np.maximum(1.0, np.abs(mean)), scale, 1.0)


def _inner_folds(targets: Targets, speakers: Sequence[str], n_labels: int, seed: int) -> list[NDArray[np.bool_]]:
    """Masks of the clips that each inner fold holds out; together they hold out every clip once."""
    from sklearn.model_selection import StratifiedGroupKFold

    groups = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)[1]
    if groups.max() == 0:
        groups = np.arange(len(targets))
    number = min(_INNER_FOLDS, int(groups.max()) + 1, int(np.bincount(targets, minlength=n_labels).min()))
    splitter = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
    folds = []
    for kept, held in splitter.split(targets, targets, groups):
        if len(np.unique(targets[kept])) < 2:
            raise UserError("without some of its speakers the training side has one label only; use more speakers.")
        mask = np.zeros(len(targets), bool)
        mask[held] = True
        folds.append(mask)
    return folds


def _fit_machine(inputs: Array, targets: Targets, penalty: float, gamma: float) -> Any:
    from sklearn.svm import SVC

    options = {"class_weight": "balanced", "decision_function_shape": "ovo", "cache_size": _KERNEL_CACHE_MB}
    return SVC(C=penalty, gamma=gamma, **options).fit(inputs, targets)


def _all_pairs(machine: Any, inputs: Array, n_labels: int) -> Array:
    """Decision values of all pairs of the full label list; 0 where the machine has not seen one of the two."""
    column = {pair: index for index, pair in enumerate(combinations(range(n_labels), 2))}
    known = [column[pair] for pair in combinations(machine.classes_.tolist(), 2)]
    values = np.zeros((len(inputs), len(column)))
    values[:, known] = machine.decision_function(inputs).reshape(len(inputs), len(known))
    return values


def _pair_coefficients(machine: Any) -> Array:
    """Spread libsvm's compact coefficients to one column a pair of labels.

    A support vector of label i has K - 1 coefficients, one for each other label j: row j - 1 where j > i, else j.
    """
    n_labels = len(machine.classes_)
    owner = np.repeat(np.arange(n_labels), machine.n_support_)
    dual = np.zeros((len(owner), n_labels * (n_labels - 1) // 2))
    for column, (first, second) in enumerate(combinations(range(n_labels), 2)):
        dual[owner == first, column] = machine.dual_coef_[second - 1, owner == first]
        dual[owner == second, column] = machine.dual_coef_[first, owner == second]
    return dual


def _logistic_path(
    inputs: Floats, targets: Targets, n_labels: int, penalties: Sequence[float]
) -> list[tuple[Array, Array]]:
    """Weights (d, K) and biases (K,) of multinomial logistic regressions, each started from the one before."""
    from sklearn.linear_model import LogisticRegression

    # Ten times tighter than the default, which leaves probabilities that depend on the start by a hundredth.
    model = LogisticRegression(warm_start=True, max_iter=2000, tol=1e-5)
    path = []
    for penalty in penalties:
        model.set_params(C=penalty).fit(inputs, targets)
        weight, bias = model.coef_.T.astype(np.float64), model.intercept_.astype(np.float64)
        if n_labels == 2:
            weight, bias = weight * [-0.5, 0.5], bias * [-0.5, 0.5]
        path.append((weight, bias))
    return path
