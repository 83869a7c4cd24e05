import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, multivariate_hypergeom
from sklearn.metrics import f1_score

from serlab.core import UserError
from serlab.evaluation.resampling import Resampling
from serlab.evaluation.soft import ceiling, divergence, soft_scores, split_panels

K = 4
counts = st.integers(1, 30).flatmap(
    lambda clips: st.tuples(
        arrays(np.int64, (clips, K), elements=st.integers(0, 6)).map(lambda v: v + (v.sum(axis=1, keepdims=True) == 0)),
        arrays(np.float64, (clips, K), elements=st.floats(0.01, 1)).map(lambda p: p / p.sum(axis=1, keepdims=True)),
    )
)


def sample(speakers: int, clips: int, seed: int = 0):
    """Probabilities, votes and speakers: speakers differ in how well they are understood."""
    random = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(speakers), clips)
    truth = random.dirichlet(np.ones(K), len(speaker))
    votes = random.multinomial(9, truth)
    noise = random.dirichlet(np.ones(K), len(speaker))
    share = (0.3 + 0.5 * np.sin(speaker) ** 2)[:, None]
    return share * truth + (1 - share) * noise, votes, speaker


@given(counts)
@settings(max_examples=60)
def test_scores_equal_scipy_and_scikit_learn(case):
    votes, probabilities = case
    shares = votes / votes.sum(axis=1, keepdims=True)
    found = soft_scores(probabilities, votes, np.zeros(len(votes), int))
    with np.errstate(invalid="ignore"):  # scipy takes the root of -1e-17 where the two are all but equal
        wanted = np.nan_to_num(jensenshannon(shares, probabilities, base=2, axis=1) ** 2)
    assert found.divergence.value == pytest.approx(wanted.mean(), abs=1e-9)
    cross = entropy(shares, axis=1) + entropy(shares, probabilities, axis=1)
    assert found.cross_entropy.value == pytest.approx(cross.mean())
    assert found.entropy == pytest.approx(entropy(shares, axis=1).mean())
    meant, said = shares > 1 / K, probabilities > 1 / K
    if meant.any():
        present = np.flatnonzero(meant.any(axis=0)).tolist()
        wanted = f1_score(meant, said, labels=present, average="macro", zero_division=0)
        assert found.macro_f1.value == pytest.approx(wanted)
    else:
        assert found.macro_f1 is None
    json.dumps(asdict(found), allow_nan=False)


@given(counts)
def test_divergence_is_symmetric_and_between_nought_and_one(case):
    votes, probabilities = case
    shares = votes / votes.sum(axis=1, keepdims=True)
    there, back = divergence(shares, probabilities), divergence(probabilities, shares)
    np.testing.assert_allclose(there, back, atol=1e-15)
    assert ((there >= 0) & (there <= 1)).all()


def test_a_share_of_exactly_one_in_k_is_not_positive():
    """As EMO-SUPERB's code has it; 2 of 12 and 1 of 6 are the same share."""
    votes = np.array([[4, 1, 1, 0, 0, 0], [8, 2, 2, 0, 0, 0]])
    certain = np.tile([1.0, 0, 0, 0, 0, 0], (2, 1))
    assert soft_scores(certain, votes, np.array([0, 1])).macro_f1.value == 1.0
    uniform = np.full((2, 6), 1 / 6)
    assert soft_scores(uniform, votes, np.array([0, 1])).macro_f1.value == 0.0


def test_intervals_equal_resampling_of_rows():
    probabilities, votes, speaker = sample(12, 8)
    shares = votes / votes.sum(axis=1, keepdims=True)
    found = soft_scores(probabilities, votes, speaker, resampling=Resampling(replicates=200, seed=3))

    def resampled(score):
        def statistic(weights):
            chosen = [np.repeat(np.arange(len(speaker)), weight[speaker].astype(int)) for weight in weights]
            return np.array([score(rows) for rows in chosen])

        return Resampling(replicates=200, seed=3).interval(score(np.arange(len(speaker))), statistic, 12)

    wanted = {
        "macro_f1": lambda rows: f1_score(shares[rows] > 1 / K, probabilities[rows] > 1 / K, average="macro"),
        "divergence": lambda rows: (jensenshannon(shares[rows], probabilities[rows], base=2, axis=1) ** 2).mean(),
        "cross_entropy": lambda rows: -(shares[rows] * np.log(probabilities[rows])).sum(axis=1).mean(),
    }
    for name, score in wanted.items():
        ours, theirs = getattr(found, name), resampled(score)
        assert (ours.value, ours.low, ours.high) == pytest.approx((theirs.value, theirs.low, theirs.high), abs=1e-9)
        assert ours.low < ours.value < ours.high


def test_macro_f1_is_the_mean_over_trainings():
    first, votes, speaker = sample(12, 8)
    second = sample(12, 8, seed=1)[0]
    alone = [
        soft_scores(probabilities, votes, speaker, resampling=Resampling(replicates=50))
        for probabilities in (first, second)
    ]
    both = soft_scores(
        np.concatenate([first, second]),
        np.concatenate([votes, votes]),
        np.concatenate([speaker, speaker]),
        training=np.repeat([3, 7], len(speaker)),
        resampling=Resampling(replicates=50),
    )
    for name in ("macro_f1", "divergence", "cross_entropy"):
        assert getattr(both, name).value == pytest.approx(np.mean([getattr(one, name).value for one in alone]))


def test_clips_without_votes_are_counted_and_never_judged():
    probabilities, votes, speaker = sample(12, 8)
    silenced = votes.copy()
    silenced[::8] = 0
    found = soft_scores(probabilities, silenced, speaker, resampling=Resampling(replicates=50))
    kept = silenced.any(axis=1)
    assert (found.predictions, found.without_votes) == (84, 12)
    assert (
        found.divergence
        == soft_scores(probabilities[kept], votes[kept], speaker[kept], resampling=Resampling(replicates=50)).divergence
    )
    with pytest.raises(UserError, match="no clip of the predictions has a vote"):
        soft_scores(probabilities, np.zeros_like(votes), speaker)


def test_a_certain_and_wrong_model_has_a_finite_cross_entropy():
    found = soft_scores(np.array([[1.0, 0.0]]), np.array([[0, 5]]), np.array([0]))
    assert found.cross_entropy.value == pytest.approx(-np.log(1e-12))
    assert (found.cross_entropy.low, found.divergence.value) == (None, 1.0)


@given(arrays(np.int64, (5, K), elements=st.integers(0, 6)), st.integers(0, 99))
def test_panels_are_halves_of_the_votes(votes, seed):
    drawn = split_panels(votes, draws=3, seed=seed)
    assert ((drawn >= 0) & (drawn <= votes)).all()
    assert (drawn.sum(axis=-1) == votes.sum(axis=1) // 2).all()
    assert np.array_equal(drawn, split_panels(votes, draws=3, seed=seed))


def test_panels_are_drawn_as_the_multivariate_hypergeometric_says():
    votes = np.array([3, 2, 1])
    drawn = split_panels(np.tile(votes, (4000, 1)), draws=5).reshape(-1, 3)
    counts, times = np.unique(drawn, axis=0, return_counts=True)
    wanted = multivariate_hypergeom.pmf(counts, votes, 3)
    assert wanted.sum() == pytest.approx(1)
    np.testing.assert_allclose(times / len(drawn), wanted, atol=0.015)


def test_raters_who_agree_put_no_ceiling():
    votes = np.tile(9 * np.eye(K, dtype=int), (12, 1))
    found = ceiling(votes, np.repeat(np.arange(12), K), resampling=Resampling(replicates=50))
    assert (found.agreement.value, found.uar.value, found.macro_f1.value, found.divergence.value) == (1, 1, 1, 0)
    assert (found.clips, found.left_out, found.tied, found.raters) == (48, 0, 0, 4.5)


def test_raters_who_guess_agree_by_chance():
    votes = np.random.default_rng(0).multinomial(9, np.full(K, 1 / K), size=4000)
    found = ceiling(votes, np.arange(4000) % 20, draws=4)
    assert found.agreement.value == pytest.approx(1 / K, abs=0.02)
    assert found.agreement.low < found.agreement.value < found.agreement.high
    json.dumps(asdict(found), allow_nan=False)


def test_ties_share_a_clip_where_they_answer_and_drop_it_where_they_are_asked():
    """Votes 2 to 1: one rater against two. Worked out by hand over the three ways to split them."""
    found = ceiling(np.tile([2, 1], (600, 1)), np.arange(600) % 20, draws=20)
    assert found.agreement.value == pytest.approx((2 / 3 / 2) / (1 + 1 / 3), abs=0.02)
    assert found.tied == pytest.approx(600 * (2 / 3) / 2, abs=15)


def test_clips_of_one_rater_cannot_be_split():
    votes = np.array([[1, 0], [0, 0], [4, 0], [0, 4]])
    found = ceiling(votes, np.arange(4))
    assert (found.clips, found.left_out) == (2, 2)
    assert "fewer than 10 speakers (2)" in found.agreement.reason
    with pytest.raises(UserError, match="no clip has two votes"):
        ceiling(votes[:2], np.arange(2))
