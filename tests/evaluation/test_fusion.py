"""Fused tables are the means they say they are, whatever the order of rows and labels; weights are those of scipy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from serlab.core import UserError
from serlab.evaluation.fusion import fit_weights, fuse
from serlab.tables.predictions import logits_of, probabilities_of

LABELS = ("angry", "happy", "sad")


def table(seed: int, clips: int = 20, labels: tuple[str, ...] = LABELS) -> pd.DataFrame:
    scores = np.random.default_rng(seed).normal(0, 3, (clips, len(labels))).astype(np.float32)
    known = {"clip": [f"c{i}" for i in range(clips)], "speaker": "s", "label": "sad", "side": "test", "fold": 1}
    return pd.DataFrame({**known, "seed": seed} | {f"logit_{label}": scores[:, i] for i, label in enumerate(labels)})


def test_the_mean_of_log_probabilities_and_that_of_probabilities() -> None:
    tables = [table(seed) for seed in range(3)]
    logits = [logits_of(each) for each in tables]

    logs = probabilities_of(fuse(tables))
    shares = probabilities_of(fuse(tables, "probabilities"))

    np.testing.assert_allclose(
        logs, softmax(np.mean([log_softmax(x, axis=1) for x in logits], axis=0), axis=1), atol=1e-6
    )
    np.testing.assert_allclose(shares, np.mean([softmax(x, axis=1) for x in logits], axis=0), atol=1e-6)


def test_neither_rows_nor_labels_need_the_same_order() -> None:
    one, other = table(1), table(2)
    shuffled = other.sample(frac=1, random_state=0)
    turned = shuffled[[*other.columns[:6], "logit_sad", "logit_angry", "logit_happy"]]

    pd.testing.assert_frame_equal(fuse([one, other]), fuse([one, turned]))


def judged(seed: int, skill: float, clips: int = 60) -> pd.DataFrame:
    """A model that leans to the true label, which is each in turn."""
    made = table(seed, clips)
    truth = np.array(LABELS)[np.arange(clips) % 3]
    lean = skill * (truth[:, None] == np.array(LABELS))
    names = [f"logit_{label}" for label in LABELS]
    return made.assign(label=truth, **{name: made[name] + lean[:, i] for i, name in enumerate(names)})


def likelihood(tables: list[pd.DataFrame], weights: np.ndarray) -> float:
    logs = np.array([log_softmax(logits_of(each), axis=1) for each in tables])
    truth = np.arange(len(tables[0])) % 3
    return float(log_softmax(np.einsum("m,mck->ck", weights, logs), axis=1)[np.arange(len(truth)), truth].mean())


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(0, 6), min_size=2, max_size=3), st.integers(0, 1000))
def test_fitted_weights_are_the_likeliest(skills: list[float], key: int) -> None:
    tables = [judged(key + place, skill) for place, skill in enumerate(skills)]
    weights = np.array(fit_weights(tables))

    # Powell's method needs no gradient, and starts elsewhere.
    other = minimize(
        lambda w: -likelihood(tables, w), np.ones(len(tables)), method="Powell", bounds=[(0, 20)] * len(tables)
    )
    assert (weights >= 0).all()
    assert likelihood(tables, weights) >= -other.fun - 1e-5


def test_one_that_guesses_changes_nothing_and_one_that_is_too_sure_gets_less_weight() -> None:
    good = judged(1, 2.0, clips=3000)
    guess = good.assign(**{f"logit_{label}": 0.0 for label in LABELS})
    surer = good.assign(**{f"logit_{label}": 1.5 * good[f"logit_{label}"] for label in LABELS})

    alone = fit_weights([good])[0]
    assert fit_weights([good, guess])[0] == pytest.approx(alone, rel=1e-3)
    assert fit_weights([surer])[0] == pytest.approx(alone / 1.5, rel=1e-3)


def test_weights_are_summed() -> None:
    tables = [table(seed) for seed in range(2)]
    logs = [log_softmax(logits_of(each), axis=1) for each in tables]
    found = probabilities_of(fuse(tables, weights=[0.3, 1.4]))
    np.testing.assert_allclose(found, softmax(0.3 * logs[0] + 1.4 * logs[1], axis=1), atol=1e-6)


def test_weights_need_clips() -> None:
    with pytest.raises(UserError, match="no clips to fit"):
        fit_weights([table(1, clips=0), table(2, clips=0)])


@pytest.mark.parametrize(
    "other", [table(2, clips=19), table(2).assign(fold=2), table(2).replace("c3", "c99")], ids=["fewer", "fold", "name"]
)
def test_tables_of_other_clips_are_refused(other: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="different clips"):
        fuse([table(1), other])


def test_tables_of_other_labels_are_refused() -> None:
    with pytest.raises(UserError, match="labels angry, happy, sad and angry, calm, sad"):
        fuse([table(1), table(2, labels=("angry", "calm", "sad"))])
