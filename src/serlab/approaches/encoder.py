"""Speech encoders of transformers as classifiers that serlab trains: the wav2vec2 family, wav2vec2-BERT, Whisper.

The network is transformers' own classification model. Where its convolutional encoder is frozen, that part moves
into the front end and the model receives finished convolutional features. Whisper runs on the clip's own length
(the first positions of its table) and pools over real frames, instead of over 30 s of mostly silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING, AutoConfig, AutoModelForAudioClassification
from transformers.modeling_outputs import BaseModelOutput

from serlab.approaches import checkpoint, dropout, frozen, preprocessor, stored, whisper
from serlab.approaches.heads import PooledHead
from serlab.approaches.network import Network, check_scores, score, trial_sound
from serlab.approaches.weights import find, loading
from serlab.core import UserError, unknown
from serlab.core.files import write_json
from serlab.core.precision import Precision, device
from serlab.frontends.encoders import Convolutional, Extractor, FrozenLayers, Waveform
from serlab.recipes import EncoderModel as Settings
from serlab.recipes import HeadSettings

TRAINED = tuple(sorted(preprocessor.FAMILIES.keys() - {"audio-spectrogram-transformer", "sew-d"}))
"""Kinds of encoders (``model_type``) that can be trained."""

_SPECTRAL = ("whisper", "wav2vec2-bert")
_NOT_CUT = ("sew", "wav2vec2-conformer")
_HEAD = ("projector.", "classifier.", "layer_weights", "head.")
_DEPTHS = {"num_hidden_layers", "encoder_layers"}
_LAYER = re.compile(r"(?:^|(?<!decoder)\.)layers\.\d+\.")


class SpeechEncoder(Network):
    """A speech encoder with a classification head: features (batch, time, ...) to logits (batch, labels).

    Args:
        hf: transformers' classification model, in fp32.
        preprocessor: the checkpoint's ``preprocessor_config.json`` as data.
        settings: what is frozen, and the head.
        precision: of what is frozen and moves into the front end.
    """

    def __init__(self, hf: Any, preprocessor: dict[str, Any], settings: Settings, *, precision: Precision) -> None:
        super().__init__()
        self.hf = hf
        self.preprocessor = preprocessor
        self.kind = str(hf.config.model_type)
        if self.kind == "whisper":
            self.longest = hf.config.max_source_positions * whisper.SECONDS
        dropout.install(hf)
        self.head: PooledHead | None = None
        if settings.head.kind == "pooled":
            self.head = _replace_head(hf, settings.head)
        self.needs_serlab = self.head is not None or self.kind == "whisper"
        # A plain tuple: as a module of its own it would stand twice in the state.
        self.layers = tuple(self._transformer_layers())
        self._check_masks()
        self._freeze(settings)
        self.below = 0
        self.all_states = settings.head.layers == "weighted"
        self.frontend = self._front(settings, precision)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        names = self.hf.config.id2label
        return tuple(names[index] for index in sorted(names))

    @property
    def base(self) -> Any:
        """The encoder below the head."""
        return self.hf.encoder if self.kind == "whisper" else getattr(self.hf, self.hf.base_model_prefix)

    def forward(self, features: Tensor) -> Tensor:
        """Score a batch of one length: what the front end gives, stacked."""
        with self._masks_that_fit(features):
            return self._logits(features)

    def _logits(self, features: Tensor) -> Tensor:
        if self.head is not None:
            pooled: Tensor = self.head(self.hidden_states(features))
            return pooled
        if self.kind == "whisper":
            states = self.hidden_states(features)
            out = self.hf(encoder_outputs=BaseModelOutput(last_hidden_state=states[-1], hidden_states=states))
        else:
            out = self.hf(features)
        logits: Tensor = out.logits
        return logits

    def hidden_states(self, features: Tensor) -> tuple[Tensor, ...]:
        """Input of the first transformer layer and output of each, lowest first; each (batch, frames, dim)."""
        dim = self.hf.config.hidden_size
        below = list(torch.split(features, dim, dim=-1)) if self.below else []
        if self.kind == "whisper":
            below = below or whisper.states_below(self.base, 0, features)
            return whisper.states_above(self.base, below, self.below)
        states: tuple[Tensor, ...] = self.base(
            below[-1] if below else features, output_hidden_states=True
        ).hidden_states
        # The frozen layers let the highest state pass, and so stand in the list as copies of it.
        return (*below[:-1], *states[len(below) - 1 :]) if self.all_states and below else states

    @contextmanager
    def _masks_that_fit(self, features: Tensor) -> Iterator[None]:
        """Leave a batch unmasked that is shorter than transformers' time mask, which would be refused."""
        config, kept = self.hf.config, getattr(self.hf.config, "apply_spec_augment", False)
        if self.training and kept and self.kind not in _SPECTRAL:
            lengths = self.base._get_feat_extract_output_lengths
            frames = features.shape[1] if features.dim() == 3 else int(lengths(features.shape[1]))
            config.apply_spec_augment = frames > config.mask_time_length
        try:
            yield
        finally:
            if kept:
                config.apply_spec_augment = kept

    def segments(self, features: Any) -> list[Any]:
        """Whisper knows 30 s of positions: longer clips are split into like parts."""
        if self.kind != "whisper":
            return [features]
        stride = 1 if self.below else 2
        cuts = whisper.parts(-(-len(features) // stride), self.hf.config.max_source_positions)
        return [features[stride * low : stride * high] for low, high in cuts]

    def depth_of(self, name: str) -> int | None:
        """Layers below the top one, None for the head."""
        short = name.removeprefix("hf.")
        if short.startswith(_HEAD):
            return None
        layer = re.search(r"\.layers\.(\d+)\.", name)
        return len(self.layers) - 1 - int(layer.group(1)) if layer else len(self.layers)

    def train(self, mode: bool = True) -> SpeechEncoder:
        """Switch to training; what is frozen is never touched, since a front end may be computing with it."""
        for module in self.modules():
            if module not in self.resting:
                module.training = mode
        return self

    def save_weights(self, folder: Path) -> None:
        """Write a transformers folder; a pooled head's tensors lie in the same file."""
        state = self.hf.state_dict()
        if self.head is not None:
            state |= {f"head.{name}": tensor for name, tensor in self.head.state_dict().items()}
        self.hf.save_pretrained(folder, state_dict=state)
        write_json(folder / "preprocessor_config.json", self.preprocessor)

    def _transformer_layers(self) -> nn.ModuleList:
        layers = self.base.layers if self.kind == "whisper" else self.base.encoder.layers
        assert isinstance(layers, nn.ModuleList)
        return layers

    def _check_masks(self) -> None:
        """Refuse masks over features that are wider than the features: training would end with them."""
        config = self.hf.config
        length = getattr(config, "mask_feature_length", 0)
        if getattr(config, "mask_feature_prob", 0) > 0 and not 1 <= length <= config.hidden_size:
            raise UserError(
                f"model.config.mask_feature_length is {length}; it must be from 1 to {config.hidden_size}, the "
                "width of the encoder."
            )

    def _freeze(self, settings: Settings) -> None:
        if settings.freeze_layers > len(self.layers):
            raise UserError(f"model.freeze_layers is {settings.freeze_layers}; the encoder has {len(self.layers)}.")
        if settings.freeze_layers and self.kind in _NOT_CUT:
            raise UserError(f"model.freeze_layers is not for {self.kind}; leave it at 0.")
        names = {"conv1", "feature_extractor"} if settings.freeze_conv else set()
        if settings.freeze_layers:
            # Frozen layers above trained ones would make no sense: everything below goes with them.
            names |= {"conv1", "conv2", "feature_extractor", "feature_projection", "embed_positions"}
            names |= {"encoder.pos_conv_embed", "encoder.dropout", "encoder.embed_positions"}
            if self.kind not in _SPECTRAL and frozen.norm_comes_first(self.base):
                names.add("encoder.layer_norm")
        modules = [module for name, module in self.base.named_modules() if name in names]
        self.frozen = (*modules, *self.layers[: settings.freeze_layers])
        self.resting = {part for module in self.frozen for part in module.modules()}
        for module in self.frozen:
            module.requires_grad_(False)
            module.eval()

    def _front(self, settings: Settings, precision: Precision) -> Any:
        """The front end: everything below the lowest trained layer, where the head needs no state below it."""
        spectral = self.kind in _SPECTRAL
        if spectral:
            before: Any = Extractor(preprocessor.extractor(self.kind, self.preprocessor))
        else:
            before = Waveform(do_normalise=bool(self.preprocessor.get("do_normalize", True)))
        # transformers' own weighted head reads the states inside its forward pass.
        own_head = self.head is not None or self.kind == "whisper"
        if settings.freeze_layers and (own_head or not self.all_states):
            return self._frozen_layers(before, settings.freeze_layers, precision)
        if spectral or not (settings.freeze_conv or settings.freeze_layers):
            return before
        convolutions = self.base.feature_extractor
        frozen.pass_convolutions(self.base)
        return Convolutional(
            convolutions,
            fingerprint=frozen.fingerprint([convolutions], self.hf.config),
            do_normalise=before.do_normalise,
            precision=precision,
        )

    def _frozen_layers(self, before: Any, count: int, precision: Precision) -> FrozenLayers:
        self.below = count
        if self.kind != "whisper":
            frozen.pass_layers(self.base, count)
        states_below = whisper.frozen_states if self.kind == "whisper" else frozen.states_below
        return FrozenLayers(
            before,
            partial(states_below, self.base, count),
            fingerprint=frozen.fingerprint(self.frozen, self.hf.config),
            layers=count,
            all_states=self.all_states,
            precision=precision,
        )


def from_scratch(settings: Settings, labels: tuple[str, ...]) -> SpeechEncoder:
    """Build a randomly initialised encoder of ``settings.architecture``."""
    kind = settings.architecture
    if kind not in TRAINED:
        raise UserError(f"serlab cannot build a {kind!r} encoder; model.architecture is one of {', '.join(TRAINED)}.")
    try:
        _check_config(kind, settings)
        config = AutoConfig.for_model(kind, **_head_fields(settings, labels), **settings.config)
        builder: Any = AutoModelForAudioClassification
        hf = builder.from_config(config, trust_remote_code=False)
    except (ValueError, TypeError, AttributeError, StrictDataclassError) as error:
        short = " ".join(str(error).split())[:200].rstrip(".")
        raise UserError(f"transformers cannot build a {kind!r} encoder: {short}.") from error
    return SpeechEncoder(hf, preprocessor.standard(kind), settings, precision="fp32")


def from_checkpoint(settings: Settings, labels: tuple[str, ...], precision: Precision) -> SpeechEncoder:
    """Build a pretrained encoder with a fresh head.

    Raises:
        UserError: the checkpoint is no speech encoder that serlab trains, or lacks weights of the encoder.
        MachineError: the checkpoint is not here and the hub cannot be reached.
    """
    folder = find(settings.checkpoint)
    with loading(folder):
        config = checkpoint.read_config(folder, TRAINED, "a speech encoder")
        _check_config(config["model_type"], settings)
        fields = preprocessor.read(folder, config, default=True)
        # What a checkpoint was pretrained with, and layers that a recipe leaves out, have no place here.
        hf = checkpoint.build(
            folder,
            config,
            MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING,
            stored.read(folder),
            fields={**_head_fields(settings, labels), "problem_type": None, **settings.config},
            fresh=_HEAD,
            spare=lambda name: bool(_DEPTHS & settings.config.keys()) or not _LAYER.search(name),
        )
        network = SpeechEncoder(hf, fields, settings, precision=precision).to(device())
        check_scores(folder, score(network, [network.frontend(trial_sound())], precision), len(labels))
    return network


def from_folder(folder: Path, settings: Settings, precision: Precision) -> SpeechEncoder:
    """Load a finished model of serlab's.

    Args:
        folder: the model folder.
        settings: of its recipe.
        precision: as for :class:`SpeechEncoder`.

    Raises:
        UserError: (inside :func:`serlab.approaches.weights.loading`) the folder is damaged.
    """
    config = checkpoint.read_config(folder, TRAINED, "a speech encoder")
    state = stored.read(folder)
    own = {name.removeprefix("head."): state.pop(name) for name in list(state) if name.startswith("head.")}
    pooled = settings.head.kind == "pooled"
    hf = checkpoint.build(
        folder,
        config,
        MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING,
        state,
        fields={},
        fresh=_HEAD if pooled else (),
    )
    network = SpeechEncoder(hf, preprocessor.read(folder, config), settings, precision=precision)
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
    """Refuse fields that transformers would take and never read."""
    known = AutoConfig.for_model(kind).to_dict()
    for name in settings.config:
        if name not in known:
            raise unknown("field of model.config", name, known)


def _replace_head(hf: Any, settings: HeadSettings) -> PooledHead:
    for name in ("projector", "classifier"):
        delattr(hf, name)
    count = getattr(hf.config, "encoder_layers", None) or hf.config.num_hidden_layers
    return PooledHead(settings, hf.config.hidden_size, count + 1, hf.config.num_labels)
