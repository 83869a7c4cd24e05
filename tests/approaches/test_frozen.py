"""Encoders cut in two give what plain transformers gives in one piece."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.approaches.test_encoder import ARCHITECTURES, LABELS, TINY, WHISPER, build, clips
from transformers import AutoConfig, AutoModelForAudioClassification, Wav2Vec2FeatureExtractor

from serlab.approaches.encoder import HeadSettings, frozen, whisper
from serlab.approaches.encoder import Settings as EncoderModel
from serlab.approaches.encoder import network as encoder
from serlab.approaches.encoder.network import SpeechEncoder
from serlab.approaches.network import score

POOLED = HeadSettings(kind="pooled", layers="weighted", pooling="mean+std")


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("head", [HeadSettings(), POOLED])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_frozen_layers_in_the_front_end_score_as_the_whole_encoder(
    architecture: str, head: HeadSettings, count: int
) -> None:
    whole = build(*ARCHITECTURES[architecture], head, freeze_conv=False)
    cut = build(*ARCHITECTURES[architecture], head, freeze_layers=count)
    cut.load_state_dict(whole.state_dict())
    samples = clips(16000, 20000, 16000)

    expected = score(whole, [whole.frontend(clip) for clip in samples], "fp32")

    assert cut.frontend.config["frontend"] == "frozen-layers"
    np.testing.assert_allclose(score(cut, [cut.frontend(clip) for clip in samples], "fp32"), expected, atol=1e-5)


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "whisper"])
def test_a_saved_folder_with_frozen_layers_loads_in_plain_transformers(architecture: str, tmp_path: Path) -> None:
    network = build(*ARCHITECTURES[architecture], freeze_layers=1)
    clip = clips(19000)[0]
    ours = score(network, [network.frontend(clip)], "fp32")
    network.save_weights(tmp_path)

    plain = AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
    values = network.frontend.before(clip)
    with torch.no_grad():
        theirs = plain(torch.from_numpy(values)[None]).logits.numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_only_what_is_above_is_trained_and_in_the_same_way(architecture: str) -> None:
    """A training step on finished states moves the upper layers as a step through the whole encoder does."""
    name, config = ARCHITECTURES[architecture]
    known = AutoConfig.for_model(name).to_dict()
    quiet = {key: 0.0 for key in known if key.endswith(("dropout", "layerdrop", "_prob"))}
    whole, cut = (build(name, {**config, **quiet}, freeze_layers=count) for count in (0, 1))
    cut.load_state_dict(whole.state_dict())
    samples = clips(16000, 16000)
    gradients = []
    for network in (whole, cut):
        network.train()
        features = torch.from_numpy(np.stack([network.frontend(clip) for clip in samples]))
        network(features).logsumexp(dim=1).sum().backward()
        gradients.append({key: value.grad for key, value in network.named_parameters() if value.grad is not None})
    assert set(gradients[1]) < set(gradients[0])
    assert any("layers.1." in key for key in gradients[1])
    assert not any("layers.0." in key for key in gradients[1])
    for key, gradient in gradients[1].items():
        torch.testing.assert_close(gradient, gradients[0][key], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("head", [HeadSettings(), POOLED])
def test_masks_and_layerdrop_apply_above_the_cut(head: HeadSettings) -> None:
    masked = {**TINY, "mask_time_prob": 0.5, "mask_time_length": 2, "layerdrop": 0.5 * (head.layers == "last")}
    network = build("wav2vec2", masked, head, freeze_layers=2)
    features = torch.from_numpy(network.frontend(clips(16000)[0]))[None]
    network.train()
    drawn = [network(features.clone()) for _ in range(2)]
    network.eval()
    still = [network(features.clone()) for _ in range(2)]
    assert not torch.equal(*drawn)
    assert torch.equal(*still)


def test_what_is_frozen_rests_while_the_network_trains() -> None:
    network = build("wav2vec2", TINY, freeze_layers=2)
    network.train()
    assert network.training
    assert network.layers[2].training
    assert not any(part.training for module in network.frozen for part in module.modules())


def test_fingerprints_follow_values_and_architecture_but_not_the_head_or_dropout() -> None:
    first, same = build("wav2vec2", TINY, freeze_layers=1), build("wav2vec2", TINY, freeze_layers=1)
    assert first.frontend.config == same.frontend.config
    other_dropout = build("wav2vec2", {**TINY, "hidden_dropout": 0.3, "mask_time_prob": 0.9}, freeze_layers=1)
    assert other_dropout.frontend.config == first.frontend.config
    other_activation = build("wav2vec2", {**TINY, "hidden_act": "relu"}, freeze_layers=1)
    assert other_activation.frontend.config != first.frontend.config
    with torch.no_grad():
        next(same.layers[0].parameters()).add_(1e-3)
    assert frozen.fingerprint(same.frozen, same.hf.config) != first.frontend.fingerprint


def test_plain_transformers_weighted_head_keeps_its_layers_uncached() -> None:
    network = build("wav2vec2", TINY, HeadSettings(layers="weighted"), freeze_layers=1)
    assert network.frontend.config["frontend"] == "convolutional"


def test_a_long_clip_is_cut_alike_below_and_above_whispers_frozen_layers() -> None:
    short = {**WHISPER, "max_source_positions": 40}
    whole, cut = (build("whisper", short, freeze_layers=count) for count in (0, 1))
    cut.load_state_dict(whole.state_dict())
    samples = clips(16000, 16160, 29000)
    expected = score(whole, [whole.frontend(clip) for clip in samples], "fp32")
    np.testing.assert_allclose(score(cut, [cut.frontend(clip) for clip in samples], "fp32"), expected, atol=1e-5)
    assert whisper.parts(81, 40) == [(0, 27), (27, 54), (54, 81)]


def test_a_loaded_folder_with_frozen_layers_scores_as_before(tmp_path: Path) -> None:
    settings = EncoderModel(architecture="wav2vec2", config=TINY, freeze_layers=2, head=POOLED)
    torch.manual_seed(0)
    network: SpeechEncoder = encoder.from_scratch(settings, LABELS)
    network.save_weights(tmp_path)
    loaded = encoder.from_folder(tmp_path, replace(settings), "fp32")
    clip = clips(12000)[0]
    assert loaded.frontend.config == network.frontend.config
    np.testing.assert_array_equal(
        score(loaded, [loaded.frontend(clip)], "fp32"), score(network, [network.frontend(clip)], "fp32")
    )
    assert Wav2Vec2FeatureExtractor.from_pretrained(tmp_path).sampling_rate == 16000
