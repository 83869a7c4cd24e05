"""A metric that is only registered is scored, resampled, tested, planned with and printed like the others."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, matthews_corrcoef
from tests.evaluation.conftest import counts_of

from serlab.evaluation.bootstrap import differences, intervals
from serlab.evaluation.judge import evaluate, evaluate_pair
from serlab.evaluation.lines import evaluation_lines, pair_lines
from serlab.evaluation.metrics import METRICS, Format, Metric, uar
from serlab.evaluation.planning import plan
from serlab.evaluation.resampling import Resampling
from serlab.evaluation.significance import swap_test
from serlab.tables.predictions import make_table

LABELS = ("high", "low", "mid")


def mcc(matrices):
    """Matthews correlation of K labels (Gorodkin 2004)."""
    total = matrices.sum(axis=(-2, -1))
    true, said = matrices.sum(axis=-1), matrices.sum(axis=-2)
    hits = np.trace(matrices, axis1=-2, axis2=-1)
    spread = (total**2 - (said**2).sum(axis=-1)) * (total**2 - (true**2).sum(axis=-1))
    return (hits * total - (true * said).sum(axis=-1)) / np.sqrt(spread)


def speaker_uars(matrices):
    """Each speaker's own UAR, and one to count the speaker."""
    return np.stack([uar(matrices), np.ones(matrices.shape[:-2])], axis=-1)


MCC = Metric("mcc", "MCC", mcc, range=(-1, 1), format=Format(1, 2, "", ""))
BY_SPEAKER = Metric("by_speaker", "mean UAR", lambda sums: sums[..., 0] / sums[..., 1], statistics=speaker_uars)


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(METRICS, "mcc", MCC)
    monkeypatch.setitem(METRICS, "by_speaker", BY_SPEAKER)


def table_of(skill: float, seed: int = 0, speakers: int = 24, training: int = 0) -> pd.DataFrame:
    random = np.random.default_rng([seed, training])
    rows = [(f"{s}-{label}-{take}", f"s{s:02d}", label) for s in range(speakers) for label in LABELS for take in "abcd"]
    clips = pd.DataFrame(rows, columns=["clip", "speaker", "label"])
    truth = clips["label"].map(LABELS.index).to_numpy()
    ease = np.repeat(np.random.default_rng(1).uniform(-0.2, 0.2, speakers), 12)
    other = (truth + random.integers(1, 3, len(truth))) % 3
    said = np.where(random.random(len(truth)) < skill + ease, truth, other)
    return make_table(clips, np.eye(3)[said], LABELS, side="test", fold=1, seed=training)


def answers_of(table: pd.DataFrame):
    logits = table[[f"logit_{label}" for label in LABELS]].to_numpy()
    return table["label"].map(LABELS.index).to_numpy(), logits.argmax(axis=1)


def test_it_has_a_value_an_interval_and_a_line():
    table = table_of(0.6)
    result = evaluate(table)
    truth, said = answers_of(table)
    assert result.scores["mcc"].value == pytest.approx(matthews_corrcoef(truth, said))
    assert result.scores["mcc"].low < result.scores["mcc"].value < result.scores["mcc"].high
    lines = evaluation_lines(result)
    assert any(line.split()[:2] == ["MCC", f"{result.scores['mcc'].value:.2f}"] for line in lines)
    pair = evaluate_pair(table, table_of(0.4))
    assert pair.comparison.differences["mcc"].value > 0.1
    assert any(line.startswith("MCC") and "+0." in line for line in pair_lines(pair))


def test_the_mean_over_speakers_counts_each_speaker_once():
    table = table_of(0.6)
    few = table[(table["speaker"] != "s00") | table["clip"].str.endswith("-a")]
    each = [(said == truth).mean() for _, part in few.groupby("speaker") for truth, said in [answers_of(part)]]
    found = evaluate(few).scores
    assert found["by_speaker"].value == pytest.approx(np.mean(each))
    assert found["by_speaker"].value != pytest.approx(found["uar"].value, abs=1e-6)
    weights = Resampling().draw(24)
    brute = (weights @ each) / 24
    assert found["by_speaker"].low == pytest.approx(np.quantile(brute, 0.02), abs=0.01)


@pytest.mark.parametrize(("first", "second"), [(0.05, 0.1), (0.1, 0.9)])
def test_intervals_of_several_seeds_keep_to_its_range(first, second):
    """Worse than chance, so below zero: clipping at zero would turn the interval round."""
    rows = pd.concat([table_of(skill, training=seed) for seed, skill in enumerate((first, second))])
    found = evaluate(rows).scores["mcc"]
    assert -1 <= found.low < found.value < found.high <= 1
    if second < 0.2:
        assert found.high < 0
    apart = evaluate_pair(rows, rows.assign(seed=1 - rows["seed"])).comparison.differences["mcc"]
    assert -2 <= apart.low <= apart.value <= apart.high <= 2


def test_two_trainings_far_apart_leave_the_whole_range_open():
    matrices = np.zeros((2, 20, 2, 2), int)
    matrices[0] = [[40, 1], [1, 40]]
    matrices[1] = [[1, 40], [40, 1]]
    counts = counts_of(matrices)
    found = intervals(counts, resampling=Resampling(replicates=200))["mcc"]
    assert (found.low, found.high) == (-1, 1)
    apart = differences(counts, counts_of(matrices[::-1]), resampling=Resampling(replicates=200))["mcc"]
    assert (apart.low, apart.high) == (-2, 2)


def test_the_swap_test_and_the_planning_take_it():
    def counts(skill, seed):
        truth_said = [answers_of(part) for _, part in table_of(skill, seed).groupby("speaker")]
        return counts_of([[[[np.sum((t == i) & (s == j)) for j in range(3)] for i in range(3)] for t, s in truth_said]])

    first, second, same = counts(0.7, 1), counts(0.4, 2), counts(0.7, 3)
    assert swap_test(first, second, MCC) < 0.001 < swap_test(first, same, MCC)
    assert plan(first, second, 0.1, metric=MCC).speakers < plan(first, second, 0.05, metric=MCC).speakers
    assert plan(first, second, 1.5, metric=MCC).speakers == 10


def test_the_documented_example_is_cohens_kappa():
    def kappa(matrices):
        total = matrices.sum(axis=(-2, -1))
        agreed = np.trace(matrices, axis1=-2, axis2=-1) / total
        chance = (matrices.sum(axis=-1) * matrices.sum(axis=-2)).sum(axis=-1) / total**2
        return (agreed - chance) / (1 - chance)

    truth, said = answers_of(table_of(0.6))
    matrix = np.array([[np.sum((truth == i) & (said == j)) for j in range(3)] for i in range(3)])
    assert kappa(matrix) == pytest.approx(cohen_kappa_score(truth, said))
