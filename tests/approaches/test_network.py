"""Windows over clips of any length, and scores that do not depend on the batch."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from serlab.approaches.network import score, windows
from serlab.approaches.resnet import Settings as ResNetModel
from serlab.approaches.resnet.network import ResNet
from serlab.frontends.logmel import FLOOR_DB, LogMelSettings

LABELS = ("angry", "sad")


@given(frames=st.integers(1, 400), length=st.integers(2, 120))
def test_windows_cover_every_frame_and_overlap_by_half(frames: int, length: int) -> None:
    clip = np.arange(frames, dtype=np.float32)[:, None]

    found = windows(clip, length, fill=-1.0)

    assert {len(window) for window in found} == {length}
    assert {int(v) for window in found for v in window.ravel() if v >= 0} == set(range(frames))
    starts = [window[0, 0] for window in found]
    assert all(later - earlier <= (length + 1) // 2 for earlier, later in pairwise(starts))


def resnet(**settings) -> ResNet:
    torch.manual_seed(0)
    bands = 32
    model = ResNetModel(window=40, width=8, logmel=LogMelSettings(bands=bands), **settings)
    return ResNet(model, LABELS, torch.full((bands,), -40.0), torch.full((bands,), 15.0))


@pytest.mark.parametrize("settings", [{}, {"stem": "small", "pooling": "mean+std", "dropout": 0.3}])
def test_a_clip_scores_the_same_alone_in_mixed_lengths_and_in_any_order(settings: dict) -> None:
    network = resnet(**settings)
    random = np.random.default_rng(0)
    features = [network.frontend(random.normal(size=n).astype("f4")) for n in (3000, 9000, 9000, 31000, 16000)]

    together = score(network, features, "fp32")

    alone = np.concatenate([score(network, [clip], "fp32") for clip in features])
    backwards = score(network, features[::-1], "fp32")[::-1]
    assert np.abs(together - alone).max() < 1e-4
    assert np.abs(together - backwards).max() < 1e-4


@pytest.mark.parametrize("settings", [{}, {"stem": "small", "pooling": "mean+std"}])
def test_logits_in_bf16_are_not_rounded_to_bf16(settings: dict) -> None:
    network = resnet(**settings)
    random = np.random.default_rng(0)
    features = [network.frontend(random.normal(size=9000).astype("f4")) for _ in range(8)]

    found = score(network, features, "bf16")

    assert not np.isclose(found, torch.from_numpy(found).bfloat16().float(), rtol=1e-5, atol=0).all(axis=1).any()
    np.testing.assert_allclose(found, score(network, features, "fp32"), atol=0.02)


def test_filling_up_with_silence_equals_a_clip_that_ends_in_silence() -> None:
    network = resnet()
    clip = np.random.default_rng(1).normal(size=3200).astype("f4")
    quiet = np.concatenate([clip, np.zeros(160 * 39 - 3200 + 512, "f4")])

    filled = windows(network.frontend(clip), 40, network.fill)[0]
    real = network.frontend(quiet)[:40]

    assert network.fill == FLOOR_DB
    # Only the frames that straddle the clip's end differ: one sees the end cut off, the other
    # zeros.
    np.testing.assert_allclose(filled[23:], real[23:], atol=1e-3)
    np.testing.assert_allclose(filled[:18], real[:18], atol=1e-3)
