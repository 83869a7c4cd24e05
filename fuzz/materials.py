"""Valid inputs: a small corpus, small models of every kind, and checkpoints from other programs."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

LABELS = ("calm", "happy", "sad")
SPEAKERS = 12
TAKES = 2
_RATE = 16000
_SEED = 0

_ENCODER = {
    # Large enough that any changed setting changes the scores.
    "initializer_range": 0.2,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8, 8],
    "conv_kernel": [10, 8],
    "conv_stride": [40, 8],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}
_TRANSFORMER = ("initializer_range", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
_WHISPER = {
    "init_std": 0.2,
    "d_model": 16,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 32,
    "num_mel_bins": 80,
}
RECIPES = {
    "resnet": """
title: Tiny ResNet
model: {kind: resnet, stem: small, width: 8, pooling: mean+std, window: 24, logmel: {bands: 24, hop: 256}}
training: {epochs: 1, batch_size: 16, learning_rate: 2.0e-3, precision: fp32}
""",
    "encoder": """
title: Tiny Wav2Vec2, from scratch
model:
  kind: encoder
  architecture: wav2vec2
  freeze_conv: false
  config:
    conv_dim: [8, 8]
    conv_kernel: [10, 8]
    conv_stride: [40, 8]
    num_feat_extract_layers: 2
    feat_extract_norm: layer
    hidden_size: 16
    num_hidden_layers: 2
    num_attention_heads: 2
    intermediate_size: 32
    num_conv_pos_embeddings: 4
    num_conv_pos_embedding_groups: 2
  head: {projection: 16}
training: {epochs: 1, batch_size: 16, precision: fp32}
""",
    "whisper": """
title: Tiny Whisper
model: {kind: encoder, checkpoint: CHECKPOINT, freeze_layers: 1, head: {projection: 16}}
training: {epochs: 1, batch_size: 16, precision: fp32}
""",
    "probe": """
title: Tiny probe
model: {kind: probe, checkpoint: CHECKPOINT}
training: {precision: fp32}
""",
    "svm": """
title: Tiny SVM
model: {kind: svm}
""",
}
READ_BY_SERLAB = ("wav2vec2", "hubert", "wavlm", "wav2vec2-bert", "whisper")
"""Families of checkpoints that serlab has always read."""


def corpus(folder: Path) -> Path:
    """Write noisy tones whose pitch determines the label, and a table of them; return the table's path."""
    noise = np.random.default_rng(_SEED)
    rows = []
    folder.mkdir(parents=True, exist_ok=True)
    for hertz, label in zip((150, 500, 1500), LABELS, strict=True):
        for speaker in range(SPEAKERS):
            for take in range(TAKES):
                time = np.arange(round((0.3 + 0.1 * take) * _RATE)) / _RATE
                wave = 0.3 * np.sin(2 * np.pi * hertz * (1 + 0.03 * speaker) * time)
                name = f"s{speaker:02}_{label}_{take}.wav"
                soundfile.write(folder / name, wave + 0.02 * noise.standard_normal(len(time)), _RATE)
                rows.append({"path": name, "label": label, "speaker": f"s{speaker:02}"})
    table = folder / "tiny.csv"
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["path", "label", "speaker"])
        writer.writeheader()
        writer.writerows(rows)
    return table


def recipes(folder: Path, checkpoint: Path) -> dict[str, Path]:
    """Write recipes that train in a second; return them by kind."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"tiny-{name}.yaml" for name in RECIPES}
    for name, path in paths.items():
        path.write_text(RECIPES[name].replace("CHECKPOINT", str(checkpoint)), encoding="utf-8")
    return paths


def trained(seeds: Path, names: tuple[str, ...] = tuple(RECIPES)) -> dict[str, Path]:
    """Train a small model of each kind; returns the model folders by kind."""
    from serlab.experiments.compare import compare

    table = corpus(seeds / "corpus")
    checkpoint = foreign(seeds / "foreign", "whisper") if {"whisper", "probe"} & set(names) else Path("none")
    written = recipes(seeds / "recipes", checkpoint)
    chosen = [str(written[name]) for name in names]
    done = compare(str(table), chosen, protocol="speaker-2", folds=[1], out=seeds / "runs", keep_models=True)
    return dict(zip(names, done.models, strict=True))


def foreign(folder: Path, family: str) -> Path:
    """Save a random audio classifier of a model family with plain transformers; return its folder."""
    import torch
    import transformers

    hf: Any = transformers
    labels = {"id2label": dict(enumerate(LABELS)), "label2id": {label: i for i, label in enumerate(LABELS)}}
    torch.manual_seed(_SEED)
    place = folder / family
    if place.exists():
        return place
    _FAMILIES[family](hf, labels, place)
    return place


def _of_wav2vec2(name: str, **more: Any) -> Callable[[Any, dict[str, Any], Path], None]:
    def save(hf: Any, labels: dict[str, Any], place: Path) -> None:
        config = getattr(hf, f"{name}Config")(**_ENCODER, **more, **labels, classifier_proj_size=16)
        getattr(hf, f"{name}ForSequenceClassification")(config).save_pretrained(place)
        hf.Wav2Vec2FeatureExtractor().save_pretrained(place)

    return save


def _whisper(hf: Any, labels: dict[str, Any], place: Path) -> None:
    config = hf.WhisperConfig(**_WHISPER, **labels, classifier_proj_size=16)
    hf.WhisperForAudioClassification(config).save_pretrained(place)
    hf.WhisperFeatureExtractor().save_pretrained(place)


def _wav2vec2_bert(hf: Any, labels: dict[str, Any], place: Path) -> None:
    small = {name: _ENCODER[name] for name in _TRANSFORMER}
    config = hf.Wav2Vec2BertConfig(**small, **labels, classifier_proj_size=16, feature_projection_input_dim=160)
    hf.Wav2Vec2BertForSequenceClassification(config).save_pretrained(place)
    hf.SeamlessM4TFeatureExtractor().save_pretrained(place)


def _spectrogram_transformer(hf: Any, labels: dict[str, Any], place: Path) -> None:
    small = {name: _ENCODER[name] for name in _TRANSFORMER}
    hf.ASTForAudioClassification(hf.ASTConfig(**small, **labels, max_length=64)).save_pretrained(place)
    hf.ASTFeatureExtractor(max_length=64).save_pretrained(place)


def _image_model(hf: Any, labels: dict[str, Any], place: Path) -> None:
    config = hf.ResNetConfig(embedding_size=4, hidden_sizes=[4, 4], depths=[1, 1], layer_type="basic", **labels)
    hf.ResNetForImageClassification(config).save_pretrained(place)


def _text_model(hf: Any, labels: dict[str, Any], place: Path) -> None:
    small = {name: _ENCODER[name] for name in _TRANSFORMER}
    hf.BertForSequenceClassification(hf.BertConfig(**small, **labels, vocab_size=50)).save_pretrained(place)


_FAMILIES: dict[str, Callable[[Any, dict[str, Any], Path], None]] = {
    "wav2vec2": _of_wav2vec2("Wav2Vec2"),
    "hubert": _of_wav2vec2("Hubert"),
    "wavlm": _of_wav2vec2("WavLM"),
    "unispeech": _of_wav2vec2("UniSpeech"),
    "unispeech-sat": _of_wav2vec2("UniSpeechSat"),
    "sew": _of_wav2vec2("SEW", squeeze_factor=2),
    "data2vec-audio": _of_wav2vec2("Data2VecAudio"),
    "wav2vec2-conformer": _of_wav2vec2("Wav2Vec2Conformer"),
    "wav2vec2-bert": _wav2vec2_bert,
    "whisper": _whisper,
    "ast": _spectrogram_transformer,
    "image": _image_model,
    "text": _text_model,
}
FAMILIES = tuple(_FAMILIES)
KINDS = tuple(RECIPES)
"""Models that serlab itself trains."""
