"""Voices are compared if a speaker encoder is available; it is never downloaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch
from tests.conftest import write_csv
from tests.recordings.conftest import RATE, take
from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMForXVector

from serlab.corpora import load_corpus
from serlab.corpora.base import Corpus
from serlab.leaks.voices import CHECKPOINT, check_voices


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    rows = []
    for speaker, voice in (("anna", 1), ("ben", 2), ("anna again", 1)):
        for number in range(2):
            name = f"{speaker} {number}.wav"
            soundfile.write(tmp_path / name, take(voice, number, 1.2), RATE)
            rows.append({"path": name, "label": ("calm", "sad")[number], "speaker": speaker})
    write_csv(tmp_path / "clips.csv", rows)
    return load_corpus(str(tmp_path / "clips.csv"))


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    config = WavLMConfig(
        conv_dim=[8, 8], conv_kernel=[10, 8], conv_stride=[20, 16], num_feat_extract_layers=2, hidden_size=16,
        num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2, tdnn_dim=[16, 16, 16, 16, 32], xvector_output_dim=16,
    )  # fmt: skip
    folder = tmp_path / "models" / CHECKPOINT.rsplit("/", 1)[1]
    WavLMForXVector(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    monkeypatch.setenv("SERLAB_MODELS", str(tmp_path / "models"))


def test_without_an_encoder_it_is_not_applicable(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERLAB_MODELS", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (finding,) = check_voices(corpus, set(corpus.clips["clip"]))
    assert (finding.code, finding.severity) == ("SL010", "not applicable")


def test_without_speakers_it_is_not_applicable(corpus: Corpus) -> None:
    (finding,) = check_voices(replace(corpus, speakers_known=False), set(corpus.clips["clip"]))
    assert (finding.code, finding.severity) == ("SL010", "not applicable")


@pytest.mark.usefixtures("encoder")
def test_two_names_of_the_same_clips_are_one_voice(corpus: Corpus) -> None:
    usable = set(corpus.clips["clip"])
    # Of random weights nothing can be asked but that the same sounds are the same voice.
    (finding,) = check_voices(corpus, usable, alike=0.99999)
    assert finding.severity == "note"
    assert ("anna", "anna again") in finding.pairs
    assert check_voices(corpus, usable, alike=1.1) == []


@pytest.mark.usefixtures("encoder")
@pytest.mark.parametrize(
    ("name", "text"), [("model.safetensors", "version https://git-lfs.github.com/spec/v1"), ("config.json", "{}")]
)
def test_a_damaged_encoder_is_named_and_the_audit_continues(
    corpus: Corpus, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / "models" / CHECKPOINT.rsplit("/", 1)[1] / name).write_text(text)
    (finding,) = check_voices(corpus, set(corpus.clips["clip"]))
    assert (finding.code, finding.severity) == ("SL010", "not applicable")
    assert str(tmp_path / "models") in finding.text
