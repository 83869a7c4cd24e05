"""Settings of pretraining: an encoder from scratch first learns to predict the hidden states of a larger one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serlab.approaches.base import Identity
from serlab.core import UserError
from serlab.core.files import sha256_json
from serlab.core.settings import check_at_least, check_at_most, check_positive, check_share

_LONGEST_S = 30.0
_SPEEDS = (0.5, 2.0)


@dataclass(frozen=True)
class Pretraining:
    """How an encoder is pretrained on speech without labels (DistilHuBERT, Chang et al. 2022).

    Attributes:
        checkpoint: the larger encoder: hub name or local folder.
        layers: the hidden states to predict; 0 is the input of its first layer.
        epochs: passes over the speech.
        batch_size: clips per batch.
        learning_rate: highest learning rate; above 6e-4, small encoders may diverge in bf16.
        weight_decay: on weight matrices; norms and biases have none.
        warmup: share of all steps with a rising learning rate; it then falls as a cosine.
        max_seconds: longer recordings are cut into parts of at most this length.
        speeds: playing speeds; one is drawn for each clip and epoch, and both encoders hear it.
        noise: largest standard deviation of white noise, relative to the clip's own; it is drawn
            for each clip and step, and only the encoder that learns hears it.
        unlabelled: known corpora by name, or folders of speech, to hear besides the training clips.
        seed: of initial weights, order, speeds and noise; runs with other seeds share the encoder.
    """

    checkpoint: str = "openai/whisper-base"
    layers: tuple[int, ...] = (4,)
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 6e-4
    weight_decay: float = 0.01
    warmup: float = 0.1
    max_seconds: float = 8.0
    speeds: tuple[float, ...] = (1.0,)
    noise: float = 0.0
    unlabelled: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that cannot train."""
        section = "training.pretraining"
        check_at_least(section, self, 1, "epochs", "batch_size", "max_seconds")
        check_at_least(section, self, 0, "weight_decay", "noise", "seed")
        check_at_most(section, self, _LONGEST_S, "max_seconds")
        check_at_most(section, self, 10, "noise")
        check_positive(section, self, "learning_rate")
        check_share(section, self, "warmup")
        if not self.checkpoint:
            raise UserError(f"{section}.checkpoint is empty; name a larger encoder, e.g. openai/whisper-base.")
        _check_list(section, "layers", self.layers, 0, 1000)
        _check_list(section, "speeds", self.speeds, *_SPEEDS)
        _check_list(section, "unlabelled", self.unlabelled)


def _check_list(section: str, name: str, values: Sequence[Any], low: float = 0, high: float = 0) -> None:
    if not values and name != "unlabelled":
        raise UserError(f"{section}.{name} is empty; give at least one.")
    if len(set(values)) < len(values):
        raise UserError(f"{section}.{name} names one value twice; keep one.")
    for value in values:
        if not isinstance(value, str) and not low <= value <= high:
            raise UserError(f"{section}.{name} has the value {value}; it must lie between {low:g} and {high:g}.")


def identity(settings: Pretraining) -> dict[str, str]:
    """The identity of pretraining beside its settings: SHA-256 of the larger encoder, and of the unlabelled speech.

    Raises:
        UserError, MachineError: weights or speech cannot be found.
    """
    from serlab.corpora.unlabelled import find_speech

    found = {"encoder": str(Identity.of(settings.checkpoint).weights_sha256)}
    hashes = sorted({sha256 for name in settings.unlabelled for sha256 in find_speech(name).clips["sha256"]})
    return found | ({"speech": sha256_json(hashes)} if hashes else {})


def without_names(settings: dict[str, Any]) -> dict[str, Any]:
    """Plain settings without names and paths, for which :func:`identity` stands in."""
    return settings | {"checkpoint": "", "unlabelled": []}
