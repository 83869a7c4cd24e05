"""The linear probe: multinomial logistic regression on a frozen encoder's pooled hidden states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from serlab.core import UserError
from serlab.core.progress import bar
from serlab.evaluation.metrics import confusion, uar


@dataclass(frozen=True, eq=False)
class Probe(FittedArrays):
    """Multinomial logistic regression on one layer of a frozen encoder's pooled features.

    Attributes:
        mean: of the layer's training features, shape (d,).
        scale: their standard deviation, 1 instead of 0, shape (d,).
        weight: shape (d, K).
        bias: shape (K,).
        layer: index of the layer, as chosen.
        penalty: C (inverse strength of the L2 penalty), as chosen.
        dev_uar: their UAR on the fold's dev subset; 0 if they were fixed beforehand.
    """

    AXES: ClassVar[Mapping[str, str]] = {
        "mean": "d", "scale": "d", "weight": "dK", "bias": "K", "layer": "", "penalty": "", "dev_uar": "",
    }  # fmt: skip

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
        """Fit on the train subset for each layer and C; keep the one with the best UAR on dev.

        Nothing is fitted on dev.

        Args:
            features: of the training clips, shape (n, layers, d).
            targets: their label indices, shape (n,); at least one clip of each label.
            dev_features: of the dev clips, shape (m, layers, d).
            dev_targets: their label indices, shape (m,).
            n_labels: length K of the full label list.
            penalties: values of C to choose from; ties go to the lowest layer, then to the first C.

        Returns:
            The fitted model.

        Raises:
            UserError: dev is empty, or a feature is not finite.
        """
        check_finite(features)
        check_width(dev_features, features[0])
        if not len(dev_targets):
            raise UserError(
                "the dev subset is empty, so no layer can be chosen for the probe; choose another protocol."
            )
        fits = []
        with bar("fitting probes", features.shape[1]) as progress:
            for layer in range(features.shape[1]):
                mean, scale = statistics(features[:, layer])
                inputs = (features[:, layer] - mean) / scale
                dev_inputs = (dev_features[:, layer] - mean) / scale
                path = logistic_path(inputs, targets, n_labels, penalties)
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
        """Layer, C, and their UAR on dev."""
        return {"layer": int(self.layer), "C": float(self.penalty), "dev_uar": float(self.dev_uar)}

    def logits(self, features: Floats) -> Array:
        """Logits of clips.

        Args:
            features: shape (n, layers, d), all layers as in training.

        Returns:
            Natural-log scores, shape (n, K); their softmax is the probability.

        Raises:
            UserError: the features have another width than in training, or one is not finite.
        """
        layer = features[:, int(self.layer)]
        check_width(layer, self.mean)
        scores: Array = (layer - self.mean) / self.scale @ self.weight + self.bias
        return scores
