"""Speech encoders: independence of the batch, parity with plain transformers, pretrained weights, freezing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForAudioClassification, Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from serlab.approaches.encoder import HeadSettings, heads
from serlab.approaches.encoder import Settings as EncoderModel
from serlab.approaches.encoder import network as encoder
from serlab.approaches.encoder.network import SpeechEncoder
from serlab.approaches.network import score
from serlab.core import UserError

LABELS = ("angry", "happy", "sad")
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
LAYER_NORM = {**TINY, "feat_extract_norm": "layer", "do_stable_layer_norm": True}
SEW = {**TINY, "conv_kernel": [10, 3, 3, 3, 3, 2, 2], "conv_stride": [5, 2, 2, 2, 2, 2, 2], "squeeze_factor": 2}
BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
WHISPER = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_layers": 1}
ARCHITECTURES = {
    "wav2vec2, group norm": ("wav2vec2", TINY),
    "wav2vec2, layer norm": ("wav2vec2", LAYER_NORM),
    "hubert": ("hubert", TINY),
    "wavlm": ("wavlm", TINY),
    "data2vec-audio": ("data2vec-audio", TINY),
    "wav2vec2-bert": ("wav2vec2-bert", BERT),
    "whisper": ("whisper", WHISPER),
}
HEADS = {
    "transformers": HeadSettings(),
    "transformers, weighted": HeadSettings(layers="weighted"),
    "attentive": HeadSettings(kind="pooled", layers="weighted", pooling="attentive"),
    "mean+std": HeadSettings(kind="pooled", pooling="mean+std"),
    "gru": HeadSettings(kind="pooled", pooling="gru"),
}


def clips(*lengths: int) -> list[np.ndarray]:
    random = np.random.default_rng(7)
    return [(0.1 * random.normal(size=length)).astype(np.float32) for length in lengths]


def build(architecture: str, config: dict, head: HeadSettings | None = None, **settings) -> SpeechEncoder:
    torch.manual_seed(3)
    head = head or HeadSettings()
    return encoder.from_scratch(EncoderModel(architecture=architecture, config=config, head=head, **settings), LABELS)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_clip_scores_the_same_alone_in_mixed_lengths_and_in_any_order(architecture: str, head: str) -> None:
    network = build(*ARCHITECTURES[architecture], HEADS[head])
    features = [network.frontend(clip) for clip in clips(16000, 20000, 16000, 31111, 8000)]

    together = score(network, features, "fp32")

    alone = np.concatenate([score(network, [clip], "fp32") for clip in features])
    backwards = score(network, features[::-1], "fp32")[::-1]
    assert np.abs(together - alone).max() < 1e-4
    assert np.abs(together - backwards).max() < 1e-4
    assert np.abs(together[0] - together[1]).max() > 1e-6


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("architecture", ["wav2vec2, group norm", "whisper"])
def test_logits_in_bf16_are_not_rounded_to_bf16(architecture: str, head: str) -> None:
    network = build(*ARCHITECTURES[architecture], HEADS[head])

    found = score(network, [network.frontend(clip) for clip in clips(16000, 20000, 16000)], "bf16")

    rounded = torch.from_numpy(found).bfloat16().float().numpy()
    assert (np.abs(found - rounded).max(axis=1) > 1e-5 * np.abs(found).max(axis=1)).all()


@pytest.mark.parametrize("architecture", ["wav2vec2, group norm", "wav2vec2, layer norm", "hubert", "wavlm"])
@pytest.mark.parametrize("head", ["transformers", "transformers, weighted"])
def test_saved_folder_gives_plain_transformers_the_same_logits(architecture: str, head: str, tmp_path: Path) -> None:
    network = build(*ARCHITECTURES[architecture], HEADS[head])
    clip = clips(19000)[0]
    ours = score(network, [network.frontend(clip)], "fp32")

    network.save_weights(tmp_path)

    plain = AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(tmp_path)
    with torch.no_grad():
        theirs = plain(**extractor(clip, sampling_rate=16000, return_tensors="pt")).logits.numpy()
    assert not network.needs_serlab
    assert plain.config.id2label == dict(enumerate(LABELS))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_a_loaded_folder_scores_as_the_model_that_was_saved(head: str, tmp_path: Path) -> None:
    settings = EncoderModel(architecture="wav2vec2", config=TINY, head=HEADS[head])
    network = build("wav2vec2", TINY, HEADS[head])
    features = [network.frontend(clip) for clip in clips(9000, 12000)]
    network.save_weights(tmp_path)

    loaded = encoder.from_folder(tmp_path, settings, "fp32")

    np.testing.assert_array_equal(
        score(network, features, "fp32"),
        score(loaded, [loaded.frontend(clip) for clip in clips(9000, 12000)], "fp32"),
    )


def test_whisper_on_its_own_length_stays_close_to_the_30_s_path_of_the_encoder() -> None:
    network = build("whisper", WHISPER)
    features = torch.from_numpy(network.frontend(clips(480_000)[0]))[None]
    with torch.no_grad():
        ours = network.hidden_states(features)[-1]
        theirs = network.base(features.transpose(1, 2)).last_hidden_state
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_clips_longer_than_whispers_30_s_are_scored_in_parts() -> None:
    network = build("whisper", WHISPER)
    features = network.frontend(clips(16000 * 45)[0])

    parts = network.segments(features)

    assert [len(part) for part in parts] == [2250, 2250]
    whole = score(network, [features], "fp32")
    np.testing.assert_allclose(whole[0], score(network, parts, "fp32").mean(axis=0), atol=1e-5)
    assert network.longest == 30.0


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    """A checkpoint in the format of facebook/wav2vec2-base: the bare encoder, no classifier."""
    torch.manual_seed(5)
    model = Wav2Vec2Model(Wav2Vec2Config(**TINY))
    folder = tmp_path / "wav2vec2-random"
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False).save_pretrained(folder)
    return folder


def test_pretrained_weights_are_really_loaded_and_only_the_head_is_new(pretrained: Path) -> None:
    torch.manual_seed(11)
    network = encoder.from_checkpoint(EncoderModel(checkpoint=str(pretrained)), LABELS, "fp32")

    state = network.hf.wav2vec2.state_dict()
    for name, tensor in Wav2Vec2Model.from_pretrained(pretrained).state_dict().items():
        torch.testing.assert_close(state[name], tensor, msg=name)
    assert network.hf.classifier.out_features == 3


def test_weights_in_half_precision_are_computed_with_in_fp32(pretrained: Path) -> None:
    state = {name: tensor.half() for name, tensor in load_file(pretrained / "model.safetensors").items()}
    save_file(state, pretrained / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((pretrained / "config.json").read_text())
    (pretrained / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))

    network = encoder.from_checkpoint(EncoderModel(checkpoint=str(pretrained)), LABELS, "fp32")

    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_a_missing_encoder_weight_is_refused_by_name(pretrained: Path) -> None:
    state = load_file(pretrained / "model.safetensors")
    del state["encoder.layers.1.attention.q_proj.weight"]
    save_file(state, pretrained / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(UserError, match=r"lacks the weight .*layers\.1\.attention\.q_proj\.weight"):
        encoder.from_checkpoint(EncoderModel(checkpoint=str(pretrained)), LABELS, "fp32")


def test_frozen_parts_do_not_train_and_stay_in_evaluation_mode() -> None:
    network = build("wav2vec2", TINY, freeze_layers=2)

    network.train()

    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert not any("feature_extractor" in name or "feature_projection" in name for name in trained)
    assert not any(f"layers.{i}." in name for name in trained for i in (0, 1))
    assert any("layers.2." in name for name in trained)
    assert not network.layers[1].training
    assert network.layers[2].training
    with pytest.raises(UserError, match="freeze_layers is 9; the encoder has 3"):
        build("wav2vec2", TINY, freeze_layers=9)


def test_frozen_convolutions_give_the_same_logits_in_the_front_end_as_inside_the_network() -> None:
    frozen, whole = build("wav2vec2", TINY), build("wav2vec2", TINY, freeze_conv=False)
    clip = clips(14000)[0]

    inside = score(whole, [whole.frontend(clip)], "fp32")

    outside = score(frozen, [frozen.frontend(clip)], "fp32")
    assert frozen.frontend(clip).shape == (43, 16)
    assert whole.frontend(clip).shape == (14000,)
    np.testing.assert_allclose(inside, outside, atol=1e-6)


@pytest.mark.parametrize("freeze_conv", [True, False])
@pytest.mark.parametrize(("kind", "config"), [("wav2vec2", TINY), ("wav2vec2-bert", BERT)])
def test_clips_shorter_than_a_time_mask_are_trained_on_unmasked(kind: str, config: dict, freeze_conv: bool) -> None:
    network = build(kind, {**config, "mask_time_prob": 0.5}, freeze_conv=freeze_conv).train()
    short, long = (np.stack([network.frontend(clip) for clip in clips(n, n)]) for n in (2400, 16000))

    assert torch.isfinite(network(torch.from_numpy(short))).all()
    assert torch.isfinite(network(torch.from_numpy(long))).all()
    assert network.hf.config.apply_spec_augment


def test_layers_know_their_depth() -> None:
    network = build("wav2vec2", TINY)
    depths = {name: network.depth_of(name) for name, _ in network.named_parameters()}

    assert depths["hf.classifier.weight"] is None
    assert depths["hf.wav2vec2.encoder.layers.2.attention.q_proj.weight"] == 0
    assert depths["hf.wav2vec2.encoder.layers.0.attention.q_proj.weight"] == 2
    assert depths["hf.wav2vec2.feature_projection.projection.weight"] == 3
    # As published recipes were trained.
    assert depths["hf.wav2vec2.encoder.layer_norm.weight"] == 3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_only_what_is_in_a_layer_has_its_depth(architecture: str) -> None:
    network = build(*ARCHITECTURES[architecture], freeze_conv=False)
    numbers = {id(part): number for number, layer in enumerate(network.layers) for part in layer.parameters()}
    for name, parameter in network.named_parameters():
        depth, number = network.depth_of(name), numbers.get(id(parameter))
        if number is None:
            assert depth in (None, len(network.layers)), name
        else:
            assert depth == len(network.layers) - 1 - number, name


def test_an_unknown_architecture_is_one_sentence() -> None:
    with pytest.raises(UserError, match="cannot build a 'wav2vec9' encoder"):
        build("wav2vec9", {})


def test_an_encoder_that_is_not_a_speech_encoder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="cannot be loaded as a speech encoder"):
        encoder.from_checkpoint(EncoderModel(checkpoint=str(tmp_path)), LABELS, "fp32")


@pytest.mark.slow
def test_wav2vec2_base_at_its_real_size_trains_saves_and_loads_in_plain_transformers(tmp_path: Path) -> None:
    """Random weights in the format of facebook/wav2vec2-base: speed and shapes are real, the values are not."""
    torch.manual_seed(0)
    folder = tmp_path / "wav2vec2-base"
    Wav2Vec2Model(Wav2Vec2Config()).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False).save_pretrained(folder)
    network = encoder.from_checkpoint(EncoderModel(checkpoint=str(folder)), LABELS, "fp32")
    assert 94e6 < sum(p.numel() for p in network.hf.wav2vec2.parameters()) < 95e6
    features = np.stack([network.frontend(clip) for clip in clips(16000, 16000)])
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-4)
    before = network.hf.wav2vec2.encoder.layers[0].attention.q_proj.weight.clone()
    stem = network.hf.wav2vec2.feature_extractor.conv_layers[0].conv.weight.clone()

    network.train()
    loss = torch.nn.functional.cross_entropy(network(torch.from_numpy(features)), torch.tensor([0, 2]))
    loss.backward()
    optimizer.step()

    assert not torch.equal(before, network.hf.wav2vec2.encoder.layers[0].attention.q_proj.weight)
    assert torch.equal(stem, network.hf.wav2vec2.feature_extractor.conv_layers[0].conv.weight)
    clip = clips(24000)[0]
    ours = score(network, [network.frontend(clip)], "fp32")
    network.save_weights(tmp_path / "trained")
    plain = AutoModelForAudioClassification.from_pretrained(tmp_path / "trained").eval()
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(tmp_path / "trained")
    with torch.no_grad():
        theirs = plain(**extractor(clip, sampling_rate=16000, return_tensors="pt")).logits.numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("architecture", ["unispeech", "unispeech-sat", "sew", "wav2vec2-conformer"])
def test_the_rest_of_the_family_trains_too(architecture: str) -> None:
    network = build(architecture, {**(SEW if architecture == "sew" else TINY), "layerdrop": 0.0})
    features = np.stack([network.frontend(clip) for clip in clips(16000, 16000)])
    network.train()(torch.from_numpy(features)).sum().backward()
    assert any(parameter.grad is not None for parameter in network.layers[0].parameters())


@pytest.mark.parametrize("architecture", ["sew", "wav2vec2-conformer"])
def test_layers_that_cannot_be_cut_off_cannot_be_frozen(architecture: str) -> None:
    with pytest.raises(UserError, match=f"freeze_layers does not work with {architecture}"):
        build(architecture, SEW if architecture == "sew" else TINY, freeze_layers=1)


@pytest.mark.parametrize("architecture", ["sew-d", "audio-spectrogram-transformer", "bert"])
def test_what_is_not_trained_is_refused_by_name(architecture: str) -> None:
    with pytest.raises(UserError, match=f"cannot build a '{architecture}' encoder"):
        build(architecture, {})


def test_a_mask_wider_than_the_features_is_refused() -> None:
    with pytest.raises(UserError, match=r"mask_feature_length is 64; it must be from 1 to 32"):
        build("wav2vec2", {**TINY, "mask_feature_prob": 0.05, "mask_feature_length": 64})


def test_a_head_of_every_pooling_is_trained() -> None:
    for pooling in heads.names():
        network = build("wav2vec2", TINY, HeadSettings(kind="pooled", pooling=pooling)).train()
        network(torch.from_numpy(network.frontend(clips(9000)[0]))[None]).logsumexp(dim=1).sum().backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters() if "head." in name}
        assert all(gradient is not None and gradient.any() for gradient in gradients.values()), pooling


def test_a_recurrent_head_depends_on_the_order_of_frames() -> None:
    frames = torch.randn(1, 9, 32, generator=torch.Generator().manual_seed(0))
    for pooling, ordered in (("gru", True), ("mean", False)):
        torch.manual_seed(0)
        head = heads.get(pooling)(HeadSettings(kind="pooled", pooling=pooling), 32, 1, 3).eval()
        assert torch.allclose(head([frames]), head([frames.flip(1)]), atol=1e-5) is not ordered


def test_layers_that_may_be_dropped_cannot_be_weighted() -> None:
    weighted = EncoderModel(architecture="wav2vec2", config={**TINY, "layerdrop": 0.1}, head=HEADS["attentive"])
    with pytest.raises(UserError, match=r"model.head.layers=weighted needs model.config.layerdrop=0.0"):
        encoder.from_recipe(weighted, LABELS, "fp32", recipe="mine")


def test_an_unknown_pooling_is_refused_with_those_that_exist() -> None:
    with pytest.raises(UserError, match=r"'grus'.*did you mean 'gru'"):
        HeadSettings(kind="pooled", pooling="grus")
