import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from sklearn.svm import SVC
from tests.approaches.conftest import blobs, recall_mean, softmax

from serlab.approaches.svm.machine import RegressedSupportVectorClassifier, SupportVectorClassifier
from serlab.core import UserError

FEW = {"penalties": (1.0, 4.0), "gammas": (0.01, 0.05)}


def fit(labels=4, clips=240, seed=0, **options):
    features, targets, speakers = blobs(clips, labels)
    return SupportVectorClassifier.fit(features, targets, speakers, n_labels=labels, seed=seed, **{**FEW, **options})


@pytest.mark.parametrize("labels", [2, 3, 6])
def test_decision_values_equal_scikit_learns(labels):
    features, targets, speakers = blobs(240, labels)
    model = SupportVectorClassifier.fit(features, targets, speakers, n_labels=labels, seed=0, **FEW)
    scaled = (features - model.mean) / model.scale
    reference = SVC(
        C=model.chosen["C"],
        gamma=model.chosen["gamma"],
        class_weight="balanced",
        decision_function_shape="ovo",
    ).fit(scaled, targets)
    new = blobs(700, labels, seed=1)[0]
    expected = reference.decision_function((new - model.mean) / model.scale).reshape(len(new), -1)
    assert np.abs(model.decision_values(new) - expected).max() < 1e-9


def test_standardises_by_the_training_clips():
    features = blobs(240, 4)[0].astype(np.float64)
    model = fit()
    assert np.allclose(model.mean, features.mean(axis=0))
    assert np.allclose(model.scale[:-1], features[:, :-1].std(axis=0))
    assert model.scale[-1] == 1


def test_softmax_of_logits_is_calibrated_on_unseen_clips():
    features, targets, speakers = blobs(900, 3, spread=2.5)
    model = SupportVectorClassifier.fit(features, targets, speakers, n_labels=3, seed=0, **FEW)
    new, truth, _ = blobs(3000, 3, spread=2.5, seed=5)
    probability = softmax(model.logits(new))
    assert recall_mean(truth, probability.argmax(axis=1), 3) > 0.6
    confident = probability.max(axis=1)
    right = probability.argmax(axis=1) == truth
    assert confident.mean() == pytest.approx(right.mean(), abs=0.06)
    # A temperature corrects the mean; the SVM makes confident answers more accurate.
    surest, least = np.array_split(confident.argsort()[::-1], 2)
    assert right[surest].mean() > right[least].mean() + 0.1


def test_a_clips_logits_do_not_depend_on_its_company():
    model, new = fit(), blobs(1200, 4, seed=3)[0]
    together = model.logits(new)
    alone = np.concatenate([model.logits(new[row : row + 1]) for row in (0, 511, 512, 1199)])
    assert np.abs(together[[0, 511, 512, 1199]] - alone).max() < 1e-9
    assert np.abs(model.logits(new[::-1])[::-1] - together).max() < 1e-9


def test_a_safetensors_file_rebuilds_it(tmp_path):
    model, new = fit(), blobs(50, 4, seed=3)[0]
    assert all(value.dtype == np.float64 for value in model.arrays().values())
    model.save(tmp_path)
    again = SupportVectorClassifier.load(tmp_path, 4)
    assert np.array_equal(again.logits(new), model.logits(new))
    assert again.chosen == model.chosen


def test_a_missing_array_is_named(tmp_path):
    arrays = fit().arrays()
    del arrays["dual"]
    save_file(arrays, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="lacks the weight dual"):
        SupportVectorClassifier.load(tmp_path, 4)


def test_same_seed_same_model_whatever_the_workers():
    one, two = fit(workers=1).arrays(), fit(workers=3).arrays()
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_the_search_takes_the_setting_that_generalises_over_speakers():
    model = fit(penalties=(1.0,), gammas=(1e-7, 0.05, 50.0))
    assert model.chosen["gamma"] == 0.05
    assert model.chosen["C"] == 1.0
    assert 0.5 < model.chosen["inner_uar"] <= 1


def test_inner_uar_is_over_speakers_that_the_inner_models_have_not_seen():
    # Each speaker is one tight cloud with one label: known speakers are trivial, new ones are
    # chance.
    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(24), 10)
    features = 5 * rng.normal(size=(24, 20))[speaker] + 0.1 * rng.normal(size=(240, 20))
    names = [f"s{number}" for number in speaker]
    grouped = SupportVectorClassifier.fit(features, speaker % 2, names, n_labels=2, seed=0, **FEW)
    unknown = SupportVectorClassifier.fit(features, speaker % 2, [""] * 240, n_labels=2, seed=0, **FEW)
    assert unknown.chosen["inner_uar"] > 0.95
    assert grouped.chosen["inner_uar"] < 0.8


def test_a_label_that_only_one_speaker_has_is_kept():
    features, targets, speakers = blobs(240, 4)
    speakers = ["only" if target == 3 else name for target, name in zip(targets, speakers, strict=True)]
    model = SupportVectorClassifier.fit(features, targets, speakers, n_labels=4, seed=0, **FEW)
    logits = model.logits(features)
    assert logits.shape == (240, 4)
    assert np.isfinite(logits).all()
    # No inner model that is evaluated on it has learned it, so its recall is 0 and counts.
    assert model.chosen["inner_uar"] <= 0.75


def test_two_clips_of_a_label_are_enough():
    features, targets, _ = blobs(60, 3)
    rare = np.concatenate([np.flatnonzero(targets != 2), np.flatnonzero(targets == 2)[:2]])
    model = SupportVectorClassifier.fit(features[rare], targets[rare], [""] * len(rare), n_labels=3, seed=0, **FEW)
    assert model.logits(features).shape == (60, 3)


@pytest.mark.parametrize("owners", [1, 2])
def test_a_label_whose_speakers_cannot_be_held_out_is_learned_and_uncalibrated(owners, capsys):
    features, targets, _ = blobs(60, 2)
    # Either each label has one speaker, or several share one label and a single one has the other.
    speakers = [f"s{target}" if target or owners == 1 else f"t{clip % 6}" for clip, target in enumerate(targets)]
    model = SupportVectorClassifier.fit(features, targets, speakers, n_labels=2, seed=0, **FEW)
    assert model.chosen["temperature"] is None
    said = capsys.readouterr().err
    assert "too few training speakers have each label" in said
    assert "uncalibrated (temperature 1)" in said
    new, truth, _ = blobs(200, 2, seed=1)
    answers = model.logits(new).argmax(axis=1)
    assert recall_mean(truth, answers, 2) > 0.8
    assert np.array_equal(answers, machine_of(model, features, targets).predict((new - model.mean) / model.scale))


def test_features_that_are_not_finite_or_of_another_width_are_errors():
    features, targets, speakers = blobs(60, 3)
    features[41, 2] = np.nan
    with pytest.raises(UserError, match="clip number 42 of 60 is not finite"):
        SupportVectorClassifier.fit(features, targets, speakers, n_labels=3, seed=0, **FEW)
    model = fit()
    with pytest.raises(UserError, match=r"\(10,\) per clip, got \(9,\)"):
        model.logits(np.zeros((2, 9)))
    with pytest.raises(UserError, match="clip number 2 of 2 is not finite"):
        model.logits(np.array([[0.0] * 10, [np.inf] * 10]))


@given(st.integers(0, 10_000))
@settings(max_examples=5)
def test_learns_whatever_the_seed(seed):
    new, truth, _ = blobs(400, 4, seed=8)
    assert (
        recall_mean(truth, fit(seed=seed, **{name: grid[:1] for name, grid in FEW.items()}).logits(new).argmax(1), 4)
        > 0.7
    )


def machine_of(model, features, targets):
    """scikit-learn's SVM with the same settings, on the same standardised features."""
    options = {"class_weight": "balanced", "decision_function_shape": "ovr", "break_ties": len(set(targets)) > 2}
    machine = SVC(C=model.chosen["C"], gamma=model.chosen["gamma"], **options)
    return machine.fit((features - model.mean) / model.scale, targets)


@given(labels=st.integers(2, 7), seed=st.integers(0, 999), owners=st.integers(1, 12), spread=st.floats(0.5, 6))
@settings(max_examples=20, deadline=None)
def test_the_label_is_scikit_learns_own_prediction(labels, seed, owners, spread):
    features, targets, _ = blobs(120, labels, spread=spread, seed=seed)
    # The last of several labels belongs to a few speakers, who have no other label.
    speakers = [
        f"owner{clip % owners}" if target == labels - 1 > 1 else f"s{clip % 7}" for clip, target in enumerate(targets)
    ]
    grids = {"penalties": (4.0,), "gammas": (0.05,)}
    model = SupportVectorClassifier.fit(features, targets, speakers, n_labels=labels, seed=seed, **grids)
    new = blobs(150, labels, spread=spread, seed=seed + 1)[0]
    expected = machine_of(model, features, targets).predict((new - model.mean) / model.scale)
    assert np.array_equal(model.logits(new).argmax(axis=1), expected)
    assert np.array_equal(model.logits(new).astype(np.float32).argmax(axis=1), expected)


@pytest.mark.parametrize("labels", [3, 6])
def test_logits_are_scikit_learns_values_over_the_temperature(labels):
    features, targets, _ = blobs(240, labels)
    model, new = fit(labels), blobs(200, labels, seed=1)[0]
    expected = machine_of(model, features, targets).decision_function((new - model.mean) / model.scale)
    assert np.abs(model.logits(new) * model.temperature - expected).max() < 1e-9
    assert model.chosen["temperature"] == model.temperature > 0


def test_two_labels_share_the_one_decision_value():
    features, targets, _ = blobs(240, 2)
    model, new = fit(2), blobs(200, 2, seed=1)[0]
    expected = machine_of(model, features, targets).decision_function((new - model.mean) / model.scale)
    logits = model.logits(new) * model.temperature
    assert np.abs(logits[:, 1] - logits[:, 0] - expected).max() < 1e-9


def owned(seed):
    """Four labels of 100 clips, each with its own two speakers, so voices are easily confused with labels."""
    rng = np.random.default_rng(seed)
    centres, voices = np.random.default_rng(7).normal(size=(4, 12)), np.random.default_rng(seed).normal(size=(8, 12))
    targets = np.repeat(np.arange(4), 100)
    speaker = 2 * targets + np.tile([0, 1], 200)
    features = 0.7 * centres[targets] + 1.2 * voices[speaker] + rng.normal(size=(400, 12))
    return features, targets, [f"s{number}" for number in speaker], 0.7 * centres


def test_few_speakers_per_label_do_not_turn_the_answer_round():
    recalls = {SupportVectorClassifier: [], RegressedSupportVectorClassifier: []}
    for seed in range(4):
        features, targets, speakers, centres = owned(seed)
        truth = np.tile(np.arange(4), 100)
        rng = np.random.default_rng(seed + 50)
        new = centres[truth] + 1.2 * rng.normal(size=(400, 12)) + rng.normal(size=(400, 12))
        for kind, found in recalls.items():
            model = kind.fit(features, targets, speakers, n_labels=4, seed=seed, penalties=(4.0,), gammas=(0.05,))
            found.append(recall_mean(truth, model.logits(new).argmax(axis=1), 4))
    own, regressed = (np.mean(found) for found in recalls.values())
    assert own > 0.4
    assert regressed < own - 0.05


def test_without_a_label_that_held_out_speakers_share_the_temperature_is_1(capsys):
    features, targets, _ = blobs(80, 4)
    speakers = [f"s{target}" for target in targets]
    model = SupportVectorClassifier.fit(features, targets, speakers, n_labels=4, seed=0, **FEW)
    assert model.temperature == 1
    assert model.chosen["temperature"] is None
    assert "uncalibrated (temperature 1)" in capsys.readouterr().err
    assert recall_mean(targets, model.logits(features).argmax(axis=1), 4) > 0.8


def test_held_out_answers_worse_than_a_guess_leave_the_temperature_at_1():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 5))
    # The feature that separates one speaker's labels is reversed for the other, so held-out answers
    # are all wrong.
    speakers, targets = [f"s{clip % 2}" for clip in range(200)], np.arange(200) // 2 % 2
    features[:, 0] = np.where(np.arange(200) % 2 == 0, 1, -1) * (2.0 * targets - 1) * 3
    model = SupportVectorClassifier.fit(features, targets, speakers, n_labels=2, seed=0, **FEW)
    assert model.chosen["temperature"] is None


def test_the_first_version_answers_by_a_regression_over_pairs(tmp_path):
    features, targets, speakers = blobs(240, 4)
    model = RegressedSupportVectorClassifier.fit(features, targets, speakers, n_labels=4, seed=0, **FEW)
    new = blobs(100, 4, seed=1)[0]
    assert np.array_equal(model.logits(new), model.decision_values(new) @ model.weight + model.bias)
    assert sorted(model.chosen) == ["C", "gamma", "inner_uar"]
    model.save(tmp_path)
    again = RegressedSupportVectorClassifier.load(tmp_path, 4)
    assert np.array_equal(again.logits(new), model.logits(new))


def test_a_kernel_of_no_width_gives_finite_scores():
    features, _, _ = blobs(240, 4)
    assert np.isfinite(fit(gammas=(1e300,)).logits(features)).all()
