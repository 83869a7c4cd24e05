"""Projections of a network's frames, which learn to predict the hidden states of a teacher's encoder.

While a network is trained, its projections are its submodule ``matching``, so optimiser, average of
weights and checkpoints include them; the model folder does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from serlab.approaches.encoder.matching import StateMatching, last_states, same_rate, shift_of
from serlab.approaches.encoder.network import TRAINED, SpeechEncoder
from serlab.approaches.network import Network
from serlab.audio import Audio
from serlab.audio.augment import View
from serlab.checkpoints.building import read_config
from serlab.core import UserError
from serlab.core.precision import autocast, device
from serlab.core.randomness import keyed, keyed_seed
from serlab.frontends.store import ClipFile
from serlab.training import processes
from serlab.training.states import ASKED, StateFeed, StateLesson

_SAMPLED = 256
_SMALLEST_DEVIATION = 1e-3
_TRIAL_SECONDS = 8


def attach(
    network: Network, lesson: StateLesson, files: Sequence[ClipFile], view: View, *, seed: int, recipe: str
) -> StateFeed:
    """Give a network the projections that predict a teacher's states, as its submodule ``matching``.

    Args:
        network: the network, on its device.
        lesson: the states.
        files: the training clips; mean and deviation of each dimension of the states are those of
            some of them.
        view: one of the recipe's views, for mean and deviation.
        seed: the run's seed, which keys the initial projections.
        recipe: the recipe's name, for errors.

    Raises:
        UserError: the frames of network and teacher do not last equally long.
    """
    assert isinstance(network, SpeechEncoder)
    drawn = keyed(seed, "states").permutation(len(files))[:_SAMPLED]
    sample = [files[place] for place in sorted(drawn)]
    longest = max(sample, key=lambda file: file.duration)
    layers, source = len(lesson.sources[0].layers), lesson.sources[0]
    config = read_config(source.folder, TRAINED, "a speech encoder")
    shift = shift_of(network.hf.config) - shift_of(SimpleNamespace(**config))
    states = lesson.get(longest, view, seed)
    own, there, width = _compared(network, longest, len(states) * view.speed)
    if not same_rate(own, there, shift):
        raise UserError(
            f"{ASKED} needs encoders with the same frame rate: {recipe} has {own} frames where the teacher has "
            f"{there} (wav2vec2 and Whisper have 50 per second); choose another teacher, or omit {ASKED}."
        )
    with torch.random.fork_rng():
        torch.manual_seed(keyed_seed(seed, "projections"))
        matching = StateMatching(width, states.shape[1] // layers, layers, shift)
    means, deviations = processes.exchange(_statistics(lesson, sample, view, seed))[0]
    matching.means.copy_(means.reshape(layers, -1))
    matching.deviations.copy_(deviations.reshape(layers, -1))
    network.add_module("matching", matching.to(device()))
    return StateFeed(lesson, _features_per_frame(network), shift)


@torch.no_grad()
def _compared(network: SpeechEncoder, file: ClipFile, frames: float) -> tuple[int, int, int]:
    """Compare the frames of network and teacher in the first seconds of a clip.

    Args:
        network: the network.
        file: the clip.
        frames: the teacher's frames in the whole clip.

    Returns:
        The network's frames, the teacher's frames, the width of the network's.
    """
    share = min(1.0, _TRIAL_SECONDS / file.duration)
    whole = network.frontend(Audio.from_file(file.path).samples)
    features = whole[: max(1, int(share * len(whole)))]
    network.eval()
    with last_states(network) as found, autocast("fp32"):
        network(torch.from_numpy(np.ascontiguousarray(features))[None].to(device()))
    _, own, width = found[0].shape
    return own, round(share * frames), width


def _features_per_frame(network: SpeechEncoder) -> int:
    """Time steps of a network's features for each of its frames."""
    kind, config = network.frontend.config["frontend"], network.hf.config
    if kind == "waveform":
        return math.prod(config.conv_stride)
    # The second convolution of Whisper has a stride of 2; other front ends end with frames.
    return 2 if kind == "extractor" and config.model_type == "whisper" else 1


def _statistics(lesson: StateLesson, files: Sequence[ClipFile], view: View, seed: int) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each dimension of the states of some clips."""
    count, total, squares = 0, np.zeros(()), np.zeros(())
    for file in files:
        states = lesson.get(file, view, seed).astype(np.float64)
        count += len(states)
        total, squares = total + states.sum(axis=0), squares + np.square(states).sum(axis=0)
    means = total / count
    variances = np.maximum(squares / count - np.square(means), _SMALLEST_DEVIATION**2)
    return torch.from_numpy(means), torch.from_numpy(np.sqrt(variances))
