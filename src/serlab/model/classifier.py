"""A trained model as everything else sees it: a front end, and features of clips to logits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from serlab.approaches.encoder import SpeechEncoder
from serlab.approaches.heads import statistics
from serlab.approaches.network import Network, check_scores, score, trial_sound
from serlab.approaches.probe import Probe
from serlab.approaches.svm import SupportVectors
from serlab.core.precision import Precision, autocast, device
from serlab.frontends.base import Features, FrontEnd, Samples


class Classifier(Protocol):
    """Scores clips.

    Attributes:
        labels: names of the classes, in the order of the logits.
        frontend: computes what :meth:`logits` takes.
        parameters: numbers in the model, and how many of them were trained.
        needs_serlab: whether plain transformers cannot use the saved folder.
    """

    labels: tuple[str, ...]
    parameters: tuple[int, int]
    needs_serlab: bool

    @property
    def precision(self) -> str:
        """Precision of the matrix products."""

    @property
    def frontend(self) -> FrontEnd:
        """The front end."""

    def logits(self, features: Sequence[Features]) -> NDArray[np.float32]:
        """Natural-log scores, shape (clips, labels)."""

    def save(self, folder: Path) -> None:
        """Write weights and configuration into ``folder``."""


def try_out(classifier: Classifier, folder: Path) -> None:
    """Score a second of sound, so that parts that do not fit one another are found before the first clip.

    Args:
        classifier: as loaded.
        folder: where it comes from, for errors.

    Raises:
        UserError: (inside :func:`serlab.approaches.weights.loading`) the model cannot score, or gives no finite score
            for each of its labels.
    """
    with np.errstate(all="ignore"):
        check_scores(folder, classifier.logits([classifier.frontend(trial_sound())]), len(classifier.labels))


class NetworkClassifier:
    """A network and its labels."""

    def __init__(self, network: Network, labels: tuple[str, ...], precision: Precision) -> None:
        self.network, self.labels = network, labels
        self.precision: Precision = precision
        self.needs_serlab = network.needs_serlab
        counts = [(p.numel(), p.requires_grad) for p in network.parameters()]
        self.parameters = sum(n for n, _ in counts), sum(n for n, trained in counts if trained)

    @property
    def frontend(self) -> FrontEnd:
        """The network's front end."""
        return self.network.frontend

    def logits(self, features: Sequence[Features]) -> NDArray[np.float32]:
        """Score clips in batches of one length."""
        return score(self.network, features, self.precision)

    def save(self, folder: Path) -> None:
        """Write a transformers folder (or serlab's, where the network is not transformers' own)."""
        self.network.save_weights(folder)


class PooledStates:
    """Front end of a probe: mean and deviation over time of each hidden state of a frozen encoder.

    Args:
        encoder: the encoder; its head is not used.
        weights_sha256: identity of its weights.
        precision: of the matrix products.
    """

    def __init__(self, encoder: SpeechEncoder, *, weights_sha256: str, precision: Precision) -> None:
        self.encoder = encoder.to(device()).eval()
        self.weights_sha256 = weights_sha256
        self.precision: Precision = precision

    @property
    def config(self) -> dict[str, Any]:
        """Everything that changes the output."""
        return {"frontend": "pooled-states", "weights": self.weights_sha256, "precision": self.precision}

    def __call__(self, samples: Samples) -> Features:
        """Pool one clip: (layers + 1, 2 dim)."""
        pieces = self.encoder.segments(self.encoder.frontend(samples))
        pooled = []
        with torch.inference_mode(), autocast(self.precision):
            for piece in pieces:
                states = self.encoder.hidden_states(torch.from_numpy(piece)[None].to(device()))
                pooled.append(torch.cat([statistics(layer) for layer in states]))
        features: Features = torch.stack(pooled).mean(dim=0).cpu().numpy()
        return features


class ProbeClassifier:
    """Logistic regression on a frozen encoder."""

    needs_serlab = True

    def __init__(self, probe: Probe, frontend: PooledStates, labels: tuple[str, ...]) -> None:
        self.probe, self.frontend, self.labels = probe, frontend, labels
        self.precision = frontend.precision
        trained = probe.weight.size + probe.bias.size
        self.parameters = trained + sum(p.numel() for p in frontend.encoder.base.parameters()), trained

    def logits(self, features: Sequence[Features]) -> NDArray[np.float32]:
        """Score pooled features."""
        return self.probe.logits(np.stack(features)).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write the probe's arrays, and the encoder it reads in a folder of its own."""
        save_file(self.probe.arrays(), folder / "model.safetensors")
        self.frontend.encoder.save_weights(folder / "encoder")


class SvmClassifier:
    """Support vector machine on functionals."""

    needs_serlab = True
    precision = "fp64"

    def __init__(self, machine: SupportVectors, frontend: FrontEnd, labels: tuple[str, ...]) -> None:
        self.machine, self.frontend, self.labels = machine, frontend, labels
        count = sum(array.size for array in machine.arrays().values())
        self.parameters = count, count

    def logits(self, features: Sequence[Features]) -> NDArray[np.float32]:
        """Score functionals."""
        return self.machine.logits(np.stack(features)).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write the machine's arrays."""
        save_file(self.machine.arrays(), folder / "model.safetensors")
