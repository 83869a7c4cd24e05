"""The transformer: what it computes, its place in a pipeline, and errors."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serlab import SerlabError
from serlab.approaches.encoder import Settings
from serlab.approaches.encoder.network import from_checkpoint
from serlab.audio import Audio
from serlab.core import MachineError
from serlab.frontends.functionals import MfccStatistics, _smile
from serlab.sklearn import InputError, SpeechEmbedding
from serlab.sklearn.embedding import _encoder

pytestmark = pytest.mark.usefixtures("one_thread")


def test_mfccs_are_those_of_the_front_end(speech):
    found = SpeechEmbedding("mfcc").fit_transform(speech.paths[:4])
    expected = [MfccStatistics()(Audio.from_file(path).samples) for path in speech.paths[:4]]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(SpeechEmbedding(sample_rate=16000).transform(speech.arrays[:4]), found)


def test_names_of_mfccs_are_in_the_order_of_the_values(speech):
    names = SpeechEmbedding().get_feature_names_out().tolist()
    row = dict(zip(names, SpeechEmbedding().transform(speech.paths[:1])[0], strict=True))
    mfccs = MfccStatistics().mfcc(Audio.from_file(speech.paths[0]).samples)
    assert row["mfcc3_mean"] == pytest.approx(mfccs[:, 3].mean(), rel=1e-5)
    assert row["mfcc5_q95"] == pytest.approx(np.quantile(mfccs[:, 5], 0.95), rel=1e-5)
    assert len(row) == len(names) == 220


def test_an_encoder_gives_mean_and_deviation_of_a_layer(speech, tiny_checkpoint):
    network = from_checkpoint(Settings(checkpoint=str(tiny_checkpoint)), ("a", "b"), "fp32").eval()
    import torch

    samples = Audio.from_file(speech.paths[0]).samples
    with torch.no_grad():
        states = network.hidden_states(torch.from_numpy(network.frontend(samples))[None])
    for layer, place in ((1, 1), (-1, 2), (None, 2), (0, 0), (-3, 0)):
        embedding = SpeechEmbedding(str(tiny_checkpoint), layer=layer, precision="fp32")
        found = embedding.transform(speech.paths[:1])[0]
        names = embedding.get_feature_names_out()
        assert found.shape == names.shape == (32,)
        assert (names[0], names[-1]) == (f"layer{place}_mean0", f"layer{place}_std15")
        np.testing.assert_allclose(found[:16], states[place][0].mean(dim=0), atol=1e-5)


def test_egemaps(speech):
    pytest.importorskip("opensmile")
    embedding = SpeechEmbedding("egemaps")
    assert embedding.transform(speech.paths[:2]).shape == (2, 88)
    assert embedding.get_feature_names_out()[0] == "F0semitoneFrom27.5Hz_sma3nz_amean"


def test_a_search_over_layers_reads_each_clip_once(speech, tiny_checkpoint, monkeypatch):
    read = []
    decode = Audio.from_file
    monkeypatch.setattr(Audio, "from_file", lambda path, **how: read.append(path) or decode(path, **how))
    embedding = SpeechEmbedding(str(tiny_checkpoint), precision="fp32")
    pipeline = make_pipeline(embedding, StandardScaler(), LogisticRegression(max_iter=1000))
    search = GridSearchCV(
        pipeline, {"speechembedding__layer": [0, 1, 2]}, cv=GroupKFold(3), error_score="raise", refit=False
    )
    search.fit(speech.paths, speech.y, groups=speech.groups)
    assert len(search.cv_results_["mean_test_score"]) == 3
    assert len(read) <= len(speech.paths)


def test_a_pickle_holds_no_weights(tiny_checkpoint):
    embedding = SpeechEmbedding(str(tiny_checkpoint), layer=1)
    again = pickle.loads(pickle.dumps(clone(embedding)))
    assert again.get_params() == embedding.get_params()
    assert len(pickle.dumps(embedding)) < 1000


@pytest.mark.parametrize(
    ("how", "phrase"),
    [
        ({"source": "mfcc", "layer": 1}, "layer=1 is for encoders; mfcc has no layers"),
        ({"source": 3}, "source=3 is not mfcc, egemaps"),
        ({"source": "./nowhere"}, "there is no model folder ./nowhere"),
        ({"layer": 3}, "layer=3 is not between -3 and 2"),
        ({"layer": 1.5}, "layer=1.5 is not between -3 and 2"),
        ({"precision": "fp8"}, "precision=fp8 is not one of"),
    ],
)
def test_what_it_refuses(speech, tiny_checkpoint, how, phrase):
    with pytest.raises(SerlabError, match=phrase):
        SpeechEmbedding(**{"source": str(tiny_checkpoint), **how}).fit(speech.paths)


def test_it_names_a_clip_that_cannot_be_used(speech):
    with pytest.raises(InputError, match=r"X\[1\]: the array cannot be used: silent"):
        SpeechEmbedding(sample_rate=16000).transform([speech.arrays[0], np.zeros(16000)])


def test_without_opensmile_it_says_what_to_install(speech, monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    _smile.cache_clear()
    with pytest.raises(MachineError, match="pip install"):
        SpeechEmbedding("egemaps", cache=False).transform(speech.paths[:1])


def test_one_encoder_is_held(tiny_checkpoint, speech):
    SpeechEmbedding(str(tiny_checkpoint), precision="fp32").transform(speech.paths[:1])
    before = _encoder.cache_info().misses
    SpeechEmbedding(str(tiny_checkpoint), precision="fp32", layer=0).transform(speech.paths[:1])
    assert _encoder.cache_info().misses == before
