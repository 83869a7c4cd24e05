"""Audio classifiers of transformers: every architecture of the installed version scores like its own pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tests.approaches.ways import force
from tests.conftest import Ended, MakeTone
from transformers.models.auto.modeling_auto import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES

from serlab.approaches import plain
from serlab.approaches.encoder import layers
from serlab.approaches.int8 import Int8Linear
from serlab.checkpoints.preprocessor import FAMILIES
from serlab.core import UserError
from serlab.model.folder import load

LABELS = ("angry", "calm", "happy", "sad")
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
HEAD = {"classifier_proj_size": 16}
WAVE = {
    **SMALL, **HEAD, "conv_dim": [16] * 4, "conv_kernel": [10, 8, 4, 4], "conv_stride": [5, 4, 4, 4],
    "num_feat_extract_layers": 4, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
WHISPER = {
    **HEAD, "d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64,
    "decoder_layers": 1,
    "max_source_positions": 100, "vocab_size": 20, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "decoder_start_token_id": 1, "begin_suppress_tokens": None,
}  # fmt: skip
AST = {**SMALL, "max_length": 128, "num_mel_bins": 32}
LAYER = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
WEIGHTED = {"use_weighted_layer_sum": True}

# Model type, fields of its configuration, fields of its feature extractor.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    **{
        kind: (kind, {**WAVE, "squeeze_factor": 2} if kind.startswith("sew") else WAVE, {})
        for kind, family in FAMILIES.items()
        if family.extractor is transformers.Wav2Vec2FeatureExtractor
    },
    "wav2vec2, layer norm": ("wav2vec2", {**WAVE, **LAYER}, {"return_attention_mask": True}),
    "wav2vec2, group norm and mask": ("wav2vec2", WAVE, {"return_attention_mask": True}),
    "wav2vec2, weighted layers": ("wav2vec2", {**WAVE, **WEIGHTED}, {}),
    "wav2vec2, as it is": ("wav2vec2", {**WAVE, **LAYER}, {"do_normalize": False}),
    "hubert, mask, as it is": ("hubert", {**WAVE, **LAYER}, {"return_attention_mask": True, "do_normalize": False}),
    "wavlm, weighted layers": ("wavlm", {**WAVE, **LAYER, **WEIGHTED}, {"return_attention_mask": True}),
    "sew, mask": ("sew", {**WAVE, "squeeze_factor": 2}, {"return_attention_mask": True}),
    "sew-d, mask": ("sew-d", {**WAVE, "squeeze_factor": 2}, {"return_attention_mask": True}),
    "unispeech-sat, weighted": ("unispeech-sat", {**WAVE, **LAYER, **WEIGHTED}, {"return_attention_mask": True}),
    "conformer, rotary": ("wav2vec2-conformer", {**WAVE, "position_embeddings_type": "rotary"}, {}),
    "wav2vec2-bert": ("wav2vec2-bert", {**SMALL, **HEAD}, {"padding_value": 1}),
    "wav2vec2-bert, weighted": ("wav2vec2-bert", {**SMALL, **HEAD, **WEIGHTED}, {}),
    "wav2vec2-bert, no mask": ("wav2vec2-bert", {**SMALL, **HEAD}, {"return_attention_mask": False}),
    "whisper": ("whisper", WHISPER, {"chunk_length": 2}),
    "whisper, weighted": ("whisper", {**WHISPER, **WEIGHTED}, {"chunk_length": 2, "return_attention_mask": True}),
    "whisper, 128 bands": ("whisper", {**WHISPER, "num_mel_bins": 128}, {"chunk_length": 2, "feature_size": 128}),
    "ast": ("audio-spectrogram-transformer", AST, {"max_length": 128, "num_mel_bins": 32}),
    "ast, own statistics": (
        "audio-spectrogram-transformer", AST, {"max_length": 128, "num_mel_bins": 32, "mean": -3.0, "std": 2.5},
    ),
    "ast, as it is": (
        "audio-spectrogram-transformer", AST, {"max_length": 128, "num_mel_bins": 32, "do_normalize": False},
    ),
}  # fmt: skip
Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Save a tiny random classifier as transformers does, in the folder ``model``."""

    def call(case: str = "wav2vec2", **fields: Any) -> Path:
        kind, config, extractor = CASES[case]
        names = {"id2label": dict(enumerate(LABELS)), "label2id": {name: i for i, name in enumerate(LABELS)}}
        torch.manual_seed(1)
        settings = transformers.AutoConfig.for_model(kind, **{**names, **config, **fields})
        model = transformers.AutoModelForAudioClassification.from_config(settings, trust_remote_code=False)
        with torch.no_grad():
            # With their initial heads, some of them give all clips nearly the same scores.
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape))
        model.save_pretrained(tmp_path / "model")
        FAMILIES[kind].extractor(**extractor).save_pretrained(tmp_path / "model")
        return tmp_path / "model"

    return call


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def clips(*lengths: int) -> list[np.ndarray]:
    """Quiet tones of different pitch in noise, with an offset, so that normalisation changes them."""
    random = np.random.default_rng(7)
    pitches = (150, 3000, 600, 1500, 300, 6000)
    tones = [
        np.sin(2 * np.pi * hertz * np.arange(length) / 16000) for length, hertz in zip(lengths, pitches, strict=False)
    ]
    return [(0.01 + 0.05 * tone + 0.005 * random.normal(size=len(tone))).astype(np.float32) for tone in tones]


def by_pipeline(folder: Path, samples: list[np.ndarray]) -> np.ndarray:
    """Probabilities from transformers' own pipeline, clip by clip."""
    pipe = transformers.pipeline("audio-classification", model=str(folder), device="cpu", trust_remote_code=False)
    found = [{row["label"]: row["score"] for row in pipe(clip, top_k=None)} for clip in samples]
    return np.array([[row[label] for label in LABELS] for row in found])


def by_serlab(folder: Path, samples: list[np.ndarray], precision: str = "fp32") -> np.ndarray:
    classifier = load(folder, precision)
    assert classifier.labels == LABELS
    logits = classifier.logits([classifier.frontend(clip) for clip in samples]).astype(float)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def test_the_table_has_every_architecture_of_the_installed_transformers() -> None:
    tried = {kind for kind, _, _ in CASES.values()}
    assert tried == set(MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES) == set(FAMILIES)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_probabilities_are_those_of_transformers_pipeline(case: str, save: Save) -> None:
    folder = save(case)
    samples = clips(16000, 21017, 16000, 47999, 8000, 2100)

    ours = by_serlab(folder, samples)

    np.testing.assert_allclose(ours, by_pipeline(folder, samples), atol=1e-4)
    assert np.ptp(ours, axis=0).max() > 1e-3
    classifier = load(folder, "fp32")
    found = classifier.scored([classifier.frontend(clip) for clip in samples])
    hf = classifier.network.hf
    with torch.no_grad():
        projected = getattr(hf, "projector", torch.nn.Identity())(torch.from_numpy(found.embeddings))
        np.testing.assert_allclose(hf.classifier(projected), found.logits, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ways", [("products", "packed", "fourier"), ("convolutions", "held", "fourier")])
@pytest.mark.parametrize("case", ["wav2vec2", "wav2vec2, layer norm", "wavlm", "data2vec-audio", "whisper"])
def test_they_are_the_same_in_every_way(
    case: str, ways: tuple[str, ...], save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    force(monkeypatch, *ways)
    folder = save(case)
    samples = clips(16000, 21017, 16000)
    np.testing.assert_allclose(by_serlab(folder, samples), by_pipeline(folder, samples), atol=1e-5)
    layer = load(folder, "fp32").network.layers[0]
    with torch.no_grad():
        assert layers.can_hold(layer, torch.zeros(1, 3, 32))


@pytest.mark.filterwarnings("ignore")
def test_an_extractor_inside_a_processor_counts_before_the_one_beside_it(save: Save) -> None:
    folder = save("wav2vec2, layer norm")
    beside = json.loads((folder / "preprocessor_config.json").read_text())
    nested = {"feature_extractor": {**beside, "do_normalize": False}, "processor_class": "Wav2Vec2Processor"}
    (folder / "processor_config.json").write_text(json.dumps(nested))
    samples = clips(16000, 12000)
    both = by_serlab(folder, samples)
    np.testing.assert_allclose(both, by_pipeline(folder, samples), atol=1e-4)

    (folder / "preprocessor_config.json").unlink()

    np.testing.assert_array_equal(by_serlab(folder, samples), both)
    (folder / "processor_config.json").unlink()
    (folder / "preprocessor_config.json").write_text(json.dumps(beside))
    assert np.abs(by_serlab(folder, samples) - both).max() > 1e-3


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ["wav2vec2", "sew-d", "whisper", "ast", "wav2vec2-bert", "conformer, rotary"])
def test_int8_is_close_to_fp32(case: str, save: Save) -> None:
    folder = save(case)
    samples = clips(16000, 20000)
    rough = load(folder, "int8")
    assert any(isinstance(module, Int8Linear) for module in rough.network.modules())  # type: ignore[attr-defined]
    np.testing.assert_allclose(by_serlab(folder, samples, "int8"), by_serlab(folder, samples), atol=0.1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ["wav2vec2", "sew-d", "whisper", "ast", "wav2vec2-bert"])
def test_logits_in_bf16_are_not_rounded_to_bf16(case: str, save: Save) -> None:
    model = load(save(case), "bf16")

    found = model.logits([model.frontend(clip) for clip in clips(16000, 20000)])

    rounded = torch.from_numpy(found).bfloat16().float().numpy()
    assert (np.abs(found - rounded).max(axis=1) > 1e-5 * np.abs(found).max(axis=1)).all()


@pytest.mark.filterwarnings("ignore")
def test_weights_in_shards_and_in_half_precision(save: Save) -> None:
    folder = save()
    samples = clips(16000)
    whole = by_serlab(folder, samples)
    model = transformers.AutoModelForAudioClassification.from_pretrained(folder, trust_remote_code=False)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="50KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    np.testing.assert_allclose(by_serlab(folder, samples), whole, atol=1e-6)
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    model.half().save_pretrained(folder)
    np.testing.assert_allclose(by_serlab(folder, samples), whole, atol=0.01)


def test_what_a_model_ignores_is_reported_once(save: Save, capfd: pytest.CaptureFixture[str]) -> None:
    classifier = load(save("whisper"), "fp32")
    capfd.readouterr()
    for clip in clips(16000, 40000, 50000):
        classifier.frontend(clip)
    assert capfd.readouterr().err == "the model uses the first 2 s of a clip and ignores the rest.\n"


def test_a_clip_that_is_too_short_for_a_model_is_left_out(
    save: Save, serlab: Callable[..., Ended], make_tone: MakeTone, tmp_path: Path
) -> None:
    folder = save(conv_stride=[5, 4, 8, 8], conv_kernel=[10, 8, 16, 32])
    ended = serlab("predict", "--model", folder, make_tone(tmp_path / "a.wav", seconds=0.3))
    assert ended.code == 1
    assert "shorter than the 0.331562 s that the model needs" in ended.err


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "8 kHz": ("preprocessor_config.json", {"sampling_rate": 8000}, "sampling_rate is 8000"),
    "44.1 kHz": ("preprocessor_config.json", {"sampling_rate": 44100}, "sampling_rate is 44100"),
    "a rate in words": ("preprocessor_config.json", {"sampling_rate": "16000"}, "sampling_rate is '16000'"),
    "normalise in words": ("preprocessor_config.json", {"do_normalize": "no"}, "do_normalize is 'no'"),
    "another extractor": (
        "preprocessor_config.json", {"feature_extractor_type": "EncodecFeatureExtractor"}, "EncodecFeatureExtractor",
    ),
    "regression": ("config.json", {"problem_type": "regression"}, "problem_type 'regression'"),
    "multi-label": ("config.json", {"problem_type": "multi_label_classification"}, "'multi_label_classification'"),
    "a gap in the labels": ("config.json", {"id2label": {"0": "a", "1": "b", "3": "c", "4": "d"}}, "no label 2"),
    "labels without numbers": ("config.json", {"id2label": {"a": "x", "b": "y"}}, "no label 0"),
    "a label twice": ("config.json", {"id2label": {"0": "a", "1": "a", "2": "b", "3": "c"}}, "'a' twice"),
    "a label that is a number": ("config.json", {"id2label": {"0": 1, "1": "a", "2": "b", "3": "c"}}, "label 1"),
    "a label with an escape": ("config.json", {"id2label": {"0": "\x1b[2J", "1": "b", "2": "c", "3": "d"}}, r"\\x1b"),
    "one label": ("config.json", {"id2label": {"0": "a"}}, "1 labels"),
    "a label less than the head": ("config.json", {"id2label": {"0": "a", "1": "b", "2": "c"}}, "classifier"),
    "quantised": ("config.json", {"quantization_config": {"quant_method": "gptq"}}, "quantization_config"),
    "no such type": ("config.json", {"model_type": "wav2vec9"}, "model_type 'wav2vec9'"),
    "a type that is no word": ("config.json", {"model_type": ["wav2vec2"]}, "model_type"),
    "a text model": ("config.json", {"model_type": "bert"}, "model_type 'bert'"),
    "a layer less than its weights": ("config.json", {"num_hidden_layers": 1}, r"layers\.1\."),
    "a layer more than its weights": ("config.json", {"num_hidden_layers": 3}, r"layers\.2\."),
    "frames without end": ("config.json", {"conv_stride": [1, 1, 1, 1]}, "conv_stride"),
    "a size beyond memory": ("config.json", {"hidden_size": 10**12}, "hidden_size"),
    "more layers than memory": ("config.json", {"num_hidden_layers": 10**8}, "num_hidden_layers"),
    "a larger model than its weights": ("config.json", {"hidden_size": 65536}, "numbers, and its weights"),
    "scores that are no numbers": ("config.json", {"layer_norm_eps": -1.0}, "not finite"),
    "an adapter": ("config.json", {"add_adapter": True}, "cannot be loaded.*adapter"),
    "heads that do not fit": ("config.json", {"num_attention_heads": 7}, "cannot be loaded"),
    "another activation": ("config.json", {"hidden_act": "sqrt"}, "cannot be loaded"),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_what_is_not_supported_is_refused_by_name(why: str, save: Save) -> None:
    folder = save()
    file, fields, words = REFUSED[why]
    change(folder / file, **fields)
    with pytest.raises(UserError, match=words) as caught:
        load(folder, "fp32")
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("case", "fields", "words"),
    [
        ("whisper", {"feature_size": 128}, "feature_size is 128, and config.json has num_mel_bins 80"),
        ("whisper", {"chunk_length": 30}, "cannot be loaded"),
        ("whisper", {"dither": 0.1}, "dither is 0.1"),
        ("ast", {"max_length": 64}, "max_length is 64"),
        ("ast", {"std": 0}, "std is 0"),
        ("wav2vec2-bert", {"stride": 1}, "stride"),
    ],
)
def test_an_extractor_that_does_not_fit_its_model_is_refused(case: str, fields: Any, words: str, save: Save) -> None:
    folder = save(case)
    change(folder / "preprocessor_config.json", **fields)
    with pytest.raises(UserError, match=words) as caught:
        load(folder, "fp32")
    assert str(folder) in str(caught.value)


def test_a_model_without_an_extractor_is_refused(save: Save) -> None:
    folder = save()
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match=r"neither preprocessor_config\.json nor processor_config\.json"):
        load(folder)


def test_an_adapter_beside_the_weights_is_refused(save: Save) -> None:
    folder = save()
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="merge it"):
        load(folder)


def test_how_to_compute_is_not_the_checkpoints_choice(save: Save) -> None:
    folder = save()
    samples = clips(16000)
    before = by_serlab(folder, samples)
    change(
        folder / "config.json", attn_implementation="someone/kernel", _attn_implementation="someone/kernel",
        return_dict=False, output_hidden_states=True, output_attentions=True,
    )  # fmt: skip
    np.testing.assert_array_equal(by_serlab(folder, samples), before)


def test_memory_is_bounded_for_many_clips_of_one_length() -> None:
    assert plain.PlainClassifier.most_values <= 60 * 16000
