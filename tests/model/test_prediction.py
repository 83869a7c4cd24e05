from __future__ import annotations

import numpy as np
import pandas as pd

import serlab
from serlab import Prediction, to_frame


def test_missing_values_of_a_table():
    frame = to_frame([Prediction(None, {}), Prediction("b", {"a": 0.25, "b": 0.75}, "x.wav")])
    assert list(frame.columns) == ["path", "predicted", "prob_a", "prob_b"]
    assert frame["predicted"].isna().tolist() == frame["path"].isna().tolist() == [True, False]
    np.testing.assert_array_equal(frame[["prob_a", "prob_b"]], [[np.nan, np.nan], [0.25, 0.75]])
    assert list(to_frame([]).columns) == ["path", "predicted"]


def test_predictions_can_be_evaluated(tiny_models, tiny_corpus):
    corpus = serlab.load_corpus(str(tiny_corpus))
    found = serlab.predict(tiny_models["mfcc-svm"], tiny_corpus.parent)
    frame = found.to_frame()
    assert frame["path"].tolist() == [row.path for row in found.predictions]
    pd.testing.assert_frame_equal(frame, to_frame(serlab.load_model(tiny_models["mfcc-svm"]).predict(list(frame.path))))
    assert serlab.evaluate(frame, corpus).scores["uar"].value > 0.9
