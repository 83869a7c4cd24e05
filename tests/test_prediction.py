from __future__ import annotations

import random

import numpy as np
import pytest

import serlab
from serlab.core import UserError

NAMES = ("tiny-resnet", "tiny-wav2vec2", "mfcc-svm")


@pytest.fixture
def clips(tiny_corpus):
    return sorted(tiny_corpus.parent.glob("*.wav"))


@pytest.mark.parametrize("name", NAMES)
def test_a_prediction_depends_on_its_file_alone(name, tiny_models, clips):
    shuffled = random.Random(0).sample(clips, len(clips))
    first = {row.path: row for row in serlab.predict(tiny_models[name], clips, precision="fp32").predictions}
    second = {row.path: row for row in serlab.predict(tiny_models[name], shuffled, precision="fp32").predictions}
    alone = serlab.predict(tiny_models[name], clips[7], precision="fp32").predictions[0]
    assert list(second) == [str(path) for path in shuffled]
    assert first.keys() == second.keys()
    for path, row in first.items():
        assert row.label == second[path].label
        np.testing.assert_allclose(
            list(row.probabilities.values()), list(second[path].probabilities.values()), atol=1e-4
        )
    np.testing.assert_allclose(
        list(alone.probabilities.values()), list(first[str(clips[7])].probabilities.values()), atol=1e-4
    )


def test_the_same_call_twice_gives_the_same(tiny_models, clips):
    model = tiny_models["tiny-wav2vec2"]
    assert serlab.predict(model, clips) == serlab.predict(model, clips)


def test_what_a_prediction_says(tiny_models, clips):
    result = serlab.predict(str(tiny_models["mfcc-svm"]), str(clips[0].parent))
    assert result.model == str(tiny_models["mfcc-svm"])
    assert [row.path for row in result.predictions] == [str(path) for path in clips]
    assert result.excluded == ()
    for row in result.predictions:
        assert list(row.probabilities) == ["calm", "happy", "sad"]
        assert sum(row.probabilities.values()) == pytest.approx(1)
        assert row.label == max(row.probabilities, key=row.probabilities.get)
    right = [row.label in row.path for row in result.predictions]
    assert np.mean(right) > 0.9


def test_more_files_than_are_held_at_once(tiny_models, clips, tmp_path, monkeypatch):
    monkeypatch.setattr("serlab.prediction._AT_ONCE", 5)
    empty = tmp_path / "empty.wav"
    empty.touch()
    given = [*clips[:7], empty, *clips[7:12]]
    result = serlab.predict(tiny_models["mfcc-svm"], given)
    assert [row.path for row in result.predictions] == [str(path) for path in given if path != empty]
    assert [(entry.path, entry.reason) for entry in result.excluded] == [(str(empty), "empty file")]


def test_long_clips_are_heard_to_their_end(tiny_models, tmp_path, make_tone):
    long = make_tone(tmp_path / "long.wav", seconds=4.0)
    for name in NAMES:
        (row,) = serlab.predict(tiny_models[name], long).predictions
        assert np.isfinite(list(row.probabilities.values())).all()


def test_nothing_is_loaded_for_files_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match=r"absent\.wav"):
        serlab.predict(tmp_path / "no-model", tmp_path / "absent.wav")
