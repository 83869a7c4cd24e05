"""Audio classification checkpoints of transformers, scored as its pipeline scores them.

The front end is the checkpoint's own feature extractor, called as ``transformers.pipeline`` calls
it; the network is the checkpoint's own model. Both receive a clip as in the pipeline, so
probabilities are equal up to rounding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING,
    ASTFeatureExtractor,
    SeamlessM4TFeatureExtractor,
    WhisperFeatureExtractor,
)

from serlab.approaches.encoder.families import install
from serlab.approaches.network import FittedNetwork, Network
from serlab.audio import SAMPLE_RATE
from serlab.checkpoints import building, preprocessor, stored
from serlab.core import UserError
from serlab.core.precision import resolve
from serlab.core.progress import say
from serlab.frontends.base import Features, Samples

_SPECTRAL_SAMPLES = 640
"""Two frames of a spectral extractor, the minimum for its normalisation."""


class Inputs:
    """Front end: a feature extractor of transformers, as its pipeline calls it.

    Args:
        extractor: the extractor.
        shortest: minimum number of samples that the model accepts.
        longest: samples of a clip that the model uses; the pipeline drops the rest.
    """

    def __init__(self, extractor: Any, *, shortest: int, longest: int | None) -> None:
        self.extractor, self.shortest, self.longest = extractor, shortest, longest
        self.name = str(extractor.model_input_names[0])
        self.warned = False

    @property
    def config(self) -> dict[str, Any]:
        """Everything that changes the output."""
        settings = {k: v for k, v in self.extractor.to_dict().items() if isinstance(v, (bool, int, float, str))}
        return {"frontend": "transformers", **settings}

    def __call__(self, samples: Samples) -> Features:
        """Compute the model's input for one clip; its shape depends on the model."""
        if len(samples) < self.shortest:
            raise UserError(f"shorter than the {self.shortest / SAMPLE_RATE:g} s that the model needs")
        if self.longest and len(samples) > self.longest and not self.warned:
            self.warned = True
            say(f"the model uses the first {self.longest / SAMPLE_RATE:g} s of a clip and ignores the rest.")
        batch = self.extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="np")
        values = batch[self.name][0]
        if isinstance(self.extractor, SeamlessM4TFeatureExtractor) and "attention_mask" in batch:
            # It pads its last double frame and masks it; without that frame, no mask is needed.
            values = values[: int(batch["attention_mask"][0].sum())]
        return np.ascontiguousarray(values, dtype=np.float32)


class PlainClassifier(Network):
    """An audio classifier of transformers, from the output of its feature extractor to logits (batch, labels).

    Args:
        hf: transformers' classification model, in fp32.
        frontend: its feature extractor.
    """

    needs_serlab = False
    # A waveform's convolutional features need a hundred times its memory.
    most_values = 640_000

    def __init__(self, hf: Any, frontend: Inputs) -> None:
        super().__init__()
        self.hf = hf
        self.frontend = frontend
        # data2vec-audio has a stack of positional convolutions, too.
        named = ((name, part) for name, part in hf.named_modules() if "pos_conv_embed" not in name)
        stacks = (part for name, part in named if name.rpartition(".")[2] in ("layer", "layers"))
        # A plain tuple: a module would appear twice in the state.
        self.layers = tuple(next(part for part in stacks if isinstance(part, nn.ModuleList)))
        install(hf)

    @property
    def reader(self) -> nn.Module:
        """The projection, or else the classifier."""
        found: nn.Module = getattr(self.hf, "projector", None) or self.hf.classifier
        return found

    def forward(self, features: Tensor) -> Tensor:
        """Score a batch of one shape."""
        logits: Tensor = self.hf(features).logits
        return logits


def load(folder: Path, precision: str) -> FittedNetwork:
    """Load a transformers checkpoint for audio classification.

    Args:
        folder: its folder.
        precision: ``auto``, ``fp32``, ``bf16`` or ``int8``.

    Raises:
        UserError: (inside :func:`serlab.checkpoints.weights.loading`) the folder is not such a
            classifier, is damaged, or needs something that serlab does not support.
    """
    config = building.read_config(folder, preprocessor.FAMILIES, "an audio classifier")
    labels = building.labels_of(folder, config)
    fields = preprocessor.read(folder, config)
    models = MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING
    hf = building.build(folder, config, models, stored.read(folder), fields={})
    extractor = preprocessor.extractor(config["model_type"], fields)
    frontend = Inputs(extractor, shortest=_shortest(hf.config), longest=_longest(extractor))
    return FittedNetwork(PlainClassifier(hf, frontend), labels, resolve(precision))


def _shortest(config: Any) -> int:
    """Samples for the minimum number of frames of a model, by the length formula of its convolutions."""
    if not hasattr(config, "conv_kernel"):
        return _SPECTRAL_SAMPLES
    length = int(getattr(config, "squeeze_factor", 1))
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        length = (length - 1) * stride + kernel
    return length


def _longest(extractor: Any) -> int | None:
    if isinstance(extractor, WhisperFeatureExtractor):
        return int(extractor.n_samples)
    # A frame is 25 ms long, and one begins every 10 ms.
    return 160 * (int(extractor.max_length) - 1) + 400 if isinstance(extractor, ASTFeatureExtractor) else None
