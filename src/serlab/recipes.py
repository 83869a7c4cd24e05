"""Recipes: one approach, fully configured, as frozen dataclasses with shipped YAML presets.

A recipe says everything that can change a result except the data, the fold and the seed, so its hash identifies it.
The hash holds the SHA-256 of pretrained weights, never the path they came from.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from serlab.audio import SAMPLE_RATE
from serlab.augment import View
from serlab.changes import Change, Kinds, apply, flat
from serlab.core import UserError, unknown
from serlab.files import absent, sha256_json
from serlab.progress import say
from serlab.settings import (
    MOST_CHARACTERS,
    added,
    build,
    check_at_least,
    check_at_most,
    check_positive,
    check_share,
    plain,
    read_yaml,
)

FeaturePrecision = Literal["fp32", "fp16", "bf16"]

_SECTIONS = ("model", "training", "augmentation")
_HEAD_FIELDS = {"num_labels", "id2label", "label2id", "classifier_proj_size", "use_weighted_layer_sum"}


@dataclass(frozen=True)
class LogMelSettings:
    """Log-mel front end: power mel spectrogram in dB.

    Attributes:
        bands: number of mel bands.
        n_fft: analysis window and FFT length, in samples at 16 kHz.
        hop: samples between frames.
        low, high: edges of the lowest and highest band, Hz.
    """

    bands: int = 80
    n_fft: int = 512
    hop: int = 160
    low: float = 50.0
    high: float = 8000.0

    def __post_init__(self) -> None:
        """Refuse what is no spectrogram."""
        check_at_least("model.logmel", self, 1, "bands", "hop")
        check_at_least("model.logmel", self, 2, "n_fft")
        check_at_most("model.logmel", self, 65_536, "bands", "n_fft", "hop")
        if not 0 <= self.low < self.high <= SAMPLE_RATE / 2:
            raise UserError(
                f"model.logmel.low and high are {self.low:g} and {self.high:g} Hz; they must rise within 0 to "
                f"{SAMPLE_RATE // 2}."
            )


@dataclass(frozen=True)
class HeadSettings:
    """What turns an encoder's hidden states into logits.

    Attributes:
        kind: ``transformers`` is transformers' own head (projection, mean over time, linear), so that the saved
            folder loads in plain transformers; ``pooled`` is serlab's (layer mix, pooling, one hidden layer).
        projection: width of the projection (``transformers``) or the hidden layer (``pooled``).
        layers: ``last`` hidden state, or a ``weighted`` sum of all (with ``pooled`` each is layer-normed first).
        pooling: over time, for ``pooled``: ``mean``, ``mean+std`` or ``attentive`` (attentive statistics, Okabe 2018).
        dropout: of the ``pooled`` head.
    """

    kind: Literal["transformers", "pooled"] = "transformers"
    projection: int = 256
    layers: Literal["last", "weighted"] = "last"
    pooling: Literal["mean", "mean+std", "attentive"] = "mean"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what transformers' own head has not."""
        check_at_least("model.head", self, 1, "projection")
        check_at_most("model.head", self, 65_536, "projection")
        check_share("model.head", self, "dropout")
        if self.kind == "transformers" and (self.pooling != "mean" or self.dropout):
            raise UserError("model.head.pooling and model.head.dropout need model.head.kind: pooled.")


@dataclass(frozen=True)
class EncoderModel:
    """A speech encoder of transformers with a classification head.

    Attributes:
        checkpoint: hub name or local folder of pretrained weights; empty means trained from scratch.
        architecture: transformers' model type, used when there is no checkpoint.
        config: fields of transformers' configuration to set (all of them from scratch, overrides otherwise).
        freeze_conv: keep the convolutional encoder as it is; it then belongs to the front end.
        freeze_layers: number of lower transformer layers that are not trained.
        head: the classification head.
    """

    kind: Literal["encoder"] = "encoder"
    checkpoint: str = ""
    architecture: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    freeze_conv: bool = True
    freeze_layers: int = 0
    head: HeadSettings = HeadSettings()

    def __post_init__(self) -> None:
        """Refuse a model with neither weights nor architecture."""
        if bool(self.checkpoint) == bool(self.architecture):
            raise UserError("model needs either checkpoint (pretrained) or architecture (from scratch), not both.")
        check_at_least("model", self, 0, "freeze_layers")
        for name in _HEAD_FIELDS & self.config.keys():
            raise UserError(f"model.config.{name} is not for a recipe: the corpus and model.head say it.")


@dataclass(frozen=True)
class ResNetModel:
    """A ResNet on log-mel windows.

    Attributes:
        checkpoint: image-pretrained ResNet whose RGB filters are summed; empty means from scratch.
        stem: ``standard`` (7 x 7, stride 2, max-pooling) or ``small`` (3 x 3, stride 2, no pooling).
        width: channels of the first stage; each later stage doubles them.
        pooling: ``mean`` (transformers' own) or ``mean+std`` over time after a mean over frequency.
        dropout: before the last linear layer (needs ``mean+std`` pooling).
        window: frames a window; shorter clips are filled with the floor of log-mel, longer ones are covered by
            evenly spaced windows whose logits are averaged.
        logmel: the front end.
    """

    kind: Literal["resnet"] = "resnet"
    checkpoint: str = ""
    stem: Literal["standard", "small"] = "standard"
    width: int = 64
    pooling: Literal["mean", "mean+std"] = "mean"
    dropout: float = 0.0
    window: int = 256
    logmel: LogMelSettings = LogMelSettings()

    def __post_init__(self) -> None:
        """Refuse combinations that transformers' ResNet cannot express."""
        check_at_least("model", self, 1, "width")
        check_at_most("model", self, 4096, "width")
        check_at_least("model", self, 2, "window")
        check_at_most("model", self, 100_000, "window")
        check_share("model", self, "dropout")
        if (self.stem == "small") != (self.pooling == "mean+std"):
            raise UserError("model.stem: small goes with model.pooling: mean+std, standard with mean.")
        if self.dropout and self.pooling == "mean":
            raise UserError("model.dropout needs model.pooling: mean+std.")


@dataclass(frozen=True)
class ProbeModel:
    """Logistic regression on pooled hidden states of a frozen encoder; layer and C are chosen on the fold's dev.

    Attributes:
        checkpoint: hub name or local folder of the encoder.
        C: inverse regularisation strengths to choose from.
    """

    kind: Literal["probe"] = "probe"
    checkpoint: str = ""
    C: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03)

    def __post_init__(self) -> None:
        """Refuse a probe of nothing."""
        if not self.checkpoint:
            raise UserError("a probe needs model.checkpoint, the encoder whose features it reads.")
        if not self.C or min(self.C) <= 0:
            raise UserError(f"model.C is {list(self.C)}; it must list numbers above 0.")


@dataclass(frozen=True)
class SvmModel:
    """Support vector machine with an RBF kernel on functionals; C and gamma by a search inside the training side.

    Attributes:
        features: ``mfcc`` statistics or ``egemaps`` functionals (extra ``opensmile``).
        C: inverse regularisation strengths to choose from.
        gamma: widths of the kernel to choose from, for standardised features.
        calibration: ``temperature`` keeps the machine's own decision; ``regression``, of the first version, lets a
            logistic regression over the pairs' decision values answer.
    """

    kind: Literal["svm"] = "svm"
    features: Literal["mfcc", "egemaps"] = "mfcc"
    C: tuple[float, ...] = added(tuple(2.0**power for power in (-2, 0, 2, 4)))
    gamma: tuple[float, ...] = added(tuple(2.0**power for power in (-12, -10, -8, -6)))
    calibration: Literal["temperature", "regression"] = added("temperature", before="regression")

    def __post_init__(self) -> None:
        """Refuse grids that hold nothing to choose from."""
        for name in ("C", "gamma"):
            values = getattr(self, name)
            if not values or min(values) <= 0:
                raise UserError(f"model.{name} is {list(values)}; it must list numbers above 0.")


Model = EncoderModel | ResNetModel | ProbeModel | SvmModel


@dataclass(frozen=True)
class Training:
    """How a network is trained (transformers' Trainer, AdamW).

    Attributes:
        epochs: passes over the training side.
        batch_size: clips a step.
        learning_rate: of the pretrained or only part.
        head_learning_rate: of freshly initialised layers on a pretrained encoder; 0 means ``learning_rate``.
        layer_decay: factor on the learning rate from each layer to the one below it.
        weight_decay: on weight matrices; norms and biases have none.
        schedule: of the learning rate after the warm-up.
        schedule_factor: of ``step``: the factor after each epoch.
        warmup: share of all steps with a rising learning rate.
        label_smoothing: share of probability spread over all labels.
        max_grad_norm: gradient clipping.
        max_seconds: longest stretch of a clip that is trained on, in one epoch; prediction uses whole clips.
        select: ``best`` keeps the epoch with the highest dev UAR, ``last`` the last one.
        patience: epochs without a better dev UAR after which training stops; 0 means never.
        precision: ``auto`` is bf16 where it is faster.
        features: what the front end's output is rounded to; less than fp32 halves what the cache takes on disk.
        batch_seconds: most seconds of audio in a batch, instead of a number of clips; 0: ``batch_size`` counts.
        accumulate: batches whose gradients are summed to one step of the optimiser, where memory holds no larger batch.
        targets: what a network learns: ``hard``, the clip's label; ``soft``, how the votes on its voice are spread;
            ``both``, the mean of the two.
    """

    epochs: int = 10
    batch_size: int = 16
    learning_rate: float = 1e-3
    head_learning_rate: float = 0.0
    layer_decay: float = 1.0
    weight_decay: float = 0.01
    schedule: Literal["cosine", "linear", "constant", "step"] = "cosine"
    schedule_factor: float = 1.0
    warmup: float = 0.1
    label_smoothing: float = 0.0
    max_grad_norm: float = 1.0
    max_seconds: float = 8.0
    select: Literal["best", "last"] = "best"
    patience: int = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    features: FeaturePrecision = added("fp32")
    batch_seconds: float = added(0.0)
    accumulate: int = added(1)
    targets: Literal["hard", "soft", "both"] = added("hard")

    def __post_init__(self) -> None:
        """Refuse settings that cannot train."""
        check_at_least("training", self, 1, "epochs", "batch_size", "accumulate")
        check_at_least("training", self, 0, "patience", "head_learning_rate", "weight_decay", "batch_seconds")
        check_positive("training", self, "learning_rate", "layer_decay", "max_grad_norm", "max_seconds")
        check_positive("training", self, "schedule_factor")
        check_share("training", self, "warmup", "label_smoothing")


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of training clips, after the split.

    Attributes:
        views: waveform versions of a clip; empty means the clip as it is.
        use: ``one`` draws a view for each clip and epoch, ``all`` trains on every view in every epoch (the seed's
            offline augmentation).
        time_masks, time_width: SpecAugment masks over frames: how many, and at most how wide.
        band_masks, band_width: the same over mel bands.
        mixup: alpha of the Beta distribution; 0 means none.
    """

    views: tuple[View, ...] = ()
    use: Literal["one", "all"] = "one"
    time_masks: int = 0
    time_width: int = 0
    band_masks: int = 0
    band_width: int = 0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        """Refuse negative amounts."""
        check_at_least("augmentation", self, 0, "time_masks", "time_width", "band_masks", "band_width", "mixup")
        check_at_most("augmentation", self, 100, "time_masks", "band_masks")


_UNTRAINED = {
    "training": frozenset(each.name for each in fields(Training)),
    "augmentation": frozenset(each.name for each in fields(Augmentation)),
}
KINDS = Kinds(
    models={"encoder": EncoderModel, "resnet": ResNetModel, "probe": ProbeModel, "svm": SvmModel},
    sections={"training": Training, "augmentation": Augmentation},
    idle={
        "encoder": {},
        # All layers of a resnet share one rate, and its windows have one length.
        "resnet": {"training": frozenset({"head_learning_rate", "layer_decay", "batch_seconds"})},
        # The encoder below a probe computes in some precision.
        "probe": _UNTRAINED | {"training": _UNTRAINED["training"] - {"precision"}},
        "svm": _UNTRAINED,
    },
    titles={
        "encoder": ("a speech encoder", "speech encoders"),
        "resnet": ("a resnet", "resnets"),
        "probe": ("a probe", "probes"),
        "svm": ("a support vector machine", "support vector machines"),
    },
)
"""Which settings each kind of model heeds."""


@dataclass(frozen=True)
class Recipe:
    """One approach, fully configured.

    Attributes:
        name: the preset's name.
        title: what a report calls it.
        model: front end and network.
        training: how a network is trained; a ``probe`` heeds its precision alone, an ``svm`` nothing of it.
        augmentation: of training clips.
        preset: False once any setting differs from the shipped preset.
    """

    name: str
    title: str
    model: Model
    training: Training = Training()
    augmentation: Augmentation = Augmentation()
    preset: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that the model would not heed: they would make another recipe of the same one."""
        kind = self.model.kind
        for section, names in KINDS.idle[kind].items():
            for each in fields(getattr(self, section)):
                if each.name in names and getattr(getattr(self, section), each.name) != each.default:
                    raise UserError(f"{KINDS.why(self.name, kind, (section, each.name))}.")

    def settings(self) -> dict[str, Any]:
        """Everything that can change a result, as plain data (the checkpoint's name included)."""
        return self._sections(omit_added=False)

    def _sections(self, *, omit_added: bool) -> dict[str, Any]:
        return {section: plain(getattr(self, section), omit_added=omit_added) for section in _SECTIONS}

    def hash(self, weights_sha256: str | None, fixed: Mapping[str, Any] | None = None) -> str:
        """Identity of the recipe: 12 hexadecimal digits.

        Args:
            weights_sha256: SHA-256 of the pretrained weights, which stands in for the checkpoint's name or path.
            fixed: what else decides the result without being a setting (a front end's configuration, a search grid).
        """
        settings = self._sections(omit_added=True) | ({"fixed": dict(fixed)} if fixed else {})
        if "checkpoint" in settings["model"]:
            settings["model"]["checkpoint"] = weights_sha256 or ""
        return sha256_json(settings)[:12]

    def folder(self, recipe_hash: str) -> str:
        """Name of the recipe's results folder: the plain name is the preset as shipped."""
        return self.name if self.preset else f"{self.name}-{recipe_hash[:6]}"


def preset_names() -> list[str]:
    """Names of the shipped presets."""
    folder = resources.files("serlab") / "presets"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_recipe(name: str, overrides: Sequence[str] = (), precision: str | None = None) -> Recipe:
    """Load a recipe.

    Args:
        name: a preset's name, or the path of a YAML file in the same form.
        overrides: ``section.key=value`` settings (value in YAML), as of ``--set``.
        precision: an explicit ``--precision``; counts as a change of the recipe, if it heeds one.

    Returns:
        The recipe; its ``preset`` is False if anything differs from the preset.

    Raises:
        UserError: the recipe, a key or a value does not exist or does not fit.

    >>> load_recipe("resnet18", ["training.epochs=3"]).training.epochs
    3
    """
    return load_variant(name, [*map(Change, overrides), *precision_change(precision)])


def precision_change(precision: str | None) -> list[Change]:
    """The change that an explicit ``--precision`` is, for the recipes that heed one."""
    return [Change(f"training.precision={precision}", shared=True, option=f"--precision {precision}")] * bool(precision)


def load_variant(name: str, changes: Sequence[Change]) -> Recipe:
    """Load a recipe with changes, as :func:`load_recipe`; a shared one that it does not heed is left out, and said."""
    if name in preset_names():
        text = (resources.files("serlab") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
        stem, shipped = name, True
    elif Path(name).is_dir() or (name.count("/") == 1 and not Path(name).suffix and not Path(name).exists()):
        raise UserError(
            f"{name} is no recipe: a recipe is a preset or a YAML file, and takes a checkpoint by "
            f"--set wav2vec2-base:model.checkpoint={name}; serlab recipes lists the presets."
        )
    elif Path(name).suffix or "/" in name:
        if not Path(name).exists():
            raise absent("recipe", name)
        if not name.endswith((".yaml", ".yml")):
            raise UserError(f"the recipe {name} must be a YAML file whose name ends in .yaml or .yml.")
        try:
            with Path(name).open(encoding="utf-8") as stream:
                text = stream.read(MOST_CHARACTERS + 1)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the recipe {name}: {getattr(error, 'strerror', None) or error}.") from error
        stem, shipped = Path(name).stem, False
    else:
        raise unknown("recipe", name, preset_names())
    data = read_yaml(text, f"the recipe {name}")
    if not isinstance(data, dict):
        raise UserError(f"{name} is no recipe: expected the keys title, model, training and augmentation.")
    # A preset that another has replaced goes on under the name that its results lie under, as a variant of it.
    former = data.pop("formerly", None) if shipped else None
    identity = {"name": former or stem, "preset": shipped and not former}
    if not shipped:
        _say_unheeded(data, stem)
    if not changes:
        return _built(identity, data, stem)
    changed = copy.deepcopy(data)
    apply(changed, changes, stem, KINDS)
    recipe, plain_one = _built(identity, changed, stem), _built(identity, data, stem)
    # A value that was there already changes nothing, however it is written (0 and 0.0).
    return plain_one if recipe == plain_one else replace(recipe, preset=False)


def _built(identity: Mapping[str, Any], data: Mapping[str, Any], stem: str) -> Recipe:
    for key in data:
        if key not in ("title", *_SECTIONS):
            raise unknown(f"key in recipe {stem}", str(key), ("title", *_SECTIONS))
    recipe = build(Recipe, {**identity, **KINDS.heeded(data)}, f"recipe {stem}")
    assert isinstance(recipe, Recipe)
    return recipe


def _say_unheeded(data: Mapping[str, Any], stem: str) -> None:
    """Name what a user's file sets and its kind of model does not heed."""
    kept, usual = flat(KINDS.heeded(data)), flat(KINDS.defaults("svm"))
    for path, value in flat(data).items():
        if path not in kept and usual.get(path) != value:
            kind = data["model"]["kind"]
            say(f"{path} of recipe {stem} is left out: {KINDS.why(stem, kind, path.split('.'))}.")


def recipe_from_signature(signature: Mapping[str, Any]) -> Recipe:
    """Rebuild the recipe that a run's signature describes."""
    data = signature["recipe"]
    content = {"name": data["name"], "title": data["title"], "preset": False, **KINDS.heeded(data["config"])}
    recipe = build(Recipe, content, f"recipe {data['name']}", recorded=True)
    assert isinstance(recipe, Recipe)
    return recipe
