"""A recipe: model, training and augmentation as frozen dataclasses, and the hash that identifies them."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from serlab import approaches
from serlab.audio.augment import View
from serlab.core import UserError
from serlab.core.files import sha256_json
from serlab.core.settings import added, check_at_least, check_at_most, check_positive, check_share, plain
from serlab.frontends.base import FeaturePrecision
from serlab.recipes import pretraining
from serlab.recipes.changes import Kinds
from serlab.recipes.pretraining import Pretraining

TrainingPrecision = Literal["auto", "fp32", "bf16"]

if TYPE_CHECKING:
    Model = Any
else:
    # The settings of every approach: core.settings.build selects the member of the union by its
    # kind.
    Model = functools.reduce(operator.or_, (approaches.get(name).settings for name in approaches.names()))

SELF = "self"
"""The teacher's name in a recipe that is its own teacher (born-again networks, Furlanello et al. 2018)."""

SECTIONS = ("model", "training", "augmentation")


@dataclass(frozen=True)
class Teacher:
    """Another recipe whose models teach the network (knowledge distillation, Hinton et al. 2015, arXiv:1503.02531).

    The loss is ``weight`` T² KL(teacher || student), both at temperature T, plus (1 - ``weight``)
    times the loss on the clip's own target.

    Attributes:
        recipe: the teacher's recipe: a preset's name, the path of a YAML file, or ``self``, the same
            recipe without a teacher.
        seeds: seeds of the teacher's models; their logits are averaged, which gives the same
            targets as the mean of their log-probabilities.
        temperature: T, by which both models' logits are divided.
        weight: share of the teacher in the loss.
        views: the teacher scores the ``clean`` clip for all its augmented views, or the ``same``
            view as the student hears.
        crossfit: teach each half of the training speakers by a model of the other half.
        checkpoint: instead of ``recipe``: a model folder of serlab's or a classifier of
            transformers, by hub name or folder.
        states: hidden states of the teacher's encoder that the network's frames also predict; 0 is
            the input of its first layer. Of several seeds, the first one's.
        states_weight: factor on the loss of the states, which is added to the other one.
    """

    recipe: str = ""
    seeds: tuple[int, ...] = (0,)
    temperature: float = 2.0
    weight: float = 0.8
    views: Literal["clean", "same"] = "clean"
    crossfit: bool = False
    checkpoint: str = added("")
    states: tuple[int, ...] = added(())
    states_weight: float = added(1.0)

    @property
    def silent(self) -> bool:
        """Whether it changes nothing."""
        return not self.weight and not self.shows_states

    @property
    def shows_states(self) -> bool:
        """Whether the network learns its hidden states."""
        return bool(self.states and self.states_weight)

    def __post_init__(self) -> None:
        """Refuse settings that cannot teach."""
        check_positive("training.teacher", self, "temperature")
        check_at_least("training.teacher", self, 0, "weight")
        check_at_most("training.teacher", self, 1, "weight")
        check_at_least("training.teacher", self, 0, "states_weight")
        if len({*self.states}) < len(self.states) or min(self.states, default=0) < 0:
            raise UserError(f"training.teacher.states is {list(self.states)}; expected different layers from 0 on.")
        if self.states_weight != 1 and not self.states:
            raise UserError("training.teacher.states_weight needs training.teacher.states; name layers, or omit it.")
        if bool(self.recipe) == bool(self.checkpoint):
            raise UserError("training.teacher needs either a recipe or a checkpoint, not both.")
        if self.checkpoint and (self.crossfit or self.seeds != (0,)):
            raise UserError("training.teacher.seeds and training.teacher.crossfit are for recipes, not a checkpoint.")
        if not self.seeds or len({*self.seeds}) < len(self.seeds) or min(self.seeds) < 0:
            raise UserError(f"training.teacher.seeds is {list(self.seeds)}; expected different seeds, at least one.")


@dataclass(frozen=True)
class Training:
    """How a network is trained (AdamW).

    Attributes:
        epochs: passes over the train subset.
        batch_size: clips per batch.
        learning_rate: of pretrained layers, or of all layers of a network from scratch.
        head_learning_rate: of freshly initialised layers on a pretrained encoder; 0 means
            ``learning_rate``.
        layer_decay: factor on the learning rate from each layer to the one below it. What is in no
            layer, the final norm too, has the lowest rate.
        weight_decay: on weight matrices; norms and biases have none.
        schedule: of the learning rate after the warm-up.
        schedule_factor: of ``step``: the factor after each epoch.
        warmup: share of all steps with a rising learning rate.
        label_smoothing: share of probability spread over all labels.
        max_grad_norm: gradient clipping.
        max_seconds: longest section of a clip to train on per epoch; prediction uses whole clips.
        select: ``best`` keeps the epoch with the highest dev UAR, ``last`` the last one.
        patience: epochs without a better dev UAR before training stops; 0 means never.
        precision: ``auto`` is bf16 if it is faster.
        features: precision that the front end's output is rounded to; less than fp32 halves the
            size of the cache.
        batch_seconds: maximum seconds of audio per batch, instead of a number of clips; 0: use
            ``batch_size``.
        accumulate: number of batches whose gradients are summed per step of the optimiser, to save
            memory.
        targets: training targets: ``hard``, the clip's label; ``soft``, the distribution of votes
            on its voice; ``both``, the mean of the two.
        ema: decay per step of an exponential moving average of the weights, e.g. 0.999; the
            averaged weights are scored on dev and kept. 0: none.
        swa: number of last epochs whose weights are averaged (stochastic weight averaging). 0:
            none.
        teacher: models that teach the network; None: it learns from its targets alone.
        unlabelled: speech without labels, which only the teacher's scores are learned from: names
            of known corpora, or folders.
        pretraining: first let an encoder from scratch predict the hidden states of a larger one,
            on the training clips and other speech without labels; None: do not.
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
    precision: TrainingPrecision = "auto"
    features: FeaturePrecision = added("fp32")
    batch_seconds: float = added(0.0)
    accumulate: int = added(1)
    targets: Literal["hard", "soft", "both"] = added("hard")
    ema: float = added(0.0)
    swa: int = added(0)
    teacher: Teacher | None = added(None)
    unlabelled: tuple[str, ...] = added(())
    pretraining: Pretraining | None = added(None)

    def __post_init__(self) -> None:
        """Refuse settings that cannot train."""
        check_at_least("training", self, 1, "epochs", "batch_size", "accumulate")
        check_at_least("training", self, 0, "patience", "head_learning_rate", "weight_decay", "batch_seconds", "swa")
        check_positive("training", self, "learning_rate", "layer_decay", "max_grad_norm", "max_seconds")
        check_positive("training", self, "schedule_factor")
        check_share("training", self, "warmup", "label_smoothing", "ema")
        check_at_most("training", self, self.epochs, "swa")
        if self.ema and self.swa:
            raise UserError("training.ema and training.swa both average the weights; set one of them to 0.")
        if self.unlabelled and not self.teacher:
            raise UserError("training.unlabelled needs training.teacher, which scores the speech; name a teacher.")


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of training clips, after the split.

    Attributes:
        views: waveform versions of a clip; empty means the clip as it is.
        use: ``one`` draws a view for each clip and epoch, ``all`` trains on every view in every
            epoch (the seed's offline augmentation).
        time_masks, time_width: number and maximum width of SpecAugment masks over frames.
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


KINDS = Kinds(
    approaches={name: approaches.get(name) for name in approaches.names()},
    sections={"training": Training, "augmentation": Augmentation},
)
"""The settings that affect each kind of model."""


@dataclass(frozen=True)
class Need:
    """A setting that has an effect only together with another one.

    Attributes:
        path: the setting, dotted.
        words: what must be set as well.
        met: whether it is.
    """

    path: str
    words: str
    met: Callable[[Recipe], bool]


@dataclass(frozen=True)
class Recipe:
    """One approach, fully configured.

    Attributes:
        name: the preset's name.
        title: its name in reports.
        model: front end and network.
        training: how a network is trained; a ``probe`` only uses its precision, an ``svm`` ignores
            it.
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
        """Refuse settings without effect on the model, which would give the same recipe two identities."""
        kind = self.model.kind
        for section in KINDS.sections:
            for each in fields(getattr(self, section)):
                used = KINDS.uses(kind, (section, each.name))
                if not used and getattr(getattr(self, section), each.name) != each.default:
                    raise UserError(f"{KINDS.why(self.name, kind, (section, each.name))}.")
        self._check_states()
        if self.training.pretraining and not getattr(self.model, "architecture", ""):
            raise UserError(
                f"training.pretraining is for encoders from scratch (model.architecture); {self.name} starts from "
                "pretrained weights (model.checkpoint)."
            )

    def _check_states(self) -> None:
        if not self.training.teacher or not self.training.teacher.states:
            return
        if self.model.kind != "encoder":
            title = approaches.get(self.model.kind).titles[0]
            raise UserError(
                f"training.teacher.states is for speech encoders, whose frames predict the teacher's; {self.name} is "
                f"{title}, so omit it."
            )
        if self.augmentation.mixup:
            raise UserError("training.teacher.states needs augmentation.mixup=0, because mixed clips have no states.")

    def settings(self) -> dict[str, Any]:
        """Everything that can change a result, as plain data (the checkpoint's name included)."""
        return self._sections(omit_added=False)

    def _sections(self, *, omit_added: bool) -> dict[str, Any]:
        return {section: plain(getattr(self, section), omit_added=omit_added) for section in SECTIONS}

    def hash(
        self,
        weights_sha256: str | None,
        fixed: Mapping[str, Any] | None = None,
        teacher: str | None = None,
        unlabelled: str | None = None,
    ) -> str:
        """Identity of the recipe: 12 hexadecimal digits.

        Args:
            weights_sha256: SHA-256 of the pretrained weights, which stands in for the checkpoint's
                name or path.
            fixed: anything else that affects the result but is not a setting (a front end's
                configuration, a search grid).
            teacher: hash of the teacher's recipe, or SHA-256 of its weights, which stands in for its
                name or path.
            unlabelled: SHA-256 of the speech without labels, which stands in for its names.
        """
        settings = self._sections(omit_added=True) | ({"fixed": dict(fixed)} if fixed else {})
        if "checkpoint" in settings["model"]:
            settings["model"]["checkpoint"] = weights_sha256 or ""
        if self.training.teacher:
            named = "recipe" if self.training.teacher.recipe else "checkpoint"
            settings["training"]["teacher"][named] = teacher or ""
        if self.training.unlabelled:
            settings["training"]["unlabelled"] = unlabelled or ""
        if "pretraining" in settings["training"]:
            settings["training"]["pretraining"] = pretraining.without_names(settings["training"]["pretraining"])
        return sha256_json(settings)[:12]

    def folder(self, recipe_hash: str) -> str:
        """Name of the recipe's results folder: the plain name is the preset as shipped."""
        return self.name if self.preset else f"{self.name}-{recipe_hash[:6]}"


NEEDS = (
    Need("training.schedule_factor", "training.schedule=step", lambda recipe: recipe.training.schedule == "step"),
    Need("augmentation.time_width", "augmentation.time_masks", lambda recipe: recipe.augmentation.time_masks > 0),
    Need("augmentation.time_masks", "augmentation.time_width", lambda recipe: recipe.augmentation.time_width > 0),
    Need("augmentation.band_width", "augmentation.band_masks", lambda recipe: recipe.augmentation.band_masks > 0),
    Need("augmentation.band_masks", "augmentation.band_width", lambda recipe: recipe.augmentation.band_width > 0),
    Need("augmentation.use", "several augmentation.views", lambda recipe: len(recipe.augmentation.views) > 1),
)
"""Settings that have no effect on their own."""
