import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from serlab.core import UserError
from serlab.models.classical import Probe, SupportVectorClassifier

FEW = {"penalties": (1.0, 4.0), "gammas": (0.01, 0.05)}


def blobs(clips, labels, width=10, spread=1.0, seed=0):
    """Features whose mean depends on the label, 12 speakers with an offset each; one column is constant."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(labels, width))
    targets = np.arange(clips) % labels
    speaker = rng.integers(12, size=clips)
    features = centres[targets] + spread * rng.normal(size=(clips, width)) + 0.3 * rng.normal(size=(12, width))[speaker]
    features[:, -1] = 7.3
    return features.astype(np.float32), targets, [f"s{number}" for number in speaker]


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def recall_mean(truth, predicted, labels):
    return np.mean([(predicted[truth == label] == label).mean() for label in range(labels)])


def fit(labels=4, clips=240, seed=0, **options):
    features, targets, speakers = blobs(clips, labels)
    return SupportVectorClassifier.fit(features, targets, speakers, n_labels=labels, seed=seed, **{**FEW, **options})


class TestSupportVectorClassifier:
    @pytest.mark.parametrize("labels", [2, 3, 6])
    def test_decision_values_equal_scikit_learns(self, labels):
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

    def test_standardises_by_the_training_clips(self):
        features = blobs(240, 4)[0].astype(np.float64)
        model = fit()
        assert np.allclose(model.mean, features.mean(axis=0))
        assert np.allclose(model.scale[:-1], features[:, :-1].std(axis=0))
        assert model.scale[-1] == 1

    def test_softmax_of_logits_is_calibrated_on_unseen_clips(self):
        features, targets, speakers = blobs(900, 3, spread=2.5)
        model = SupportVectorClassifier.fit(features, targets, speakers, n_labels=3, seed=0, **FEW)
        new, truth, _ = blobs(3000, 3, spread=2.5, seed=5)
        probability = softmax(model.logits(new))
        assert recall_mean(truth, probability.argmax(axis=1), 3) > 0.6
        confident = probability.max(axis=1)
        right = probability.argmax(axis=1) == truth
        assert confident.mean() == pytest.approx(right.mean(), abs=0.06)
        sure = confident > 0.8
        assert confident[sure].mean() == pytest.approx(right[sure].mean(), abs=0.08)

    def test_a_clips_logits_do_not_depend_on_its_company(self):
        model, new = fit(), blobs(1200, 4, seed=3)[0]
        together = model.logits(new)
        alone = np.concatenate([model.logits(new[row : row + 1]) for row in (0, 511, 512, 1199)])
        assert np.abs(together[[0, 511, 512, 1199]] - alone).max() < 1e-9
        assert np.abs(model.logits(new[::-1])[::-1] - together).max() < 1e-9

    def test_a_safetensors_file_rebuilds_it(self, tmp_path):
        model, new = fit(), blobs(50, 4, seed=3)[0]
        assert all(value.dtype == np.float64 for value in model.arrays().values())
        save_file(model.arrays(), tmp_path / "model.safetensors")
        again = SupportVectorClassifier.from_arrays(load_file(tmp_path / "model.safetensors"))
        assert np.array_equal(again.logits(new), model.logits(new))
        assert again.chosen == model.chosen

    def test_a_missing_array_is_named(self):
        arrays = fit().arrays()
        del arrays["dual"]
        with pytest.raises(UserError, match="lack dual"):
            SupportVectorClassifier.from_arrays(arrays)

    def test_same_seed_same_model_whatever_the_workers(self):
        one, two = fit(workers=1).arrays(), fit(workers=3).arrays()
        assert all(np.array_equal(one[name], two[name]) for name in one)

    def test_the_search_takes_the_setting_that_generalises_over_speakers(self):
        model = fit(penalties=(1.0,), gammas=(1e-7, 0.05, 50.0))
        assert model.chosen["gamma"] == 0.05
        assert model.chosen["C"] == 1.0
        assert 0.5 < model.chosen["inner_uar"] <= 1

    def test_inner_uar_is_over_speakers_that_the_inner_models_have_not_heard(self):
        # Each speaker is one tight cloud with one label: known speakers are trivial, new ones are chance.
        rng = np.random.default_rng(0)
        speaker = np.repeat(np.arange(24), 10)
        features = 5 * rng.normal(size=(24, 20))[speaker] + 0.1 * rng.normal(size=(240, 20))
        names = [f"s{number}" for number in speaker]
        grouped = SupportVectorClassifier.fit(features, speaker % 2, names, n_labels=2, seed=0, **FEW)
        unknown = SupportVectorClassifier.fit(features, speaker % 2, [""] * 240, n_labels=2, seed=0, **FEW)
        assert unknown.chosen["inner_uar"] > 0.95
        assert grouped.chosen["inner_uar"] < 0.8

    def test_a_label_that_only_one_speaker_has_is_kept(self):
        features, targets, speakers = blobs(240, 4)
        speakers = ["only" if target == 3 else name for target, name in zip(targets, speakers, strict=True)]
        model = SupportVectorClassifier.fit(features, targets, speakers, n_labels=4, seed=0, **FEW)
        logits = model.logits(features)
        assert logits.shape == (240, 4)
        assert np.isfinite(logits).all()
        # No inner model that is tried on it has heard it, so its recall is 0 and counts.
        assert model.chosen["inner_uar"] <= 0.75

    def test_two_clips_of_a_label_are_enough_and_one_is_not(self):
        features, targets, speakers = blobs(60, 3)
        rare = np.concatenate([np.flatnonzero(targets != 2), np.flatnonzero(targets == 2)[:2]])
        names = [speakers[row] for row in rare]
        model = SupportVectorClassifier.fit(features[rare], targets[rare], [""] * len(rare), n_labels=3, seed=0, **FEW)
        assert model.logits(features).shape == (60, 3)
        with pytest.raises(UserError, match=r"label number 3 of 3 has too few training clips \(1, needed: 2\)"):
            SupportVectorClassifier.fit(features[rare[:-1]], targets[rare[:-1]], names[:-1], n_labels=3, seed=0)

    def test_a_label_without_clips_is_an_error(self):
        features, targets, speakers = blobs(60, 3)
        with pytest.raises(UserError, match=r"label number 4 of 4 has too few training clips \(0"):
            SupportVectorClassifier.fit(features, targets, speakers, n_labels=4, seed=0)

    def test_speakers_with_one_label_each_are_an_error(self):
        features, targets, _ = blobs(60, 2)
        with pytest.raises(UserError, match="one label only"):
            SupportVectorClassifier.fit(features, targets, [f"s{target}" for target in targets], n_labels=2, seed=0)

    def test_features_that_are_not_finite_or_of_another_width_are_errors(self):
        features, targets, speakers = blobs(60, 3)
        features[41, 2] = np.nan
        with pytest.raises(UserError, match="clip number 42 of 60 is not finite"):
            SupportVectorClassifier.fit(features, targets, speakers, n_labels=3, seed=0)
        model = fit()
        with pytest.raises(UserError, match=r"\(10,\) a clip, got \(9,\)"):
            model.logits(np.zeros((2, 9)))
        with pytest.raises(UserError, match="clip number 2 of 2 is not finite"):
            model.logits(np.array([[0.0] * 10, [np.inf] * 10]))

    @given(st.integers(0, 10_000))
    @settings(max_examples=5)
    def test_learns_whatever_the_seed(self, seed):
        new, truth, _ = blobs(400, 4, seed=8)
        assert (
            recall_mean(
                truth, fit(seed=seed, **{name: grid[:1] for name, grid in FEW.items()}).logits(new).argmax(1), 4
            )
            > 0.7
        )


def layered(clips, labels, seed=0):
    """Three layers: noise, the label, and the label under heavier noise."""
    features, targets, _ = blobs(clips, labels, spread=1.5, seed=seed)
    rng = np.random.default_rng(seed + 100)
    layers = [rng.normal(size=features.shape), features, features + 4 * rng.normal(size=features.shape)]
    return np.stack(layers, axis=1).astype(np.float32), targets


class TestProbe:
    penalties = (0.001, 0.01, 0.1)

    def fit(self, labels=4):
        train, dev = layered(400, labels), layered(200, labels, seed=1)
        return Probe.fit(*train, *dev, n_labels=labels, penalties=self.penalties)

    @pytest.mark.parametrize("labels", [2, 4])
    def test_probabilities_equal_scikit_learns(self, labels):
        model, (features, targets) = self.fit(labels), layered(400, labels)
        layer = features[:, model.chosen["layer"]].astype(np.float64)
        mean, scale = layer.mean(axis=0), layer.std(axis=0)
        scale[-1] = 1
        reference = LogisticRegression(C=model.chosen["C"], tol=1e-9, max_iter=10_000)
        reference.fit((layer - mean) / scale, targets)
        new, _ = layered(100, labels, seed=2)
        expected = reference.predict_proba((new[:, model.chosen["layer"]] - mean) / scale)
        assert np.abs(softmax(model.logits(new)) - expected).max() < 1e-3

    def test_layer_and_penalty_are_the_best_on_dev(self):
        (features, targets), (dev, truth) = layered(400, 4), layered(200, 4, seed=1)
        scores = {}
        for layer in range(3):
            mean, scale = features[:, layer].mean(axis=0), features[:, layer].std(axis=0)
            scale[scale < 1e-3] = 1
            for penalty in self.penalties:
                reference = LogisticRegression(C=penalty, tol=1e-8, max_iter=10_000)
                reference.fit((features[:, layer] - mean) / scale, targets)
                scores[layer, penalty] = recall_mean(truth, reference.predict((dev[:, layer] - mean) / scale), 4)
        model = self.fit()
        assert model.chosen["layer"] == 1
        assert model.chosen["dev_uar"] == pytest.approx(max(scores.values()), abs=0.011)
        assert scores[1, model.chosen["C"]] == pytest.approx(max(scores.values()), abs=0.011)
        assert recall_mean(truth, model.logits(dev).argmax(axis=1), 4) == pytest.approx(model.chosen["dev_uar"])

    def test_dev_chooses_but_is_not_fitted(self):
        train, (dev, truth) = layered(400, 4), layered(200, 4, seed=1)
        options = {"n_labels": 4, "penalties": (0.01,)}
        one = Probe.fit(train[0][:, 1:2], train[1], dev[:, 1:2], truth, **options)
        half = Probe.fit(train[0][:, 1:2], train[1], dev[:60, 1:2], truth[:60], **options)
        assert one.chosen["layer"] == 0
        assert np.array_equal(one.weight, half.weight)
        assert np.array_equal(one.mean, half.mean)

    def test_a_safetensors_file_rebuilds_it(self, tmp_path):
        model, (new, _) = self.fit(), layered(50, 4, seed=2)
        save_file(model.arrays(), tmp_path / "model.safetensors")
        again = Probe.from_arrays(load_file(tmp_path / "model.safetensors"))
        assert np.array_equal(again.logits(new), model.logits(new))
        assert again.chosen == model.chosen
        assert np.abs(model.logits(new[7:8]) - model.logits(new)[7]).max() < 1e-9

    def test_errors_name_what_is_missing(self):
        (features, targets), (dev, truth) = layered(60, 3), layered(30, 3, seed=1)
        options = {"n_labels": 3, "penalties": (0.01,)}
        with pytest.raises(UserError, match="dev side has no clip"):
            Probe.fit(features, targets, dev[:0], truth[:0], **options)
        with pytest.raises(UserError, match="label number 3 of 3 has too few"):
            Probe.fit(features[targets < 2], targets[targets < 2], dev, truth, **options)
        with pytest.raises(UserError, match=r"\(3, 10\) a clip, got \(2, 10\)"):
            Probe.fit(features, targets, dev[:, :2], truth, **options)
        with pytest.raises(UserError, match="not finite"):
            Probe.fit(features, targets, np.full_like(dev, np.nan), truth, **options)
