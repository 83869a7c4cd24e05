import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import pearsonr, spearmanr
from tests.conftest import EMOTIONS

from serlab.core import UserError
from serlab.evaluation.counts import count_by_speaker
from serlab.evaluation.raters import (
    agree_and_fail,
    error_similarity,
    judge_raters,
    krippendorff_alpha,
    plurality_counts,
    rater_counts,
)
from serlab.evaluation.resampling import Resampling
from serlab.evaluation.tracks import votes_of
from serlab.tables.predictions import make_table

LABELS = ("happy", "neutral", "sad")

FOUR_OBSERVERS = """
    1 2 3 3 2 1 4 1 2 . . .
    1 2 3 3 2 2 4 1 2 5 . 3
    . 3 3 3 2 3 4 2 2 5 1 .
    1 2 3 3 2 4 4 1 2 5 1 ."""
THREE_CODERS = """
    . . . . . 3 4 1 2 1 1 3 3 . 3
    1 . 2 1 3 3 4 3 . . . . . . .
    . . 2 1 3 4 4 . 2 1 1 3 3 . 4"""


def counts_of(text: str) -> np.ndarray:
    """Votes on each unit from a table with a line an observer."""
    table = np.array([[0 if cell == "." else int(cell) for cell in line.split()] for line in text.split("\n")[1:]])
    return (table.T[:, :, None] == np.arange(1, 6)).sum(axis=1)


def corpus_clips(speakers: int = 12, takes: int = 4, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    names = [f"s{number:02d}" for number in range(speakers)]
    rows = [(f"{name}_{label}_{take}", name, label) for name in names for label in LABELS for take in range(takes)]
    clips = pd.DataFrame(rows, columns=["clip", "speaker", "label"])
    heard = np.array([[6, 3, 1], [1, 8, 1], [1, 4, 5]]) / 10
    votes = random.multinomial(9, heard[[LABELS.index(label) for label in clips["label"]]])
    clips[[f"votes_voice_{label}" for label in LABELS]] = votes
    return clips


def predictions(clips: pd.DataFrame, seeds: int = 1, skill: float = 1.0) -> pd.DataFrame:
    """Tables of a model with a bias to neutral, one a seed."""
    tables = []
    for seed in range(seeds):
        logits = np.random.default_rng(seed).normal(size=(len(clips), 3)) + np.array([0, 0.7, 0])
        logits += skill * np.eye(3)[[LABELS.index(label) for label in clips["label"]]]
        tables.append(make_table(clips, logits, LABELS, side="test", fold=1, seed=seed))
    return pd.concat(tables, ignore_index=True)


@pytest.mark.parametrize(("text", "alpha"), [(FOUR_OBSERVERS, 0.743), (THREE_CODERS, 0.691)])
def test_alpha_of_krippendorffs_own_examples(text, alpha):
    """The nominal example of his 2011 paper, section C, and that of the article on alpha in Wikipedia."""
    assert krippendorff_alpha(counts_of(text)) == pytest.approx(alpha, abs=0.0005)


@given(arrays(np.int64, (8, 3), elements=st.integers(0, 3)))
def test_alpha_equals_the_pairs_counted_one_by_one(votes):
    observed = []
    pooled = []
    for row in votes:
        ballots = np.repeat(np.arange(3), row)
        if len(ballots) < 2:
            continue
        pairs = [a != b for i, a in enumerate(ballots) for j, b in enumerate(ballots) if i != j]
        observed += [(len(ballots), np.mean(pairs))]
        pooled += ballots.tolist()
    alpha = krippendorff_alpha(votes)
    if len(set(pooled)) < 2:
        assert np.isnan(alpha)
        return
    expected = np.mean([a != b for i, a in enumerate(pooled) for j, b in enumerate(pooled) if i != j])
    raters, share = map(np.array, zip(*observed, strict=True))
    assert alpha == pytest.approx(1 - (raters @ share / raters.sum()) / expected)


def test_every_vote_is_a_rating_and_every_untied_clip_an_answer():
    clips = pd.DataFrame({"clip": list("abcd"), "speaker": list("1122"), "label": ["happy", "sad", "sad", "sad"]})
    clips[[f"votes_voice_{label}" for label in LABELS]] = [(3, 1, 0), (2, 0, 2), (0, 1, 4), (0, 0, 0)]
    found = judge_raters(clips, LABELS)
    assert (found.raters.count, found.raters.dropped) == (13, 1)
    assert found.raters.confusion == ((3, 1, 0), (0, 0, 0), (2, 1, 6))
    assert found.raters.recall == {"happy": 3 / 4, "neutral": None, "sad": 6 / 9}
    assert found.raters.scores["uar"].value == pytest.approx((3 / 4 + 6 / 9) / 2)
    assert (found.plurality.count, found.plurality.dropped) == (2, 2)
    assert found.plurality.scores["wa"].value == 1.0
    assert rater_counts(clips, LABELS).by_speaker[0].tolist() == [
        [[3, 1, 0], [0, 0, 0], [2, 0, 2]],
        [[0, 0, 0], [0, 0, 0], [0, 1, 4]],
    ]
    json.dumps(asdict(found), allow_nan=False)


def test_people_have_intervals_over_speakers():
    found = judge_raters(corpus_clips(), LABELS, resampling=Resampling(replicates=500))
    for score in (found.raters.scores["uar"], found.plurality.scores["uar"], found.alpha):
        assert score.low < score.value < score.high
    assert found.plurality.scores["uar"].value > found.raters.scores["uar"].value
    assert found.alpha.value == pytest.approx(krippendorff_alpha(votes_of(corpus_clips(), LABELS).to_numpy()))
    unknown = judge_raters(corpus_clips(), LABELS, resampling=Resampling(known=False))
    assert {unknown.raters.scores["wa"].reason, unknown.alpha.reason} == {"the speakers are unknown"}


def test_the_interval_of_alpha_equals_resampling_of_clips():
    clips = corpus_clips()
    votes, speaker = votes_of(clips, LABELS).to_numpy(), np.repeat(np.arange(12), 12)

    def statistic(weights):
        drawn = weights[:, speaker].astype(int)
        return np.array([krippendorff_alpha(np.repeat(votes, times, axis=0)) for times in drawn])

    wanted = Resampling(replicates=200).interval(krippendorff_alpha(votes), statistic, 12)
    found = judge_raters(clips, LABELS, resampling=Resampling(replicates=200)).alpha
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_people_are_no_reference_where_nobody_voted_or_all_tie():
    clips = corpus_clips()
    columns = [f"votes_voice_{label}" for label in LABELS]
    with pytest.raises(UserError, match="have no voice votes"):
        judge_raters(clips.assign(**dict.fromkeys(columns, 0)), LABELS)
    tied = judge_raters(clips.assign(**dict.fromkeys(columns, 1)), LABELS)
    assert tied.plurality is None
    assert judge_raters(clips.assign(**dict(zip(columns, (2, 0, 0), strict=True))), LABELS).alpha is None
    with pytest.raises(UserError, match="unknown label 'hapy'; did you mean 'happy'"):
        judge_raters(clips.assign(label="hapy"), LABELS)


def test_likeness_equals_scipy_on_the_pooled_errors():
    clips = corpus_clips()
    model, raters = count_by_speaker(predictions(clips, seeds=2), LABELS), rater_counts(clips, LABELS)
    found = error_similarity(model, raters, resampling=Resampling(replicates=300))
    off = ~np.eye(3, dtype=bool)

    def rates(counts, weight):
        matrix = np.einsum("s,nskl->kl", weight, counts.by_speaker)
        return (matrix / matrix.sum(axis=1, keepdims=True))[off]

    for name, correlate in (("pearson", pearsonr), ("spearman", spearmanr)):

        def statistic(weights, correlate=correlate):
            return np.array([correlate(rates(model, weight), rates(raters, weight)).statistic for weight in weights])

        wanted = Resampling(replicates=300).interval(float(statistic(np.ones((1, 12)))[0]), statistic, 12)
        ours = getattr(found, name)
        assert (ours.value, ours.low, ours.high) == pytest.approx((wanted.value, wanted.low, wanted.high))
    assert found.pearson.value > 0.5
    json.dumps(asdict(found), allow_nan=False)


def test_people_err_like_themselves_and_a_model_without_errors_like_nobody():
    clips = corpus_clips()
    raters = rater_counts(clips, LABELS)
    same = error_similarity(raters, raters, resampling=Resampling(replicates=50))
    for correlation in (same.pearson, same.spearman):
        assert (correlation.value, correlation.low, correlation.high) == pytest.approx((1, 1, 1))
    perfect = count_by_speaker(predictions(clips, skill=100.0), LABELS)
    assert error_similarity(perfect, raters) == error_similarity(raters, perfect)
    assert error_similarity(perfect, raters).pearson is None


def test_likeness_needs_the_same_speakers():
    clips = corpus_clips()
    with pytest.raises(ValueError, match="same speakers"):
        error_similarity(rater_counts(clips, LABELS), plurality_counts(clips[12:], LABELS))


def test_a_label_that_nobody_says_has_no_errors():
    clips = corpus_clips()
    clips = clips[clips["label"] != "happy"]
    found = error_similarity(
        count_by_speaker(predictions(clips), LABELS), rater_counts(clips, LABELS), resampling=Resampling(replicates=50)
    )
    assert -1 <= found.pearson.low <= found.pearson.high <= 1


def test_clips_where_people_agree_and_the_model_fails_and_the_reverse():
    clips = pd.DataFrame({"clip": list("abcdef"), "speaker": list("112233"), "label": ["sad"] * 5 + ["happy"]})
    votes = pd.DataFrame(
        [(1, 1, 8), (0, 0, 9), (9, 0, 0), (1, 3, 1), (0, 0, 0), (4, 3, 3)], index=list("abcdef"), columns=LABELS
    )
    shares = [(0.6, 0.3, 0.1), (0.1, 0.8, 0.1), (0.2, 0.1, 0.7), (0.05, 0.05, 0.9), (0.9, 0.05, 0.05), (0.1, 0.1, 0.8)]
    table = make_table(clips, np.log(shares), LABELS, side="test", fold=1, seed=0)
    fails, wins = agree_and_fail(table.sample(frac=1, random_state=0), votes)
    assert list(fails.columns) == ["clip", "speaker", "label", "predicted", "probability", "share"]
    assert fails["clip"].tolist() == ["b", "a"]
    assert fails["predicted"].tolist() == ["neutral", "happy"]
    assert fails["probability"].tolist() == pytest.approx([0.8, 0.6])
    assert fails["share"].tolist() == [1.0, 0.8]
    assert wins["clip"].tolist() == ["d", "c"]
    assert wins["share"].tolist() == [0.2, 0.0]
    assert wins["speaker"].tolist() == ["2", "2"]


def test_seeds_are_joined_by_their_mean_probability():
    clips = pd.DataFrame({"clip": ["a"], "speaker": ["1"], "label": ["sad"]})
    votes = pd.DataFrame([(0, 0, 9)], index=pd.Index(["a"]), columns=LABELS)
    tables = [
        make_table(clips, np.log([share]), LABELS, side="test", fold=1, seed=seed)
        for seed, share in enumerate([(0.8, 0.1, 0.1), (0.1, 0.4, 0.5)])
    ]
    fails, wins = agree_and_fail(pd.concat(tables), votes)
    assert fails[["predicted", "probability"]].to_numpy().tolist() == [["happy", pytest.approx(0.45)]]
    assert wins.empty


def test_clips_and_labels_without_votes_are_named():
    clips = corpus_clips()
    votes = votes_of(clips, LABELS)
    with pytest.raises(UserError, match="no votes of clip s00_happy_0"):
        agree_and_fail(predictions(clips), votes[1:])
    with pytest.raises(UserError, match="unknown label 'sad'"):
        agree_and_fail(predictions(clips), votes[["happy", "neutral"]])


@settings(max_examples=20)
@given(st.integers(0, 99))
def test_no_clip_is_in_both_tables(seed):
    clips = corpus_clips(speakers=3, seed=seed)
    fails, wins = agree_and_fail(predictions(clips), votes_of(clips, LABELS), agree=0.3, fail=0.7)
    assert not set(fails["clip"]) & set(wins["clip"])
    assert (fails["predicted"] != fails["label"]).all()
    assert (wins["predicted"] == wins["label"]).all()


@pytest.mark.cremad
def test_raters_of_cremad_from_the_voice_alone(cremad_clips):
    """The figures of the corpus's raw votes, in percent."""
    found = judge_raters(cremad_clips, EMOTIONS)
    assert found.raters.count == 68568
    assert 100 * found.raters.scores["wa"].value == pytest.approx(40.0, abs=0.05)
    assert 100 * found.raters.scores["uar"].value == pytest.approx(40.7, abs=0.05)
    recall = {label: 100 * share for label, share in found.raters.recall.items()}
    wanted = {"neutral": 76.2, "angry": 53.2, "fear": 32.1, "happy": 29.0, "disgust": 28.6, "sad": 25.0}
    assert recall == pytest.approx(wanted, abs=0.05)
    assert (found.plurality.count, found.plurality.dropped) == (6798, 644)
    assert 100 * found.plurality.scores["wa"].value == pytest.approx(45.6, abs=0.05)
    assert found.raters.scores["uar"].low < found.raters.scores["uar"].value < found.raters.scores["uar"].high
    assert rater_counts(cremad_clips, EMOTIONS).by_speaker.shape == (1, 91, 6, 6)


@pytest.mark.cremad
def test_faces_of_cremad_tell_more_than_voices(cremad_clips):
    """Cao et al. 2014 give 40.9, 58.2 and 63.6 % for voice, face and both."""
    found = {
        name: judge_raters(cremad_clips, EMOTIONS, name, resampling=Resampling(replicates=200))
        for name in ("voice", "face", "both")
    }
    shares = {modality: 100 * each.raters.scores["wa"].value for modality, each in found.items()}
    assert shares == pytest.approx({"voice": 40.9, "face": 58.2, "both": 63.6}, abs=1.0)
    assert found["voice"].alpha.value < found["face"].alpha.value < found["both"].alpha.value
