"""Front ends of encoders against transformers' own feature extractors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from serlab.frontends.encoders import Convolutional, Extractor, Waveform

CLIP = np.random.default_rng(2).normal(0.01, 0.2, 20000).astype(np.float32)


def test_normalised_samples_are_those_of_wav2vec2s_extractor() -> None:
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    theirs = extractor(CLIP, sampling_rate=16000, return_tensors="np").input_values[0]
    np.testing.assert_allclose(Waveform(do_normalise=True)(CLIP), theirs, atol=1e-6)
    np.testing.assert_array_equal(Waveform(do_normalise=False)(CLIP), CLIP)


def test_whispers_log_mel_on_the_clips_own_length() -> None:
    own = Extractor(WhisperFeatureExtractor())(CLIP)
    padded = WhisperFeatureExtractor()(CLIP, sampling_rate=16000, return_tensors="np").input_features[0].T
    assert own.shape == (125, 80)
    assert padded.shape == (3000, 80)
    # The last frames of the clip's own spectrogram see its mirrored end instead of silence.
    np.testing.assert_allclose(own[:122], padded[:122], atol=1e-4)


def test_wav2vec2_berts_stacked_filter_banks() -> None:
    assert Extractor(SeamlessM4TFeatureExtractor())(CLIP).shape == (61, 160)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_convolutional_front_end_is_the_encoder_on_one_unpadded_clip(precision: str) -> None:
    torch.manual_seed(0)
    encoder = torch.nn.Conv1d(1, 4, 400, 320)
    module = torch.nn.Sequential(torch.nn.Unflatten(1, (1, -1)), encoder)
    front = Convolutional(module, fingerprint="abc", do_normalise=True, precision=precision)

    features = front(CLIP)

    with torch.no_grad():
        expected = module(torch.from_numpy(Waveform(do_normalise=True)(CLIP))[None])[0].T.numpy()
    np.testing.assert_allclose(features, expected, atol=1e-6 if precision == "fp32" else 0.05)
    assert features.dtype == np.float32
    assert front.config["weights"] == "abc"
    assert front.config["precision"] == precision


def test_configurations_distinguish_front_ends() -> None:
    configs = [
        Waveform(do_normalise=True).config,
        Waveform(do_normalise=False).config,
        Extractor(WhisperFeatureExtractor()).config,
        Extractor(WhisperFeatureExtractor(feature_size=128)).config,
    ]
    assert all(a != b for i, a in enumerate(configs) for b in configs[i + 1 :])
