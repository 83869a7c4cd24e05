import numpy as np
import pytest
import torch

from serlab.checkpoints import preprocessor
from serlab.frontends.batched import batched
from serlab.frontends.encoders import Extractor, Waveform


@pytest.fixture
def clips() -> np.ndarray:
    random = np.random.default_rng(0)
    time = np.arange(24_321) / 16_000
    loudness = np.array([[1e-3], [0.05], [0.9]])
    clips = np.sin(2 * np.pi * np.array([[110.0], [440.0], [3000.0]]) * time) + random.normal(0, 0.1, (3, len(time)))
    return (loudness * clips).astype(np.float32)


@pytest.mark.parametrize("kind", ["whisper", "wav2vec2", "wav2vec2-bert"])
def test_a_batch_has_the_features_of_its_clips(kind: str, clips: np.ndarray) -> None:
    extractor = preprocessor.extractor(kind, {})
    frontend = Waveform(do_normalise=True) if kind == "wav2vec2" else Extractor(extractor)
    together = batched(frontend)(torch.from_numpy(clips)).numpy()
    assert together.shape == (3, *frontend(clips[0]).shape)
    for clip, features in zip(clips, together, strict=True):
        np.testing.assert_allclose(features, frontend(clip), atol=1e-4)


def test_a_loud_clip_does_not_change_the_floor_of_a_quiet_one(clips: np.ndarray) -> None:
    frontend = batched(Extractor(preprocessor.extractor("whisper", {})))
    sound = torch.from_numpy(clips)
    alone = torch.cat([frontend(clip[None]) for clip in sound])
    torch.testing.assert_close(frontend(sound), alone)


def test_a_checkpoint_without_normalisation_gets_the_samples_as_they_are(clips: np.ndarray) -> None:
    sound = torch.from_numpy(clips)
    assert batched(Waveform(do_normalise=False))(sound) is sound
