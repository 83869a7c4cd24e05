"""The classifier: what it learns, its parameters, its place in scikit-learn's tools, and errors."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline

import sklearn
from serlab import SerlabError, load_model, load_recipe
from serlab.audio import Audio
from serlab.sklearn import InputError, SpeechEmotionClassifier, classifier
from serlab.sklearn.classifier import GroupsWarning
from serlab.training.encoder_folder import heard_by

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def svm(speech):
    return SpeechEmotionClassifier("mfcc-svm").fit(speech.paths, speech.y, groups=speech.groups)


@pytest.fixture
def resnet(tiny_recipes):
    return SpeechEmotionClassifier(tiny_recipes["tiny-resnet"])


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@contextmanager
def unwarned():
    """Let fit run without groups."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GroupsWarning)
        yield


def test_it_learns_from_paths_and_says_what_the_model_says(svm, speech):
    assert svm.classes_.tolist() == ["calm", "happy", "sad"]
    assert svm.score(speech.paths, speech.y) == 1
    shares = svm.predict_proba(speech.paths)
    assert shares.shape == (len(speech.paths), 3)
    assert (svm.classes_[shares.argmax(axis=1)] == svm.predict(speech.paths)).all()
    np.testing.assert_array_equal(shares, svm.model_.predict_proba(speech.paths))
    assert svm.model_.info.recipe == "mfcc-svm"


def test_every_form_of_x_gives_the_same_model(svm, speech, monkeypatch):
    expected = svm.predict_proba(speech.paths[:6])
    for x, rate in (
        (speech.arrays, 16000),
        (np.array(speech.arrays, dtype=object), 16000),
        ([(32768 * array).round().astype(np.int16) for array in speech.arrays], 16000),
        ([Audio.from_file(path) for path in speech.paths], None),
        (pd.Series(speech.paths), None),
        (pd.DataFrame({"path": speech.paths}), None),
        (np.array(speech.paths)[:, None], None),
        (tuple(speech.paths), None),
    ):
        other = SpeechEmotionClassifier(sample_rate=rate).fit(x, speech.y, groups=speech.groups)
        some = x.iloc[:6] if hasattr(x, "iloc") else x[:6]
        np.testing.assert_allclose(other.predict_proba(some), expected, atol=1e-6)


def test_a_matrix_has_one_clip_per_row(speech):
    x = np.stack([array[:4800] for array in speech.arrays])
    fitted = SpeechEmotionClassifier(sample_rate=16000).fit(x, speech.y, groups=speech.groups)
    assert fitted.score(x, speech.y) == 1
    stereo = np.repeat(x[:, :, None], 2, axis=2)
    np.testing.assert_allclose(fitted.predict_proba(stereo), fitted.predict_proba(x), atol=1e-6)


@pytest.mark.parametrize(
    "names", [np.array([3, 1, 2]), np.array([1.0, 10.0, 2.0]), np.array(["\x00", "", "é"], dtype=object)]
)
def test_labels_of_any_type_come_back(speech, names):
    y = names[np.unique(speech.y, return_inverse=True)[1]]
    fitted = SpeechEmotionClassifier().fit(speech.paths, y, groups=speech.groups)
    assert fitted.classes_.dtype == y.dtype
    assert (fitted.classes_ == np.unique(y)).all()
    assert (fitted.predict(speech.paths) == y).all()


def test_a_network_keeps_groups_for_development_and_chooses_its_epoch_on_them(resnet, speech, tmp_path):
    resnet.set_params(training__epochs=2).fit(speech.paths, speech.y, groups=speech.groups)
    shutil.copytree(resnet.model_.folder, tmp_path / "kept")
    model = load_model(tmp_path / "kept")
    assert (model.info.protocol, model.info.fold, model.info.recipe[:11]) == ("fit", 1, "tiny-resnet")
    np.testing.assert_array_equal(model.predict_proba(speech.paths), resnet.predict_proba(speech.paths))
    signature = json.loads((tmp_path / "kept" / "serlab.json").read_text())["signature"]
    assert len(signature["training"]["epochs"]) == 2
    assert signature["training"]["reliance"]["temperature"] > 0
    assert "Speaker-disjoint protocol: yes" in (tmp_path / "kept" / "README.md").read_text()


@pytest.mark.parametrize("grouped", [True, False])
def test_the_dev_subset_is_a_share_of_the_groups_or_clips(resnet, speech, grouped, monkeypatch):
    from serlab.sklearn import fitting

    folds = []
    monkeypatch.setattr(fitting, "run", lambda spec, *_, **__: folds.append(spec.fold) or 1 / 0)
    resnet.set_params(dev_size=1 / 3)
    with unwarned(), pytest.raises(ZeroDivisionError):
        resnet.fit(speech.paths, speech.y, groups=speech.groups if grouped else None)
    (fold,) = folds
    assert sorted(fold.train + fold.dev) == [f"clip{place:07}" for place in range(54)]
    assert (len(fold.dev), fold.test) == (18, ())
    speakers = [{speech.groups[int(clip[4:])] for clip in part} for part in (fold.train, fold.dev)]
    assert speakers[0].isdisjoint(speakers[1]) == grouped


def test_without_a_dev_subset_a_network_trains_on_all_clips_to_its_last_epoch(resnet, speech):
    resnet.set_params(dev_size=0).fit(speech.paths, speech.y)
    assert resnet.model_.info.protocol == "fit"
    with pytest.raises(SerlabError, match="when to abstain"):
        resnet.model_.predict(speech.paths[0], abstain=0.5)


def test_the_seed_decides(resnet, speech):
    def shares(seed):
        again = clone(resnet).set_params(random_state=seed)
        return again.fit(speech.paths, speech.y, groups=speech.groups).predict_proba(speech.paths[:3])

    np.testing.assert_array_equal(shares(0), shares(0))
    assert (shares(0) != shares(1)).any()


def test_settings_are_parameters(tiny_recipes):
    recipe = load_recipe(tiny_recipes["tiny-resnet"])
    for given in (recipe, tiny_recipes["tiny-resnet"]):
        one = SpeechEmotionClassifier(given, settings={"training.epochs": 2}, precision="fp32")
        one.set_params(training__learning_rate=1e-5, model__logmel__bands=np.int64(32), random_state=3)
        two = clone(one)
        assert two.get_params()["training__learning_rate"] == 1e-5
        assert one.get_params() == two.get_params()
        made = two._recipe()
        assert (made.training.epochs, made.training.learning_rate, made.model.logmel.bands) == (2, 1e-5, 32)
        assert not made.preset
    assert SpeechEmotionClassifier(recipe)._recipe() == recipe
    assert SpeechEmotionClassifier("mfcc-svm").set_params(model__C=[0.1, 1e-6])._recipe().model.C == (0.1, 1e-6)
    for grid in (np.array([0.1, 1.0]), [np.float64(0.1), 1], np.logspace(-1, 0, 2)):
        assert SpeechEmotionClassifier("mfcc-svm", settings={"model.C": grid})._recipe().model.C == (0.1, 1.0)
    assert SpeechEmotionClassifier("wav2vec2-small", settings={"model.checkpoint": Path("a b")})._recipe()
    with pytest.raises(SerlabError, match=r"settings=model.C is a set; give a number"):
        SpeechEmotionClassifier("mfcc-svm", settings={"model.C": {1.0}})._recipe()
    with pytest.raises(ValueError, match="Invalid parameter 'epochs'"):
        SpeechEmotionClassifier().set_params(epochs=3)


def test_a_pickle_holds_the_files_of_the_model_and_no_folder(svm, speech, tmp_path):
    expected = svm.predict_proba(speech.paths)
    copy = pickle.loads(pickle.dumps(svm))
    assert copy.model_.folder != svm.model_.folder
    np.testing.assert_array_equal(copy.predict_proba(speech.paths), expected)
    joblib.dump(svm, tmp_path / "svm.joblib")
    code = "import joblib, sys; print(*joblib.load(sys.argv[1]).predict(sys.argv[2:]), 'torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "svm.joblib", *speech.paths[:2]], capture_output=True, text=True
    )
    assert done.stdout.split() == [*svm.predict(speech.paths[:2]).tolist(), "False"], done.stderr


def test_the_folder_goes_with_the_classifier(speech):
    fitted = SpeechEmotionClassifier().fit(speech.paths, speech.y, groups=speech.groups)
    folder = fitted.model_.folder
    assert (folder / "serlab.json").is_file()
    del fitted
    assert not folder.parent.exists()


def test_the_folder_says_which_recordings_without_labels_were_heard(speech, monkeypatch):
    heard = {"name": "a corpus", "speakers": ["a"], "sha256": {"a_1.wav": "0" * 64}}
    monkeypatch.setattr("serlab.experiments.heard.speech_before", lambda _: [heard])
    fitted = SpeechEmotionClassifier().fit(speech.paths, speech.y, groups=speech.groups)
    assert heard_by(fitted.model_.folder) == [heard]


def test_cross_validation_passes_groups_to_splitter_and_fit(speech, routing):
    tested = {"groups": speech.groups}
    scores = cross_val_score(
        SpeechEmotionClassifier(), speech.paths, speech.y, cv=GroupKFold(3), params=tested, error_score="raise"
    )
    assert scores.tolist() == [1, 1, 1]


def test_without_routing_groups_are_a_parameter_of_fit(speech):
    scores = cross_val_score(
        SpeechEmotionClassifier(),
        speech.paths,
        speech.y,
        groups=speech.groups,
        params={"groups": speech.groups},
        cv=GroupKFold(2),
        scoring="balanced_accuracy",
        error_score="raise",
    )
    assert scores.min() > 0.9


def test_a_grid_search_over_settings_in_a_pipeline(speech, resnet, routing):
    search = GridSearchCV(
        Pipeline([("classifier", resnet)]),
        {"classifier__training__epochs": [1, 2]},
        cv=GroupKFold(2),
        error_score="raise",
    )
    search.fit(speech.paths, speech.y, groups=speech.groups)
    best = search.best_estimator_["classifier"]
    assert best.settings == {"training.epochs": search.best_params_["classifier__training__epochs"]}
    assert len(search.cv_results_["mean_test_score"]) == 2
    assert search.predict(speech.paths).shape == (54,)


def test_without_groups_it_warns_once(speech):
    classifier._warn_of_clips.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cross_val_score(SpeechEmotionClassifier(), speech.paths, speech.y, cv=2, error_score="raise")
    messages = [str(one.message) for one in caught if issubclass(one.category, GroupsWarning)]
    assert len(messages) == 1
    assert "inner folds are by clip" in messages[0]


def silent(speech):
    return [*speech.arrays[:-1], np.zeros(8000, np.float32)]


@pytest.mark.parametrize(
    ("how", "x", "y", "groups", "phrase"),
    [
        ({}, "paths", None, None, "requires y to be passed"),
        ({}, "paths", "one", None, "y has only 1 class, a;"),
        ({}, "paths", "short", None, "inconsistent numbers of samples"),
        ({}, "paths", "floats", None, "Unknown label type: continuous"),
        ({}, "paths", "missing", None, "NaN"),
        ({}, "paths", "y", "short", "inconsistent numbers of samples"),
        ({"settings": 3}, "paths", "y", None, "settings=3 is not a dictionary"),
        ({"settings": {"training.epochs": 3}}, "paths", "y", None, "training.epochs is for networks"),
        ({"settings": {"model.Q": 3}}, "paths", "y", None, "Q"),
        ({"recipe": "mfc-svm"}, "paths", "y", None, "did you mean 'mfcc-svm'?"),
        ({"recipe": 3}, "paths", "y", None, "recipe=3 is neither"),
        (
            {"recipe": "resnet18", "settings": {"training.teacher": {"recipe": "self"}}},
            "paths",
            "y",
            None,
            "training.teacher, which needs a comparison",
        ),
        ({"precision": "fp8"}, "paths", "y", None, "precision=fp8 is not one of"),
        ({"dev_size": 0.7}, "paths", "y", None, "dev_size=0.7 is not between"),
        ({"random_state": None}, "paths", "y", None, "random_state"),
        ({"random_state": -1}, "paths", "y", None, "random_state=-1 is not a whole number from 0"),
        ({"recipe": "resnet18"}, "paths", "y", "same", "groups has only one value"),
        ({"recipe": "resnet18", "dev_size": 0.5}, "paths", "y", "labels", "the label .* has no training clip"),
        ({"sample_rate": 16000}, "silent", "y", "y", r"X\[53\]: the array cannot be used: silent"),
    ],
)
def test_what_fit_refuses(speech, how, x, y, groups, phrase):
    values = {
        "paths": speech.paths,
        "silent": silent(speech),
        "y": speech.y,
        "one": ["a"] * 54,
        "short": speech.y[:-1],
        "floats": np.linspace(0, 1.5, 54),
        "missing": np.array([*speech.y[:-1], None], object),
        "same": ["s"] * 54,
        "labels": speech.y,
        None: None,
    }
    with unwarned(), pytest.raises(SerlabError, match=phrase) as error:
        SpeechEmotionClassifier(**how).fit(values[x], values[y], groups=values[groups])
    assert str(error.value).endswith(".")
    assert isinstance(error.value, ValueError) == (not how or x == "silent" or ("recipe" in how and groups is not None))


def test_a_file_that_turns_out_silent_is_named_by_its_place(speech, make_tone, tmp_path):
    import soundfile

    path = tmp_path / "silent.wav"
    soundfile.write(path, np.zeros(16000), 16000)
    with pytest.raises(InputError, match=r"X\[54\]: .*silent\.wav cannot be used: silent\."):
        SpeechEmotionClassifier().fit([*speech.paths, path], [*speech.y, "sad"], groups=[*speech.groups, "s9"])


def test_a_probe_needs_a_dev_subset(speech, tiny_checkpoint, tmp_path):
    recipe = tmp_path / "probe.yaml"
    recipe.write_text(f"title: Probe\nmodel: {{kind: probe, checkpoint: {tiny_checkpoint}}}\n")
    probe = SpeechEmotionClassifier(str(recipe), precision="fp32")
    fitted = probe.fit(speech.paths, speech.y, groups=speech.groups)
    assert fitted.predict(speech.paths[:2]).shape == (2,)
    with pytest.raises(SerlabError, match="set dev_size above 0"):
        probe.set_params(dev_size=0).fit(speech.paths, speech.y, groups=speech.groups)


@pytest.mark.parametrize("rate", [np.int64(16000), 16000.0])
def test_long_arrays_are_predicted_whatever_the_type_of_their_rate(svm, speech, rate, monkeypatch):
    monkeypatch.setattr("serlab.audio.speech.has_silero", lambda: False)  # Tones are not speech for silero.
    long = [np.tile(Audio.from_file(path).samples, 101) for path in speech.paths[:2]]
    assert len(long[0]) > 30 * 16000
    expected = svm.model_.predict_proba(long, 16000)
    svm = clone(svm).set_params(sample_rate=rate).fit(speech.arrays, speech.y, groups=speech.groups)
    np.testing.assert_allclose(svm.predict_proba(long), expected, atol=1e-6)


def test_prediction_never_answers_for_nothing(svm, speech, tmp_path):
    with pytest.raises(NotFittedError):
        SpeechEmotionClassifier().predict(speech.paths)
    with pytest.raises(InputError, match=r"X\[1\]: no speech"):
        clone(svm).set_params(sample_rate=16000).fit(speech.arrays, speech.y, groups=speech.groups).predict(
            [speech.arrays[0], np.zeros(16000)]
        )
    with pytest.raises(InputError, match=r"X\[1\]: .*absent\.wav cannot be used"):
        svm.predict([speech.paths[0], tmp_path / "absent.wav"])
