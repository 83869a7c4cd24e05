"""scikit-learn's own checks of estimators.

They run twice. As they are, most cannot pass, because their X is a table of a few numbers per row:
each of these is listed with its reason. With a subclass that plays the numbers as chords, the same
checks reach everything behind the input: fitting, labels, pickles, order and subsets of clips.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

from serlab.sklearn import SpeechEmbedding, SpeechEmotionClassifier
from serlab.sklearn.classifier import GroupsWarning

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning"),
]

SHORT = "its rows have a few numbers; a clip has at least 0.1 s of samples"
LOUD = "its numbers are around 100; samples are within -1 to 1"
COLUMNS = "a table of objects is a DataFrame with the paths in one column"
LENGTH = "clips have any length, so a fitted estimator expects no number of features"
STATELESS = "fit learns nothing, so only transform reads samples"
INT64 = "integers of 64 bits have no full scale, so they are not samples"

PLAIN: dict[type[BaseEstimator], dict[str, str]] = {
    SpeechEmotionClassifier: {
        **dict.fromkeys(
            (
                "check_classifiers_classes",
                "check_classifiers_train",
                "check_dict_unchanged",
                "check_dont_overwrite_parameters",
                "check_estimators_dtypes",
                "check_estimators_fit_returns_self",
                "check_estimators_nan_inf",
                "check_estimators_overwrite_params",
                "check_estimators_pickle",
                "check_f_contiguous_array_estimator",
                "check_fit2d_1feature",
                "check_fit2d_predict1d",
                "check_fit_score_takes_y",
                "check_methods_sample_order_invariance",
                "check_methods_subset_invariance",
                "check_n_features_in_after_fitting",
                "check_pipeline_consistency",
                "check_positive_only_tag_during_fit",
                "check_readonly_memmap_input",
                "check_supervised_y_2d",
            ),
            SHORT,
        ),
        **dict.fromkeys(("check_fit_check_is_fitted", "check_fit_idempotent", "check_n_features_in"), LOUD),
        "check_classifier_data_not_an_array": INT64,
        "check_dtype_object": COLUMNS,
    },
    SpeechEmbedding: {
        **dict.fromkeys(
            (
                "check_dict_unchanged",
                "check_estimators_dtypes",
                "check_estimators_pickle",
                "check_f_contiguous_array_estimator",
                "check_fit_score_takes_y",
                "check_methods_sample_order_invariance",
                "check_methods_subset_invariance",
                "check_pipeline_consistency",
                "check_transformer_data_not_an_array",
                "check_transformer_general",
                "check_transformers_unfitted_stateless",
            ),
            SHORT,
        ),
        "check_fit_idempotent": LOUD,
        "check_dtype_object": COLUMNS,
        "check_fit2d_predict1d": "the message for a single clip says to give [X], not to reshape it",
        **dict.fromkeys(("check_n_features_in", "check_n_features_in_after_fitting"), LENGTH),
        **dict.fromkeys(("check_complex_data", "check_estimators_nan_inf"), STATELESS),
    },
}


@parametrize_with_checks(
    [SpeechEmotionClassifier(sample_rate=16000), SpeechEmbedding(sample_rate=16000)],
    expected_failed_checks=lambda estimator: PLAIN[type(estimator)],
)
def test_numbers_as_they_are(estimator, check):
    check(estimator)


RATE = 8000
SECONDS = 0.1


def chords(x: np.ndarray) -> np.ndarray:
    """Clips in which each feature of a row decides the strength of one partial."""
    time = np.arange(round(SECONDS * RATE)) / RATE
    strengths = 1 / (1 + np.exp(-np.clip(x, -30, 30)))
    partials = np.sin(2 * np.pi * np.geomspace(200, 3500, x.shape[1])[:, None] * time)
    return 0.02 + 0.3 * np.tanh(0.01 + strengths @ partials / np.sqrt(x.shape[1]))


class Chords(SpeechEmotionClassifier):
    """The classifier, on numbers that are played as chords."""

    def fit(self, X, y, groups=None):
        if y is not None:
            X, y = validate_data(self, X, y, multi_output=True, dtype=float)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GroupsWarning)
            return super().fit(None if y is None else chords(X), y, groups)

    def predict_proba(self, X):
        if hasattr(self, "classes_"):
            X = chords(validate_data(self, X, reset=False, dtype=float))
        return super().predict_proba(X)


class EmbeddedChords(SpeechEmbedding):
    """The transformer, on numbers that are played as chords."""

    def fit(self, X, y=None):
        return super().fit(chords(validate_data(self, X, dtype=float)))

    def transform(self, X):
        return super().transform(chords(validate_data(self, X, reset=False, dtype=float)))


@pytest.mark.slow
@parametrize_with_checks(
    [
        Chords(sample_rate=RATE, settings={"model.C": [4.0], "model.gamma": [0.01]}, cache=False),
        EmbeddedChords(sample_rate=RATE, cache=False),
    ]
)
def test_numbers_as_chords(estimator, check):
    check(estimator)
