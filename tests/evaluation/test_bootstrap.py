import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, t
from sklearn.metrics import f1_score, recall_score
from tests.evaluation.conftest import counts_of

from serlab.evaluation.bootstrap import differences, intervals
from serlab.evaluation.influence import standard_error
from serlab.evaluation.metrics import METRICS, UAR, confusion
from serlab.evaluation.resampling import FEWEST_SPEAKERS, Resampling

CLASSES = 3


def rows_of(speakers: int, clips: int, seed: int, skill: float = 0.5):
    """Speaker, truth and guess of each clip; speakers differ in how well they are understood."""
    random = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(speakers), clips)
    truth = np.tile(np.arange(clips) % CLASSES, speakers)
    right = random.random(len(truth)) < np.clip(skill + 0.25 * np.sin(speaker), 0, 1)
    guess = np.where(right, truth, random.integers(0, CLASSES, len(truth)))
    return speaker, truth, guess


def counted(speaker, truth, guess, folds: int = 1):
    return counts_of(confusion(truth, guess, CLASSES, group=speaker, groups=speaker.max() + 1)[None], folds)


def tails(speakers: int) -> tuple[float, float]:
    """Hesterberg's expanded tails, through scipy's distributions."""
    tail = norm.cdf(np.sqrt(speakers / (speakers - 1)) * t.ppf(0.025, speakers - 1))
    return tail, 1 - tail


def test_equals_resampling_of_rows():
    speaker, truth, first = rows_of(12, 9, seed=1)
    _, _, second = rows_of(12, 9, seed=2, skill=0.3)
    found = intervals(counted(speaker, truth, first), resampling=Resampling(replicates=300, seed=7))
    difference = differences(
        counted(speaker, truth, first), counted(speaker, truth, second), resampling=Resampling(replicates=300, seed=7)
    )
    weights = np.random.default_rng(7).multinomial(12, np.full(12, 1 / 12), size=300)
    brute = {"uar": [], "macro_f1": [], "difference": []}
    for weight in weights:
        rows = np.repeat(np.arange(len(truth)), weight[speaker])
        one, other = (recall_score(truth[rows], guess[rows], average="macro") for guess in (first, second))
        brute["uar"].append(one)
        brute["difference"].append(one - other)
        brute["macro_f1"].append(f1_score(truth[rows], first[rows], average="macro"))
    one, other = counted(speaker, truth, first), counted(speaker, truth, second)
    for ends, values, error in (
        (found["uar"], brute["uar"], standard_error([one], UAR)),
        (found["macro_f1"], brute["macro_f1"], standard_error([one], METRICS["macro_f1"])),
        (difference["uar"], brute["difference"], standard_error([one, other], UAR)),
    ):
        length = t.ppf(0.975, error.freedom) * error.error
        widening = max(1, length / (t.ppf(0.975, 11) * np.sqrt(12 / 11) * np.std(values)))
        percentiles = np.quantile(values, tails(12)) - ends.value
        np.testing.assert_allclose((ends.low, ends.high), ends.value + widening * percentiles, atol=1e-12)
    assert found["uar"].value == pytest.approx(recall_score(truth, first, average="macro"), abs=1e-12)


def test_the_interval_of_a_mean_is_close_to_students():
    values = np.random.default_rng(3).normal(0.6, 0.1, 20)
    found = Resampling(replicates=20_000).interval(values.mean(), lambda weights: weights @ values / 20, 20)
    half = t.ppf(0.975, 19) * values.std(ddof=1) / np.sqrt(20)
    # Student's is symmetric; the bootstrap's leans to where the sample does.
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.05)
    assert (found.high + found.low) / 2 == pytest.approx(values.mean(), abs=0.1 * half)


@pytest.mark.parametrize("speakers", [12, 40])
def test_covers_the_truth_about_as_often_as_it_says(speakers):
    inside = 0
    for trial in range(300):
        random = np.random.default_rng(trial)
        hits = random.binomial(20, np.clip(random.normal(0.6, 0.1, speakers), 0, 1))
        matrices = np.zeros((1, speakers, 2, 2), int)
        matrices[0, :, 0, 0], matrices[0, :, 0, 1], matrices[0, :, 1, 1] = hits, 20 - hits, 1
        found = intervals(counts_of(matrices), resampling=Resampling(replicates=400, seed=trial))["uar"]
        inside += found.low <= (0.6 + 1) / 2 <= found.high
    assert 0.91 <= inside / 300 <= 0.985


@given(st.integers(FEWEST_SPEAKERS, 20), st.integers(0, 99))
@settings(max_examples=20)
def test_identical_recipes_differ_by_nothing(speakers, seed):
    counts = counted(*rows_of(speakers, 6, seed))
    for found in differences(counts, counts, resampling=Resampling(replicates=50)).values():
        assert (found.value, found.low, found.high, found.inner_low, found.inner_high) == (0, 0, 0, 0, 0)


@given(st.integers(0, 99))
@settings(max_examples=20)
def test_the_difference_is_antisymmetric(seed):
    speaker, truth, first = rows_of(11, 6, seed)
    second = rows_of(11, 6, seed + 100)[2]
    one, other = counted(speaker, truth, first), counted(speaker, truth, second)
    there, back = (
        differences(a, b, resampling=Resampling(replicates=200))["uar"] for a, b in ((one, other), (other, one))
    )
    np.testing.assert_allclose(
        (there.value, there.low, there.high, there.inner_low),
        (-back.value, -back.high, -back.low, -back.inner_high),
        rtol=0,
        atol=1e-12,
    )
    assert there.low <= there.inner_low <= there.inner_high <= there.high


def test_several_seeds_are_averaged():
    speaker, truth, first = rows_of(12, 6, seed=1)
    each = [counted(speaker, truth, guess) for guess in (first, rows_of(12, 6, seed=2)[2])]
    both = counts_of(np.concatenate([counts.matrices for counts in each]))
    alone = [intervals(counts, resampling=Resampling(replicates=50))["uar"].value for counts in each]
    assert intervals(both, resampling=Resampling(replicates=50))["uar"].value == pytest.approx(
        np.mean(alone), abs=1e-12
    )


def test_seeds_that_agree_add_nothing_to_the_interval():
    counts = counted(*rows_of(12, 6, seed=1))
    alone = intervals(counts, resampling=Resampling(replicates=200))["uar"]
    thrice = intervals(
        counts_of(np.repeat(counts.matrices, 3, axis=0), folds=4), resampling=Resampling(replicates=200)
    )["uar"]
    assert (thrice.low, thrice.high) == pytest.approx((alone.low, alone.high), abs=1e-12)


def test_the_spread_of_seeds_is_that_of_independent_trainings_in_each_fold():
    """Speakers who are alike leave the seeds alone: the variance is the mean of the folds', over seeds and folds."""
    folds, seeds, speakers = 5, 3, 50
    right = np.random.default_rng(0).integers(10, 30, (seeds, folds))
    matrices = np.zeros((seeds, speakers, 2, 2), int)
    matrices[..., 0, 0] = np.repeat(right, speakers // folds, axis=1)
    matrices[..., 0, 1] = 40 - matrices[..., 0, 0]
    matrices[..., 1, 1] = 40
    unlike = np.repeat(right[:, :1], folds, axis=1)
    for effect in (right, unlike):
        matrices[..., 0, 0] = np.repeat(effect, speakers // folds, axis=1)
        matrices[..., 0, 1] = 40 - matrices[..., 0, 0]
        found = intervals(counts_of(matrices, folds), resampling=Resampling(replicates=20_000))["uar"]
        of_speakers = np.var((effect / 40).mean(axis=0)) / speakers / 4
        of_seeds = np.mean(np.var(effect / 40, axis=0, ddof=1)) / seeds / folds / 4
        spread = np.var(effect / 40, axis=0, ddof=1)
        freedom = (seeds - 1) * spread.sum() ** 2 / np.sum(spread**2)
        surplus = of_speakers**2 / (speakers - 1) + of_seeds**2 / freedom
        half = -t.ppf(0.025, (of_speakers + of_seeds) ** 2 / surplus) * np.sqrt(of_speakers + of_seeds)
        assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.03)


def test_two_trainings_that_scatter_do_not_raise_false_alarms():
    """Two recipes alike, whose trainings scatter about as much as the draw of the speakers does."""
    speakers, clips, shown = 40, 50, 0
    for trial in range(400):
        random = np.random.default_rng(trial)
        spoken = random.normal(0.6, 0.08, speakers)
        pair = []
        for _ in range(2):
            trained = random.normal(0, 0.03, (2, 1))
            matrices = np.zeros((2, speakers, 2, 2), int)
            for label in range(2):
                right = random.binomial(clips, np.clip(spoken + trained, 0, 1))
                matrices[..., label, label], matrices[..., label, 1 - label] = right, clips - right
            pair.append(counts_of(matrices))
        found = differences(*pair, resampling=Resampling(replicates=400, seed=trial))["uar"]
        shown += not found.low <= 0 <= found.high
    assert shown / 400 <= 0.075


def test_two_trainings_far_apart_leave_everything_open():
    """Two trainings of one fold say next to nothing of training again; the ends stay within what a score can be."""
    matrices = np.zeros((2, 20, 2, 2), int)
    matrices[..., 0, 0] = [[10], [40]]
    matrices[..., 0, 1] = 40 - matrices[..., 0, 0]
    matrices[..., 1, 1] = 40
    found = intervals(counts_of(matrices), resampling=Resampling(replicates=400))["uar"]
    assert (found.low, found.high) == (0, 1)
    apart = differences(counts_of(matrices), counts_of(matrices[::-1]), resampling=Resampling(replicates=400))["uar"]
    assert (apart.low, apart.value, apart.high) == (-1, 0, 1)


@pytest.mark.parametrize(("speakers", "known", "reason"), [(9, True, "fewer than 10"), (40, False, "unknown")])
def test_no_interval_without_enough_known_speakers(speakers, known, reason):
    counts = counted(*rows_of(speakers, 6, seed=0))
    for found in intervals(counts, resampling=Resampling(known=known)).values():
        assert (found.low, found.high) == (None, None)
        assert reason in found.reason
        assert 0 < found.value < 1
    other = Resampling(known=known).interval(0.5, lambda weights: weights[:, 0], speakers)
    assert (other.value, other.low) == (0.5, None)
    assert reason in other.reason


def test_no_interval_where_a_label_hangs_on_one_speaker():
    matrices = np.zeros((1, 12, 2, 2), int)
    matrices[0, :, 0, 0] = 5
    matrices[0, 3, 1, 1] = 2
    found = intervals(counts_of(matrices), resampling=Resampling(replicates=200))["uar"]
    assert found.low is None
    assert "one speaker alone" in found.reason


def test_no_interval_of_what_few_replicates_define():
    found = Resampling(replicates=200).interval(0.5, lambda weights: np.where(weights[:, 0] > 0, 1.0, np.nan), 12)
    assert found.low is None
    assert "too few speakers" in found.reason


def test_a_label_that_nobody_says_does_not_stop_the_interval():
    matrices = np.zeros((1, 12, 3, 3), int)
    matrices[0, :, 0, 0], matrices[0, :, 1, 1], matrices[0, :, 1, 2] = 3, 2, range(12)
    assert intervals(counts_of(matrices), resampling=Resampling(replicates=200))["uar"].low is not None


def test_different_clips_are_no_pair():
    counts = counted(*rows_of(12, 6, seed=0))
    with pytest.raises(ValueError, match="same clips"):
        differences(counts, counts_of(2 * counts.matrices))
