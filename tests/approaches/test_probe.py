import json
import shutil

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from tests.approaches.conftest import blobs, recall_mean, softmax

from serlab.approaches.encoder import Settings
from serlab.approaches.encoder.network import from_checkpoint
from serlab.approaches.probe.regression import Probe
from serlab.approaches.probe.states import PooledStates
from serlab.checkpoints.weights import identity
from serlab.core import UserError


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
        model.save(tmp_path)
        again = Probe.load(tmp_path, 4)
        assert np.array_equal(again.logits(new), model.logits(new))
        assert again.chosen == model.chosen
        assert np.abs(model.logits(new[7:8]) - model.logits(new)[7]).max() < 1e-9

    def test_errors_name_what_is_missing(self):
        (features, targets), (dev, truth) = layered(60, 3), layered(30, 3, seed=1)
        options = {"n_labels": 3, "penalties": (0.01,)}
        with pytest.raises(UserError, match="dev subset is empty"):
            Probe.fit(features, targets, dev[:0], truth[:0], **options)
        with pytest.raises(UserError, match=r"\(3, 10\) per clip, got \(2, 10\)"):
            Probe.fit(features, targets, dev[:, :2], truth, **options)
        with pytest.raises(UserError, match="not finite"):
            Probe.fit(features, targets, np.full_like(dev, np.nan), truth, **options)

    @pytest.mark.parametrize("labels", [2, 3, 6])
    def test_the_label_is_scikit_learns_own_prediction(self, labels):
        (features, targets), (new, _) = layered(300, labels), layered(200, labels, seed=2)
        probe = Probe.fit(features, targets, *layered(100, labels, seed=1), n_labels=labels, penalties=(0.01,))
        layer = probe.chosen["layer"]
        reference = LogisticRegression(C=0.01, tol=1e-9, max_iter=10_000)
        reference.fit((features[:, layer] - probe.mean) / probe.scale, targets)
        assert np.array_equal(
            probe.logits(new).argmax(axis=1), reference.predict((new[:, layer] - probe.mean) / probe.scale)
        )


def test_states_of_another_input_or_configuration_are_not_shared_in_the_cache(tiny_checkpoint, tmp_path):
    def config_of(folder, **config):
        network = from_checkpoint(Settings(checkpoint=str(folder), config=config), ("a", "b"), "fp32")
        return PooledStates(network, weights_sha256=identity(folder), precision="fp32").config

    def changed(file, **fields):
        folder = tmp_path / "-".join(fields)
        shutil.copytree(tiny_checkpoint, folder)
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))
        return config_of(folder)

    own = config_of(tiny_checkpoint)
    assert changed("preprocessor_config.json", do_normalize=False) != own
    assert changed("config.json", num_attention_heads=4) != own
    assert config_of(tiny_checkpoint, num_hidden_layers=1) != own
    assert changed("config.json", hidden_dropout=0.3) == own
