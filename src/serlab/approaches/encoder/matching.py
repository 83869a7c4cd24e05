"""Matching a small encoder to a larger one: both hear a clip, and the small one predicts the other's hidden states.

The method is that of DistilHuBERT (Chang et al. 2022): a linear projection for each predicted
state, and for each frame the loss |p - s| / dim - log sigmoid(cos(p, s)) of prediction p and state s
(equation 2, with a weight of 1). Here the states are standardised per dimension first, because few
dimensions of Whisper's states would otherwise dominate both terms.

Frames are paired by their centres in time: frame t of the small encoder with the frame of the
larger one that is nearest to the middle of its receptive field.

Pretraining (:mod:`serlab.training.pretraining`) learns from this loss alone, and fine-tuning with
``training.teacher.states`` (:mod:`serlab.training.states`) adds it to the loss of the labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel

from serlab.approaches.base import REGULARISERS
from serlab.approaches.encoder import Settings, whisper
from serlab.approaches.encoder.network import SpeechEncoder, config_of, from_checkpoint
from serlab.audio import SAMPLE_RATE
from serlab.checkpoints import preprocessor
from serlab.core import UserError
from serlab.core.precision import Precision, autocast, device
from serlab.frontends.batched import batched

_TRIAL_SECONDS = 2


def bare(settings: Settings) -> Any:
    """Build a randomly initialised encoder without a head, without dropout, LayerDrop and masks.

    Args:
        settings: the recipe's model; an encoder of waveforms with ``architecture``.

    Raises:
        UserError: the recipe's model is not such an encoder.
    """
    config = config_of(settings, {})
    for name in REGULARISERS & config.to_dict().keys():
        setattr(config, name, 0.0)
    builder: Any = AutoModel
    base = builder.from_config(config, trust_remote_code=False)
    if not hasattr(base, "feature_extractor") or settings.freeze_conv or settings.freeze_layers:
        raise UserError(
            "training.pretraining needs an encoder of waveforms whose layers are all trained: model.architecture: "
            "wav2vec2 (or a relative), model.freeze_conv: false and model.freeze_layers: 0."
        )
    return base


class Teacher:
    """The larger encoder, frozen: samples (clips, samples) to its hidden states.

    Args:
        checkpoint: hub name or local folder.
        layers: the wanted states; 0 is the input of the first layer.
        precision: of the matrix products.
        asked: the setting that names the layers, for errors.

    Raises:
        UserError: the checkpoint is not a speech encoder, or has fewer layers.
        MachineError: it is not on this machine, and the hub cannot be reached.
    """

    def __init__(
        self,
        checkpoint: str,
        layers: Sequence[int],
        precision: Precision,
        *,
        asked: str = "training.pretraining.layers",
    ) -> None:
        settings = Settings(checkpoint=checkpoint, freeze_conv=False)
        self.encoder: SpeechEncoder = from_checkpoint(settings, ("a", "b"), precision).to(device()).eval()
        self.encoder.requires_grad_(False)
        self.layers, self.precision = tuple(layers), precision
        self.frontend = batched(self.encoder.frontend)
        most = len(self.encoder.layers)
        if max(layers) > most:
            raise UserError(f"{asked} has the value {max(layers)}, but {checkpoint} has {most} layers.")
        self.dim = int(self.encoder.hf.config.hidden_size)
        self.shift = shift_of(self.encoder.hf.config)

    @torch.no_grad()
    def __call__(self, samples: Tensor) -> list[Tensor]:
        """Hidden states, one (clips, frames, dim) for each wanted layer, in fp32."""
        features = self.frontend(samples)
        encoder, parts = self.encoder, [(0, features.shape[1])]
        if encoder.hf.config.model_type == "whisper":
            # Whisper has positions for 30 s.
            cuts = whisper.parts(-(-features.shape[1] // 2), encoder.base.max_source_positions)
            parts = [(2 * low, 2 * high) for low, high in cuts]
        states = [self._states(features[:, low:high]) for low, high in parts]
        return [torch.cat([part[number] for part in states], dim=1) for number in range(len(self.layers))]

    def _states(self, features: Tensor) -> list[Tensor]:
        encoder = self.encoder
        with autocast(self.precision):
            if encoder.hf.config.model_type == "whisper" and max(self.layers) < len(encoder.layers):
                # Only as many layers as needed; the last state of all also passes the final norm.
                states: Sequence[Tensor] = whisper.states_below(encoder.base, max(self.layers), features)
            else:
                states = encoder.hidden_states(features)
        return [states[layer].float() for layer in self.layers]


class StateMatching(nn.Module):
    """A projection for each state that a small encoder predicts, and the loss of the predictions.

    Args:
        width: of the small encoder's frames.
        dim: of the states.
        layers: number of states.
        shift: frames by which the small encoder's first one comes after the larger one's.
        base: the small encoder, if it is part of this module.
    """

    means: Tensor
    deviations: Tensor

    def __init__(self, width: int, dim: int, layers: int, shift: int, base: nn.Module | None = None) -> None:
        super().__init__()
        if base is not None:
            self.base: Any = base
        self.shift = shift
        self.projections = nn.ModuleList(nn.Linear(width, dim) for _ in range(layers))
        self.register_buffer("means", torch.zeros(layers, dim))
        self.register_buffer("deviations", torch.ones(layers, dim))

    def match(self, frames: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Loss, and mean cosine of predictions and states.

        Args:
            frames: of the small encoder, shape (clips, frames, width).
            states: of the larger encoder, each (clips, frames, dim).
        """
        losses, cosines = [], []
        for number, (projection, state) in enumerate(zip(self.projections, states, strict=True)):
            wanted = (state - self.means[number]) / self.deviations[number]
            predicted, wanted = self._paired(projection(frames).float(), wanted)
            cosine = nn.functional.cosine_similarity(predicted, wanted, dim=-1)
            distance = (predicted - wanted).abs().mean()
            losses.append(distance - nn.functional.logsigmoid(cosine).mean())
            cosines.append(cosine.detach().mean())
        return torch.stack(losses).mean(), torch.stack(cosines).mean()

    def _paired(self, small: Tensor, large: Tensor) -> tuple[Tensor, Tensor]:
        small, large = small[:, max(0, -self.shift) :], large[:, max(0, self.shift) :]
        frames = min(small.shape[1], large.shape[1])
        return small[:, :frames], large[:, :frames]


class Matching(StateMatching):
    """A small encoder that learns from the states of a larger one alone.

    Args:
        base: the small encoder, from :func:`bare`.
        teacher: the larger one.

    Raises:
        UserError: their frames do not last equally long.
    """

    def __init__(self, base: Any, teacher: Teacher) -> None:
        shift = shift_of(base.config) - teacher.shift
        super().__init__(int(base.config.hidden_size), teacher.dim, len(teacher.layers), shift, base)
        self._check_frames(teacher)

    def forward(self, samples: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Loss, and mean cosine of predictions and states.

        Args:
            samples: as the small encoder hears them, normalised, shape (clips, samples).
            states: of the larger encoder, each (clips, frames, dim).
        """
        return self.match(self.base(samples).last_hidden_state, states)

    def _check_frames(self, teacher: Teacher) -> None:
        trial = torch.zeros(1, _TRIAL_SECONDS * SAMPLE_RATE, device=device())
        there = teacher(trial)[0].shape[1]
        own = int(self.base._get_feat_extract_output_lengths(torch.tensor(trial.shape[1])))
        if not same_rate(own, there, self.shift):
            raise UserError(
                f"the encoder has {own / _TRIAL_SECONDS:g} frames per second and the one of "
                f"training.pretraining.checkpoint {there / _TRIAL_SECONDS:g}; choose model.config.conv_stride so that "
                "they agree (wav2vec2 and Whisper have 50)."
            )


def same_rate(own: int, there: int, shift: int) -> bool:
    """Whether two encoders' numbers of frames of one sound mean the same rate.

    Without padding, an encoder has up to a receptive field less.
    """
    return abs(there - own) <= 2 * abs(shift) + 1


def shift_of(config: Any) -> int:
    """Frames by which the middle of the first receptive field comes after the start of the sound.

    >>> from transformers import Wav2Vec2Config, WhisperConfig
    >>> shift_of(Wav2Vec2Config()), shift_of(WhisperConfig())
    (1, 0)
    """
    if config.model_type == "wav2vec2-bert":
        # A frame is two windows of 25 ms, 10 ms apart.
        return 1
    stride, field = 1, 1
    for kernel, step in zip(*(getattr(config, f"conv_{name}", ()) for name in ("kernel", "stride")), strict=True):
        field += (kernel - 1) * stride
        stride *= step
    return round((field - 1) / 2 / stride)


@contextmanager
def last_states(network: SpeechEncoder) -> Iterator[list[Tensor]]:
    """Collect the last hidden state of each forward pass in the block, (clips, frames, width)."""
    found: list[Tensor] = []
    # serlab runs Whisper's layers itself, and not its encoder.
    module = network.base.layer_norm if network.family.own_pass else network.base

    def keep(_module: nn.Module, _given: Any, out: Any) -> None:
        found.append(out if isinstance(out, Tensor) else out[0])

    hook = module.register_forward_hook(keep)
    try:
        yield found
    finally:
        hook.remove()


class StateStudent(nn.Module):
    """A network whose frames predict a teacher's states, for training: logits, and the loss of the states.

    Args:
        network: the network, with its projections as the submodule ``matching``.
    """

    def __init__(self, network: SpeechEncoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """Score a batch.

        Args:
            features: a batch of the network's features.
            states: of all layers side by side, shape (clips, frames, layers x dim).

        Returns:
            Logits, and the mean loss of a clip's frames.
        """
        matching: Any = self.network.matching
        with last_states(self.network) as found:
            logits = self.network(features)
        loss, _ = matching.match(found[0], states.chunk(len(matching.projections), dim=-1))
        return logits, loss


def preprocessor_of(settings: Settings) -> dict[str, Any]:
    """The preprocessor configuration of an encoder from scratch."""
    return preprocessor.standard(settings.architecture)
