import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.conftest import EMOTIONS

from serlab.core import UserError
from serlab.corpora.base import Corpus
from serlab.evaluation.judge import evaluate, evaluate_all, evaluate_pair
from serlab.evaluation.lines import evaluation_lines, pair_lines
from serlab.evaluation.prepare import prepare
from serlab.evaluation.resampling import Interval
from serlab.tables.predictions import make_table


def corpus_of(speakers: int = 12) -> Corpus:
    rows = [(f"s{s:02d}_{label}", f"s{s:02d}", label) for s in range(speakers) for label in EMOTIONS]
    clips = pd.DataFrame(rows, columns=["clip", "speaker", "label"])
    return Corpus("mine", clips, EMOTIONS, "none", "none", "f" * 64, "the user's own files")


def probabilities(clips: pd.DataFrame, right: int = 4) -> pd.DataFrame:
    """Every clip of the first ``right`` labels is right, every other one is called the first label."""
    table = clips[["clip"]].copy()
    for label in EMOTIONS:
        said = clips["label"].where(clips["label"].isin(EMOTIONS[:right]), EMOTIONS[0])
        table[f"prob_{label}"] = np.where(said == label, 0.9, 0.02)
    return table


def right_logits(clips: pd.DataFrame) -> np.ndarray:
    return np.eye(6)[[EMOTIONS.index(label) for label in clips["label"]]]


def test_a_foreign_csv_is_joined_to_its_corpus(tmp_path):
    corpus = corpus_of()
    probabilities(corpus.clips).to_csv(tmp_path / "theirs.csv", index=False)
    result = evaluate(tmp_path / "theirs.csv", corpus)
    assert evaluate(str(tmp_path / "theirs.csv"), corpus) == result
    assert result.scores["uar"].value == pytest.approx(4 / 6)
    assert result.scores["uar"].low == pytest.approx(4 / 6)
    assert (result.clips, result.speakers, result.unpredicted, result.exclusions) == (72, 12, 0, ())
    assert np.array(result.confusion).sum() == 72


def test_clips_that_the_corpus_lacks_are_listed_not_scored(tmp_path):
    corpus = corpus_of()
    table = probabilities(corpus.clips)[:60]
    table.loc[5, "clip"] = "somebody-else"
    table.to_parquet(tmp_path / "theirs.parquet")
    result = evaluate(tmp_path / "theirs.parquet", corpus)
    assert result.exclusions == ({"clip": "somebody-else", "path": "", "reason": "not in the corpus mine"},)
    assert (result.clips, result.unpredicted) == (59, 13)
    text = "\n".join(evaluation_lines(result))
    assert "left out: somebody-else (not in the corpus mine)" in text
    assert "13 clips of the corpus have no prediction" in text


def test_a_table_that_knows_its_labels_needs_no_corpus():
    clips = corpus_of(4).clips
    table = make_table(clips, right_logits(clips), EMOTIONS, side="test", fold=1, seed=0)
    result = evaluate(table)
    assert result.scores["uar"] == Interval(1.0, None, None, "fewer than 10 speakers (4)")
    assert "no interval: fewer than 10 speakers (4)" in "\n".join(evaluation_lines(result))
    unnamed = evaluate(table.drop(columns="speaker"))
    assert unnamed.speakers is None
    assert unnamed.scores["uar"].reason == "the speakers are unknown"


def test_rows_of_the_other_side_are_not_judged():
    clips = corpus_of(2).clips
    right = right_logits(clips)
    sides = [
        make_table(clips, logits, EMOTIONS, side=side, fold=1, seed=0)
        for side, logits in (("dev", -right), ("test", right))
    ]
    assert evaluate(pd.concat(sides)).scores["wa"].value == 1.0
    assert evaluate(pd.concat(sides), side="dev").scores["wa"].value == 0.0
    with pytest.raises(UserError, match="no rows of the side 'test'; it has dev"):
        evaluate(sides[0])


def test_clips_without_a_label_are_listed():
    table = probabilities(corpus_of(2).clips).rename(columns=lambda name: name.replace("prob_", "logit_"))
    table["label"] = corpus_of(2).clips["label"]
    table.loc[0, "label"] = None
    assert evaluate(table).exclusions == ({"clip": "s00_angry", "path": "", "reason": "no label"},)
    with pytest.raises(UserError, match="no clip that can be judged: the first, s00_angry, has no label"):
        evaluate(table.assign(label=None))


def test_a_label_without_clips_is_said():
    clips = corpus_of(2).clips.query("label != 'sad'")
    table = (
        probabilities(clips).rename(columns=lambda name: name.replace("prob_", "logit_")).assign(label=clips["label"])
    )
    result = evaluate(table)
    assert result.absent == ("sad",)
    assert result.per_class[-1].recall is None
    assert "no clips of sad: not part of UAR and macro-F1" in evaluation_lines(result)


def test_two_foreign_tables_are_paired_on_the_clips_that_both_have(tmp_path):
    corpus = corpus_of(20)
    better = probabilities(corpus.clips, right=5).sample(frac=1, random_state=0)
    worse = probabilities(corpus.clips, right=3)[1:]
    better.to_csv(tmp_path / "better.csv", index=False)
    worse.to_csv(tmp_path / "worse.csv", index=False)
    found = evaluate_pair(tmp_path / "better.csv", tmp_path / "worse.csv", corpus)
    assert (found.clips, found.only, found.speakers) == (119, (1, 0), 20)
    assert found.comparison.answer == "better"
    assert found.comparison.differences["uar"].value == pytest.approx(2 / 6, abs=0.01)
    text = "\n".join(pair_lines(found))
    assert "better.csv is ahead in UAR" in text
    assert "only one of them has 1 and 0 more clips" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table[:30], "share 30 clips of 120 and 30"),
        (lambda table: table.assign(label="sad"), "gives clip s00_angry the label 'sad'"),
        (lambda table: pd.concat([table.assign(seed=seed) for seed in (0, 1)]), "have different seeds"),
    ],
)
def test_tables_that_cannot_be_paired(change, message):
    corpus = corpus_of(20)
    table = probabilities(corpus.clips).rename(columns=lambda name: name.replace("prob_", "logit_"))
    with pytest.raises(UserError, match=message):
        evaluate_pair(table, change(table), corpus)


def test_speakers_that_one_table_names_serve_both():
    clips = corpus_of(12).clips
    first = make_table(clips, right_logits(clips), EMOTIONS, side="test", fold=1, seed=0)
    second = make_table(clips, right_logits(clips)[::-1], EMOTIONS, side="test", fold=1, seed=0)
    named = evaluate_pair(first, second)
    for one, other in ((first.drop(columns="speaker"), second), (first, second.drop(columns="speaker"))):
        assert evaluate_pair(one, other) == named
    nobody = evaluate_pair(first.drop(columns="speaker"), second.drop(columns="speaker"))
    assert nobody.speakers is nobody.comparison.differences["uar"].low is None


def trained_twice(clips):
    """Predictions of two seeds, of which the second is wrong about every fifth clip."""
    right = right_logits(clips)
    wrong = right.copy()
    wrong[::5] = right[::5, ::-1]
    tables = [make_table(clips, x, EMOTIONS, side="test", fold=1, seed=s) for s, x in enumerate((right, wrong))]
    return pd.concat(tables, ignore_index=True)


def test_clips_that_one_seed_lacks_are_left_out_and_counted():
    whole = trained_twice(corpus_of(12).clips)
    gap = (whole["seed"] == 1) & (whole["clip"] == "s03_sad")
    uneven = whole[~gap]
    said = "1 clip left out, because not every seed judged it"
    assert said not in "\n".join(evaluation_lines(evaluate(whole)))
    found = evaluate(uneven)
    assert (found.clips, found.uneven_clips, found.seeds_comparable, found.scope) == (71, 1, True, "two seeds")
    assert said in "\n".join(evaluation_lines(found))
    assert evaluate(whole[whole["clip"] != "s03_sad"]).scores == found.scores
    pair = evaluate_pair(whole, uneven)
    assert (pair.clips, pair.only, pair.uneven_clips) == (71, (1, 0), 1)
    assert said in "\n".join(pair_lines(pair))


def test_seeds_that_share_few_clips_are_about_these_models():
    whole = trained_twice(corpus_of(12).clips)
    apart = whole[(whole["seed"] == 0) | (whole.index % 3 == 0)]
    found = evaluate(apart)
    assert (found.clips, found.uneven_clips, found.seeds_comparable, found.scope) == (72, 0, False, "other clips")
    assert "about these trained models alone" in "\n".join(evaluation_lines(found))


def scattered(clips, right_by_seed):
    """Three seeds, each right about so many of every ten clips, which ones by seed."""
    tables = []
    for seed, right in enumerate(right_by_seed):
        logits = right_logits(clips)
        wrong = np.arange(len(clips)) * 7 % 10 >= right
        logits[wrong] = np.roll(logits[wrong], 1, axis=1)
        tables.append(make_table(clips, logits, EMOTIONS, side="test", fold=1, seed=seed))
    return pd.concat(tables, ignore_index=True)


def test_one_missing_clip_does_not_turn_not_shown_into_better():
    clips = corpus_of(30).clips
    first, second = scattered(clips, (9, 6, 4)), scattered(clips, (7, 5, 4))
    whole = evaluate_pair(first, second)
    missing = evaluate_pair(first[1:], second)
    assert whole.comparison.answer == missing.comparison.answer == "not shown"
    assert (missing.scope, missing.uneven_clips, missing.clips) == ("recipes", 1, whole.clips - 1)
    for of in (whole, missing):
        assert of.comparison.p > 0.05


def test_seeds_with_folds_of_their_own_count_as_one_fold():
    clips = corpus_of(30).clips
    table = scattered(clips, (9, 6, 4))
    number = table["clip"].str[1:3].astype(int)
    own = table.assign(fold=(number + table["seed"]) % 3 + 1)
    assert own.groupby("clip")["fold"].nunique().min() == 3
    assert evaluate(own).scores["uar"] == evaluate(table).scores["uar"]


def test_seeds_that_both_have_are_compared():
    whole = trained_twice(corpus_of(12).clips)
    pair = evaluate_pair(whole, whole[whole["seed"] == 1])
    assert (pair.seeds, pair.clips) == ((1,), 72)
    assert pair.comparison.differences["uar"].value == 0
    with pytest.raises(UserError, match="table 1 and table 2 have different seeds"):
        evaluate_pair(whole, whole.assign(seed=whole["seed"] + 2))


def test_the_margin_decides_what_is_equivalent():
    corpus = corpus_of(20)
    table = probabilities(corpus.clips, 3)
    small, wide = (evaluate_pair(table, table, corpus, margin=margin).comparison for margin in (1e-9, 0.05))
    assert (wide.answer, wide.margin) == ("equivalent", 0.05)
    assert small.margin == 1e-9
    with pytest.raises(UserError, match="is 2 points of UAR"):
        evaluate_pair(table, table, corpus, margin=2)


def test_a_table_is_given_once(tmp_path, monkeypatch):
    corpus = corpus_of()
    probabilities(corpus.clips).to_csv(tmp_path / "theirs.csv", index=False)
    with pytest.raises(UserError, match="is given twice"):
        evaluate_pair(tmp_path / "theirs.csv", tmp_path / "theirs.csv", corpus)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^theirs.csv and .*/theirs.csv are one file; give each table once\.$"):
        evaluate_pair("theirs.csv", tmp_path / "theirs.csv", corpus)


def test_two_tables_of_their_own_labels_must_agree():
    clips = corpus_of(12).clips
    first = make_table(clips, right_logits(clips), EMOTIONS, side="test", fold=1, seed=0)
    second = first.assign(label=first["label"].where(first.index > 0, "sad"))
    with pytest.raises(UserError, match="a different label; correct one"):
        evaluate_pair(first, second)


def said(clips: pd.DataFrame, right: int) -> pd.DataFrame:
    """Labels alone: those of :func:`probabilities`."""
    return clips.assign(predicted=clips["label"].where(clips["label"].isin(EMOTIONS[:right]), EMOTIONS[0]))


def test_labels_alone_are_judged_as_their_probabilities_would_be_but_for_calibration():
    corpus = corpus_of(12)
    scored = evaluate(probabilities(corpus.clips), corpus)
    result = evaluate(said(corpus.clips, 4), corpus)
    for key in ("scores", "confusion", "per_class", "clips", "speakers", "labels"):
        assert getattr(result, key) == getattr(scored, key)
    trust = result.trust
    assert trust.calibration is trust.abstention is trust.sets is trust.soft is None
    text = "\n".join(evaluation_lines(result))
    assert "no probabilities" in text
    assert "ECE" not in text
    json.dumps(result.to_dict(), allow_nan=False)
    pair = evaluate_pair(said(corpus.clips, 5), probabilities(corpus.clips), corpus)
    assert pair.comparison.differences["uar"].value == pytest.approx(1 / 6)


def test_a_table_that_names_no_fold_and_seed_is_given_none():
    clips = corpus_of(12).clips
    table = probabilities(clips).assign(label=clips["label"], speaker=clips["speaker"])
    table = pd.concat([table.assign(side=side) for side in ("dev", "test")])
    table.loc[table["side"] == "dev", "clip"] += "-dev"
    result = evaluate(table)
    assert result.seeds is None
    (temperature,) = result.trust.calibration.temperatures
    assert (temperature.fold, temperature.seed) == (None, None)
    assert [entry.clips.folds for entry in result.trust.sets] == [{}] * len(result.trust.sets)
    named = evaluate(table.assign(fold="Session1", seed=7))
    (temperature,) = named.trust.calibration.temperatures
    assert (temperature.fold, temperature.seed, named.seeds) == ("Session1", 7, 1)
    assert named.trust.sets[0].clips.folds.keys() == {"Session1"}


def test_results_become_data_frames_and_json():
    corpus = corpus_of(12)
    result = evaluate(probabilities(corpus.clips), corpus)
    scores, labels, confusion = result.scores_frame(), result.labels_frame(), result.confusion_frame()
    assert scores.loc["uar", "value"] == result.scores["uar"].value
    assert list(scores.columns) == ["value", "low", "high", "reason"]
    assert labels.loc["angry", "recall"] == 1
    assert confusion.loc["sad", "angry"] == 12
    pair = evaluate_pair(probabilities(corpus.clips, 5), probabilities(corpus.clips), corpus)
    assert pair.differences_frame().loc["uar", "inner_low"] == pair.comparison.differences["uar"].inner_low
    assert list(pair.to_dict())[:3] == ["differences", "answer", "margin"]
    assert "after Holm" not in "\n".join(pair_lines(pair))


def test_several_tables_are_judged_in_pairs_and_p_is_adjusted():
    corpus = corpus_of(20)
    tables = [probabilities(corpus.clips, right) for right in (5, 4, 3)]
    prepared = [replace(prepare(table, corpus, None, "test"), name=str(place)) for place, table in enumerate(tables)]
    results, pairs = evaluate_all(prepared, corpus)
    assert list(results) == ["0", "1", "2"]
    assert [pair.names for pair in pairs] == [("0", "1"), ("0", "2"), ("1", "2")]
    assert all(pair.comparison.p_holm >= pair.comparison.p for pair in pairs)
    assert "after Holm over 3 pairs" in "\n".join(pair_lines(pairs[0]))


def of_two_seeds(lacking: str | None = None) -> pd.DataFrame:
    """Right answers of two seeds on twelve speakers, the first seed without clips of a label."""
    clips = corpus_of(12).clips
    seeds = [
        make_table(clips, 9 * right_logits(clips), EMOTIONS, side="test", fold=1, seed=0).query("label != @lacking"),
        make_table(clips, 9 * right_logits(clips), EMOTIONS, side="test", fold=1, seed=1),
    ]
    return pd.concat(seeds, ignore_index=True)


def test_a_label_that_only_some_seeds_have_is_not_called_absent():
    # Half of the clips under the first seed, so that both seeds keep theirs.
    table = of_two_seeds("sad").query("seed == 1 or speaker < 's06'")
    result = evaluate(table.assign(clip=table["clip"] + table["seed"].astype(str)))
    assert (result.absent, result.partly_absent) == ((), ("sad",))
    assert result.chance == pytest.approx((1 / 5 + 1 / 6) / 2)
    assert result.learned is True
    sad = result.per_class[EMOTIONS.index("sad")]
    assert (sad.recall, sad.precision) == (1.0, 1.0)
    text = "\n".join(evaluation_lines(result))
    assert "no clips of sad under some seeds: not part of their UAR and macro-F1" in text
    assert "no clips of sad:" not in text


def test_clips_that_are_predicted_and_not_judged_are_not_called_unpredicted():
    corpus = corpus_of(12)
    table = of_two_seeds()
    uneven = evaluate(table.query("seed == 0 or clip != 's00_sad'"), corpus)
    assert (uneven.uneven_clips, uneven.unpredicted) == (1, 0)
    table.loc[table["speaker"] < "s06", "side"] = "dev"
    assert evaluate(table, corpus).unpredicted == 0
    assert evaluate(table.query("clip != 's00_sad'"), corpus).unpredicted == 1
