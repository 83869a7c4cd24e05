"""Every way to use a model gives the same answer, on real clips of many rates, channels and formats."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from serlab import Model, load_model
from serlab.audio import Audio
from serlab.sklearn import SpeechEmotionClassifier

pytestmark = [pytest.mark.cremad, pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

CLIPS = 200
CLOSE = 1e-4
RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
OPUS = (8000, 12000, 16000, 24000, 48000)
FORMATS: tuple[tuple[str, str, str, tuple[int, ...]], ...] = (
    ("wav", "WAV", "PCM_16", RATES),
    ("wav", "WAV", "PCM_24", RATES),
    ("wav", "WAV", "PCM_U8", RATES),
    ("wav", "WAV", "FLOAT", RATES),
    ("wav", "WAV", "ULAW", RATES),
    ("wav", "WAV", "IMA_ADPCM", RATES),
    ("w64", "W64", "PCM_16", RATES),
    ("aiff", "AIFF", "PCM_16", RATES),
    ("au", "AU", "ALAW", RATES),
    ("caf", "CAF", "PCM_16", RATES),
    ("flac", "FLAC", "PCM_16", RATES),
    ("flac", "FLAC", "PCM_24", RATES),
    ("ogg", "OGG", "VORBIS", RATES),
    ("opus", "OGG", "OPUS", OPUS),
    ("mp3", "MP3", "MPEG_LAYER_III", RATES),
)


@dataclass(frozen=True)
class Clip:
    """A file, and the same clip as libsndfile decodes it: shape (samples, channels)."""

    path: Path
    array: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        """Length at 16 kHz, as the network gets it."""
        return len(Audio.from_array(self.array, self.rate).samples) / 16000


@pytest.fixture(scope="module")
def recordings(cremad_root: Path) -> list[Path]:
    """Every 37th clip, a mix of all actors and emotions."""
    return sorted((cremad_root / "AudioWAV").iterdir())[::37][:CLIPS]


@pytest.fixture(scope="module")
def clips(recordings: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder, random = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    made = []
    for number, recording in enumerate(recordings):
        samples, original = soundfile.read(recording, dtype="float32")
        ending, kind, subtype, rates = FORMATS[number % len(FORMATS)]
        rate = int(random.choice(rates))
        samples = soxr.resample(samples, original, rate)
        if random.random() < 0.5:
            samples = np.stack([samples, 0.5 * np.roll(samples, 9)], axis=1)
        path = folder / f"{number:03}.{ending}"
        soundfile.write(path, 0.9 * samples, rate, format=kind, subtype=subtype)
        array, rate = soundfile.read(path, dtype="int16" if subtype == "PCM_16" else "float32", always_2d=True)
        made.append(Clip(path, array, rate))
    assert len(made) == CLIPS
    assert {clip.rate for clip in made} == set(RATES)
    return made


@pytest.fixture(scope="module", params=["tiny-resnet", "mfcc-svm"])
def fitted(request: pytest.FixtureRequest, recordings: list[Path], tiny_recipes: dict[str, str]) -> Any:
    """A classifier that was trained on the recordings; its model is the one behind every other way."""
    names = [path.stem.split("_") for path in recordings]
    recipe = tiny_recipes.get(request.param, request.param)
    classifier = SpeechEmotionClassifier(recipe, precision="fp32" if recipe in tiny_recipes.values() else None)
    if request.param == "mfcc-svm":
        classifier.set_params(model__C=[4.0], model__gamma=[0.004])
    return classifier.fit(recordings, [name[2] for name in names], groups=[name[0] for name in names])


@dataclass
class Ways:
    """The probabilities that each way gave, shape (clips, labels)."""

    model: Model

    def of_path(self, clips: list[Clip]) -> np.ndarray:
        return np.stack([self.model.predict_proba(clip.path) for clip in clips])

    def of_array(self, clips: list[Clip]) -> np.ndarray:
        return np.stack([self.model.predict_proba(clip.array, clip.rate) for clip in clips])

    def of_turned_array(self, clips: list[Clip]) -> np.ndarray:
        return np.stack([self.model.predict_proba(np.ascontiguousarray(clip.array.T), clip.rate) for clip in clips])

    def of_list(self, clips: list[Clip]) -> np.ndarray:
        return self.model.predict_proba([clip.path for clip in clips])

    def of_audio(self, clips: list[Clip]) -> np.ndarray:
        return self.model.predict_proba([Audio.from_array(clip.array, clip.rate) for clip in clips][::-1])[::-1]

    def of_segments(self, clips: list[Clip]) -> np.ndarray:
        return self._segments([list(self.model.segments(clip.path, window=clip.seconds, vad="none")) for clip in clips])

    def of_whole(self, clips: list[Clip]) -> np.ndarray:
        """The summary of a divided recording, which consists of one segment."""
        found = [self.model.predict(clip.path, window=clip.seconds, vad="none") for clip in clips]
        self._segments([one.segments for one in found])
        return np.array([list(one.probabilities.values()) for one in found])

    def of_stream(self, clips: list[Clip]) -> np.ndarray:
        random, found = np.random.default_rng(1), []
        for clip in clips:
            stream = self.model.stream(clip.rate, window=clip.seconds, vad="none")
            cuts = np.sort(random.integers(0, len(clip.array), random.integers(1, 40)))
            fed = [segment for piece in np.split(clip.array, cuts) for segment in stream.feed(piece)]
            found.append([*fed, *stream.flush()])
        return self._segments(found)

    def _segments(self, found: list[Any]) -> np.ndarray:
        assert {len(segments) for segments in found} == {1}
        return np.array([list(segments[0].probabilities.values()) for segments in found])


def test_all_ways_in_give_the_same_answer(fitted, clips, serlab, tmp_path):
    model = load_model(fitted.model_.folder, precision="auto" if fitted.recipe == "mfcc-svm" else "fp32")
    ways = Ways(model)
    expected = ways.of_path(clips)
    labels = expected.argmax(axis=1)
    assert len(set(labels)) > 1  # The model tells clips apart.
    found = {name: getattr(ways, name)(clips) for name in dir(ways) if name.startswith("of_")}
    paths = [clip.path for clip in clips]
    found["scikit-learn"] = fitted.predict_proba(paths)
    assert (fitted.predict(paths) == fitted.classes_[labels]).all()
    command = ("predict", "--model", model.folder, "--format", "json", *paths)
    ended = serlab(*command, *(() if model.precision == "fp64" else ("--precision", "fp32")))
    assert ended.code == 0, ended.err
    rows = {row["path"]: row for row in json.loads(ended.out)["predictions"]}
    told = [rows[str(path)] for path in paths]
    found["command line"] = np.array([list(row["probabilities"].values()) for row in told])
    assert [row["label"] for row in told] == [model.labels[place] for place in labels]
    for name, shares in found.items():
        worst = int(np.abs(shares - expected).max(axis=1).argmax())
        assert np.abs(shares - expected).max() < CLOSE, (name, paths[worst].name, shares[worst], expected[worst])
        assert (shares.argmax(axis=1) == labels).all(), name
    by_array = SpeechEmotionClassifier(sample_rate=16000)
    by_array.classes_, by_array._kept = fitted.classes_, fitted._kept
    equal = [clip for clip in clips if clip.rate == 16000]
    there = [place for place, clip in enumerate(clips) if clip.rate == 16000]
    np.testing.assert_allclose(by_array.predict_proba([clip.array for clip in equal]), expected[there], atol=CLOSE)
