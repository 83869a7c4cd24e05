"""Speech encoders of transformers as classifiers that serlab trains: the wav2vec2 family, wav2vec2-BERT, Whisper.

The network is transformers' own classification model. If its convolutional encoder is frozen, that
part moves into the front end and the model receives finished convolutional features. Whisper runs
on the clip's own length (the first positions of its table) and pools over real frames, instead of
over 30 s of mostly silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING, AutoConfig, AutoModelForAudioClassification

from serlab.approaches import dropout
from serlab.approaches.encoder import Settings, Structure, attention, frozen, heads
from serlab.approaches.encoder.families import family_of
from serlab.approaches.network import Network, score
from serlab.audio import SAMPLE_RATE
from serlab.checkpoints import building, preprocessor, stored
from serlab.checkpoints.checks import check_scores, trial_sound
from serlab.checkpoints.weights import find, loading
from serlab.core import SerlabError, UserError, lacks_memory, setting, unknown
from serlab.core.files import write_json
from serlab.core.precision import Precision, device
from serlab.frontends.base import Features, FrontEnd
from serlab.frontends.encoders import FrozenLayers

TRAINED = tuple(sorted(preprocessor.FAMILIES.keys() - {"audio-spectrogram-transformer", "sew-d"}))
"""Kinds of encoders (``model_type``) that can be trained."""

_HEAD = ("projector.", "classifier.", "layer_weights", "head.")
_MATCHING = "matching."
_DEPTHS = {"num_hidden_layers", "encoder_layers"}
_LAYER = re.compile(r"(?:^|(?<!decoder)\.)layers\.\d+\.")


class SpeechEncoder(Network):
    """A speech encoder with a classification head: features (batch, time, ...) to logits (batch, labels).

    Args:
        hf: transformers' classification model, in fp32.
        preprocessor: the checkpoint's ``preprocessor_config.json`` as data.
        structure: what is frozen, and the head.
        precision: of the frozen part, which moves into the front end.
    """

    def __init__(self, hf: Any, preprocessor: dict[str, Any], structure: Structure, *, precision: Precision) -> None:
        super().__init__()
        self.hf = hf
        self.preprocessor = preprocessor
        self.family = family_of(hf)
        self.longest = self.family.longest
        # A plain tuple: a module would appear twice in the state.
        self.layers = tuple(self.family.layers)
        self.head = None
        if structure.head.kind == "pooled":
            for name in ("projector", "classifier"):
                delattr(hf, name)
            head = heads.get(structure.head.pooling)
            self.head = head(structure.head, hf.config.hidden_size, len(self.layers) + 1, hf.config.num_labels)
        self.needs_serlab = self.head is not None or self.family.own_pass
        self._check_masks()
        self._freeze(structure)
        self.below = 0
        self.frontend = self._front(structure, precision)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        names = self.hf.config.id2label
        return tuple(names[index] for index in sorted(names))

    @property
    def reader(self) -> nn.Module:
        """Transformers' projection, whose input is the hidden states; of a pooled head, its classifier."""
        return self.hf.get_submodule("projector") if self.head is None else self.head.classifier

    @property
    def base(self) -> Any:
        """The encoder below the head."""
        return self.family.base

    def forward(self, features: Tensor) -> Tensor:
        """Score a batch of stacked features, all of one length."""
        with self._masks_that_fit(features):
            if self.head is None:
                return self.family.logits(features, self.below)
            pooled: Tensor = self.head(self.hidden_states(features))
            return pooled

    def hidden_states(self, features: Tensor) -> tuple[Tensor, ...]:
        """Input of the first transformer layer and output of each, lowest first; each (batch, frames, dim)."""
        return self.family.states(features, self.below)

    @contextmanager
    def _masks_that_fit(self, features: Tensor) -> Iterator[None]:
        """Do not mask a batch that is shorter than transformers' time mask, which would raise an error."""
        config, kept = self.hf.config, getattr(self.hf.config, "apply_spec_augment", False)
        frames = self.family.masked_frames(features) if self.training and kept else None
        if frames is not None:
            config.apply_spec_augment = frames > config.mask_time_length
        try:
            yield
        finally:
            if kept:
                config.apply_spec_augment = kept

    @property
    def last(self) -> nn.Linear:
        """The layer whose output is the logits; projections to a teacher's states are added after it for training."""
        named = self.named_modules()
        return [each for name, each in named if isinstance(each, nn.Linear) and not name.startswith(_MATCHING)][-1]

    def segments(self, features: Features) -> list[Features]:
        """Split a clip's features into pieces that fit the encoder."""
        return self.family.segments(features, self.below)

    def depth_of(self, name: str) -> int | None:
        """Number of layers below the top one; None for the head.

        What is in no layer is below all of them: also the final norm, although it is above. Published
        recipes were trained so.
        """
        short = name.removeprefix("hf.")
        if short.startswith((*_HEAD, _MATCHING)):
            return None
        # data2vec's positional convolutions have layers, too.
        layer = re.search(r"\.encoder\.layers\.(\d+)\.", name)
        return len(self.layers) - 1 - int(layer.group(1)) if layer else len(self.layers)

    def train(self, mode: bool = True) -> SpeechEncoder:
        """Switch the mode; frozen parts stay in evaluation mode, because a front end may be using them."""
        for module in self.modules():
            if module not in self.resting:
                module.training = mode
        return self

    def save_weights(self, folder: Path) -> None:
        """Write a transformers folder; a pooled head's tensors are in the same file."""
        state = self.hf.state_dict()
        if self.head is not None:
            state |= {f"head.{name}": tensor for name, tensor in self.head.state_dict().items()}
        self.hf.save_pretrained(folder, state_dict=state)
        write_json(folder / "preprocessor_config.json", self.preprocessor)

    def _check_masks(self) -> None:
        """Refuse masks over features that are wider than the features; they would fail in training."""
        config = self.hf.config
        length = getattr(config, "mask_feature_length", 0)
        if getattr(config, "mask_feature_prob", 0) > 0 and not 1 <= length <= config.hidden_size:
            raise UserError(
                f"model.config.mask_feature_length is {length}; it must be from 1 to {config.hidden_size}, the "
                "width of the encoder."
            )

    def _freeze(self, structure: Structure) -> None:
        count = structure.freeze_layers
        if count > len(self.layers):
            raise UserError(f"model.freeze_layers is {count}; the encoder has {len(self.layers)}.")
        if count and not self.family.can_freeze_layers:
            raise UserError(f"model.freeze_layers does not work with {self.hf.config.model_type}; leave it at 0.")
        names = {*(self.family.convolutions if structure.freeze_conv else ())}
        if count:
            # Everything below a frozen layer is frozen too.
            names |= {*self.family.below_layers()}
        modules = [module for name, module in self.base.named_modules() if name in names]
        self.frozen = (*modules, *self.layers[:count])
        self.resting = {part for module in self.frozen for part in module.modules()}
        for module in self.frozen:
            module.requires_grad_(False)
            module.eval()

    def _front(self, structure: Structure, precision: Precision) -> FrontEnd:
        """The front end: everything below the lowest trained layer, if the head needs no state below it."""
        weighted = structure.head.layers == "weighted"
        # transformers' own weighted head reads the states inside its forward pass.
        own_head = self.head is not None or self.family.own_pass
        if structure.freeze_layers and (own_head or not weighted):
            self.below = structure.freeze_layers
            return FrozenLayers(
                self.family.frontend(self.preprocessor),
                self.family.cut(self.below),
                fingerprint=frozen.fingerprint(self.frozen, self.hf.config),
                layers=self.below,
                all_states=weighted,
                precision=precision,
                way=self.family.way(precision),
            )
        if structure.freeze_conv or structure.freeze_layers:
            return self.family.convolutional(self.preprocessor, precision)
        return self.family.frontend(self.preprocessor)


def from_recipe(settings: Settings, labels: tuple[str, ...], precision: Precision, *, recipe: str) -> SpeechEncoder:
    """Build the encoder of a recipe and run it on a second of silence, so that errors occur before training.

    Args:
        settings: the recipe's model.
        labels: names of the classes.
        precision: as for :class:`SpeechEncoder`.
        recipe: its name, for errors.

    Raises:
        UserError, MachineError: as for :func:`from_scratch` and :func:`from_checkpoint`; or the
            recipe's configuration does not make a working network.
    """
    try:
        if settings.checkpoint:
            network = from_checkpoint(settings, labels, precision)
        else:
            network = from_scratch(settings, labels)
        score(network, [network.frontend(np.zeros(SAMPLE_RATE, np.float32))], "fp32")
    except SerlabError:
        raise
    except Exception as error:
        # transformers raises errors of every kind for fields that do not fit together.
        if not settings.config or lacks_memory(error):
            raise
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200].rstrip(".")
        fields = ", ".join(map(str, settings.config))
        raise UserError(f"recipe {recipe}: model.config ({fields}) gives no network that works: {why}.") from error
    if settings.head.layers == "weighted" and not network.family.own_pass and network.hf.config.layerdrop:
        raise UserError(
            f"recipe {recipe}: {setting('model.head.layers', 'weighted')} needs "
            f"{setting('model.config.layerdrop', '0.0')}, because a dropped layer has no output to weight."
        )
    if settings.fast_dropout:
        dropout.install(network.hf)
        attention.install(network.hf, fast_dropout=True)
    return network


def from_scratch(settings: Settings, labels: tuple[str, ...]) -> SpeechEncoder:
    """Build a randomly initialised encoder of ``settings.architecture``."""
    config = config_of(settings, _head_fields(settings, labels))
    with _building(settings.architecture):
        builder: Any = AutoModelForAudioClassification
        hf = builder.from_config(config, trust_remote_code=False)
    return SpeechEncoder(hf, preprocessor.standard(settings.architecture), settings.structure, precision="fp32")


def config_of(settings: Settings, fields: Mapping[str, Any]) -> Any:
    """The configuration of an encoder from scratch.

    Args:
        settings: the recipe's model, with ``architecture``.
        fields: of the head.

    Raises:
        UserError: transformers has no such encoder, or does not accept the fields.
    """
    kind = settings.architecture
    if kind not in TRAINED:
        raise UserError(f"serlab cannot build a {kind!r} encoder; model.architecture is one of {', '.join(TRAINED)}.")
    with _building(kind):
        _check_config(kind, settings)
        return AutoConfig.for_model(kind, **fields, **settings.config)


@contextmanager
def _building(kind: str) -> Iterator[None]:
    """Turn transformers' errors about a configuration into one sentence."""
    try:
        yield
    except (ValueError, TypeError, AttributeError, StrictDataclassError) as error:
        short = " ".join(str(error).split())[:200].rstrip(".")
        raise UserError(f"transformers cannot build a {kind!r} encoder: {short}.") from error


def from_checkpoint(settings: Settings, labels: tuple[str, ...], precision: Precision) -> SpeechEncoder:
    """Build a pretrained encoder with a fresh head.

    Raises:
        UserError: serlab cannot train such a checkpoint, or it lacks weights of the encoder.
        MachineError: the checkpoint is not on this machine, and the hub cannot be reached.
    """
    folder = find(settings.checkpoint)
    with loading(folder):
        config = building.read_config(folder, TRAINED, "a speech encoder")
        _check_config(config["model_type"], settings)
        fields = preprocessor.read(folder, config, default=True)
        # Pretraining heads, and layers that a recipe leaves out, are not loaded.
        hf = building.build(
            folder,
            config,
            MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING,
            stored.read(folder),
            fields={**_head_fields(settings, labels), "problem_type": None, **settings.config},
            fresh=_HEAD,
            spare=lambda name: bool(_DEPTHS & settings.config.keys()) or not _LAYER.search(name),
        )
        network = SpeechEncoder(hf, fields, settings.structure, precision=precision).to(device())
        check_scores(folder, score(network, [network.frontend(trial_sound())], precision), len(labels))
    return network


def from_folder(folder: Path, structure: Structure, precision: Precision) -> SpeechEncoder:
    """Load an encoder that serlab trained.

    Args:
        folder: the model folder.
        structure: what is frozen, and the head.
        precision: as for :class:`SpeechEncoder`.

    Raises:
        UserError: (inside :func:`serlab.checkpoints.weights.loading`) the folder is damaged.
    """
    config = building.read_config(folder, TRAINED, "a speech encoder")
    state = stored.read(folder)
    own = {name.removeprefix("head."): state.pop(name) for name in list(state) if name.startswith("head.")}
    pooled = structure.head.kind == "pooled"
    hf = building.build(
        folder,
        config,
        MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING,
        state,
        fields={},
        fresh=_HEAD if pooled else (),
    )
    network = SpeechEncoder(hf, preprocessor.read(folder, config), structure, precision=precision)
    wanted = {} if network.head is None else network.head.state_dict()
    stored.check_like(folder, own, wanted, prefix="head.")
    stored.check_finite(folder, own)
    if network.head is not None:
        network.head.load_state_dict(own)
    return network


def _head_fields(settings: Settings, labels: tuple[str, ...]) -> dict[str, Any]:
    return {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
        "classifier_proj_size": settings.head.projection,
        "use_weighted_layer_sum": settings.head.kind == "transformers" and settings.head.layers == "weighted",
    }


def _check_config(kind: str, settings: Settings) -> None:
    """Refuse fields that transformers would accept and ignore."""
    known = AutoConfig.for_model(kind).to_dict()
    for name in settings.config:
        if name not in known:
            raise unknown("field of model.config", name, known)
