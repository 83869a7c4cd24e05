"""Linear probes: logistic regression on pooled hidden states of a frozen speech encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from serlab.approaches.base import Approach, FitContext, Pretrained, Saved, Scored, Subset, Supports
from serlab.approaches.history import History
from serlab.core import UserError, argument

if TYPE_CHECKING:
    from serlab.approaches.probe.regression import Probe
    from serlab.approaches.probe.states import PooledStates
    from serlab.frontends.base import Features


@dataclass(frozen=True)
class Settings:
    """Logistic regression on pooled hidden states of a frozen encoder; layer and C are chosen on the dev subset.

    Attributes:
        checkpoint: hub name or local folder of the encoder.
        C: inverse regularisation strengths to choose from.
    """

    kind: Literal["probe"] = "probe"
    checkpoint: str = ""
    C: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03)

    def __post_init__(self) -> None:
        """Refuse a probe without a checkpoint or without values of C."""
        if not self.checkpoint:
            raise UserError("a probe needs model.checkpoint, the encoder whose features it reads.")
        if not self.C or min(self.C) <= 0:
            raise UserError(f"model.C is {list(self.C)}; it must list numbers above 0.")


class FittedProbe:
    """Logistic regression on a frozen encoder."""

    needs_serlab = True

    def __init__(
        self, probe: Probe, frontend: PooledStates, labels: tuple[str, ...], history: History | None = None
    ) -> None:
        self.probe, self.frontend, self.labels, self.history = probe, frontend, labels, history
        self.precision = frontend.precision
        trained = probe.weight.size + probe.bias.size
        self.parameters = trained + sum(p.numel() for p in frontend.encoder.base.parameters()), trained

    def logits(self, features: Sequence[Features]) -> NDArray[np.float32]:
        """Score pooled features."""
        return self.scored(features).logits

    def scored(self, features: Sequence[Features]) -> Scored:
        """Score pooled features; the embeddings are those of the chosen layer."""
        stacked = np.stack(features)
        return Scored(self.probe.logits(stacked).astype(np.float32), stacked[:, int(self.probe.layer)])

    def save(self, folder: Path) -> None:
        """Write the probe's arrays, and its encoder into a subfolder."""
        from serlab.checkpoints.weights import quiet

        self.probe.save(folder)
        with quiet():
            self.frontend.encoder.save_weights(folder / "encoder")


class LinearProbe(Pretrained):
    """The approach."""

    settings = Settings
    titles = ("a probe", "probes")
    # The precision is that of the encoder.
    supports = Supports(dev=True, used=frozenset({"training.precision"}))

    def fit(self, settings: Settings, train: Subset, dev: Subset | None, context: FitContext) -> FittedProbe:
        """Fit a probe for each layer and C, and keep the best on dev; without dev, fit the fixed one."""
        from serlab.approaches import encoder
        from serlab.approaches.encoder.network import from_checkpoint
        from serlab.approaches.probe.regression import Probe
        from serlab.approaches.probe.states import PooledStates
        from serlab.core.precision import resolve

        train.check_labels(context.labels, at_least=1)
        chosen = _chosen(context) if dev is None else None
        precision = resolve(context.precision)
        frozen = from_checkpoint(encoder.Settings(checkpoint=settings.checkpoint), context.labels, precision)
        weights = self.identity(settings).weights_sha256 or ""
        frontend = PooledStates(frozen, weights_sha256=weights, precision=precision)
        store = context.stores.of(frontend)
        inputs = np.stack(store.many(train.files, f"{context.title}: features"))
        n_labels = len(context.labels)
        if chosen is not None:
            layer, penalty = chosen
            inputs = inputs[:, layer : layer + 1]
            probe = Probe.fit(inputs, train.targets, inputs, train.targets, n_labels=n_labels, penalties=[penalty])
            probe = replace(probe, layer=np.asarray(layer), dev_uar=np.asarray(0.0))
            history = History("fixed", chosen={"layer": layer, "C": penalty})
            return FittedProbe(probe, frontend, context.labels, history)
        assert dev is not None
        dev_inputs = np.stack(store.many(dev.files, f"{context.title}: dev features"))
        probe = Probe.fit(inputs, train.targets, dev_inputs, dev.targets, n_labels=n_labels, penalties=settings.C)
        return FittedProbe(probe, frontend, context.labels, History("search", chosen=probe.chosen))

    def load(self, settings: Settings, saved: Saved) -> FittedProbe:
        """Load the probe's arrays and its encoder."""
        from serlab.approaches.encoder import Structure
        from serlab.approaches.encoder.network import from_folder
        from serlab.approaches.probe.regression import Probe
        from serlab.approaches.probe.states import PooledStates
        from serlab.core.precision import resolve

        precision = resolve(saved.precision)
        probe = Probe.load(saved.folder, len(saved.labels))
        frozen = from_folder(saved.folder / "encoder", Structure(), precision)
        frontend = PooledStates(frozen, weights_sha256=saved.weights_sha256, precision=precision)
        return FittedProbe(probe, frontend, saved.labels)


def _chosen(context: FitContext) -> tuple[int, float]:
    """Layer and C that were chosen on the dev subsets of other runs."""
    if context.fixed.layer is None or context.fixed.penalty is None:
        raise UserError(
            f"{context.recipe} chooses its layer and C on a dev subset, and there is none; name a comparison that has "
            f"chosen them with {argument('quote')}."
        )
    return context.fixed.layer, context.fixed.penalty


APPROACH: Approach[Settings] = LinearProbe()
