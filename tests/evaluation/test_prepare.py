from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.conftest import EMOTIONS

from serlab.core import UserError
from serlab.corpora.base import Corpus
from serlab.evaluation.prepare import prepare, prepare_all
from serlab.tables.predictions import make_table


def corpus_of(speakers: int = 12) -> Corpus:
    rows = [(f"s{s:02d}_{label}", f"s{s:02d}", label) for s in range(speakers) for label in EMOTIONS]
    clips = pd.DataFrame(rows, columns=["clip", "speaker", "label"])
    return Corpus("mine", clips, EMOTIONS, "none", "none", "f" * 64, "the user's own files")


def probabilities(clips: pd.DataFrame) -> pd.DataFrame:
    right = clips["label"].to_numpy()[:, None] == np.array(EMOTIONS)
    scores = pd.DataFrame(np.where(right, 0.9, 0.02), columns=[f"prob_{label}" for label in EMOTIONS])
    return pd.concat([clips[["clip"]], scores], axis=1)


def break_table(kind: str, table: pd.DataFrame) -> pd.DataFrame:
    if kind == "label":
        return table.assign(label="hapy")
    if kind == "speaker":
        return table.assign(speaker="s01")
    if kind == "class":
        return table.rename(columns={"prob_happy": "prob_joyful"})
    if kind == "missing":
        return table.drop(columns="prob_sad")
    if kind == "twice":
        return pd.concat([table, table[:1]])
    return table.assign(clip="x" + table["clip"])


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("label", "gives clip s00_angry the label 'hapy', the corpus mine 'angry'"),
        ("speaker", "gives clip s00_angry the speaker 's01', the corpus mine 's00'"),
        ("class", "theirs.csv: unknown label 'joyful'"),
        (
            "missing",
            "sum to 1 over prob_angry, .*prob_neutral, first .* or add the missing label's column",
        ),
        ("twice", "two rows for clip s00_angry"),
        ("clips", "the table names 'xs00_angry', the corpus 's00_angry'"),
    ],
)
def test_a_wrong_table_is_refused_in_a_sentence(tmp_path, kind, sentence):
    corpus = corpus_of(3)
    break_table(kind, probabilities(corpus.clips)).to_csv(tmp_path / "theirs.csv", index=False)
    with pytest.raises(UserError, match=sentence):
        prepare(tmp_path / "theirs.csv", corpus, None, "test")


def test_labels_must_come_from_somewhere(tmp_path):
    table = probabilities(corpus_of(2).clips)
    table.to_csv(tmp_path / "theirs.csv", index=False)
    with pytest.raises(UserError, match="has no column label"):
        prepare(tmp_path / "theirs.csv", None, None, "test")
    table.assign(label="hapy").to_csv(tmp_path / "theirs.csv", index=False)
    with pytest.raises(UserError, match="unknown label 'hapy'; did you mean 'happy'"):
        prepare(tmp_path / "theirs.csv", None, None, "test")


def test_a_table_that_names_some_of_its_speakers_is_refused(tmp_path):
    clips = corpus_of(12).clips
    table = probabilities(clips).assign(label=clips["label"], speaker=clips["speaker"])
    table.loc[[3, 5], "speaker"] = ""
    table.to_csv(tmp_path / "theirs.csv", index=False)
    with pytest.raises(UserError, match="no speaker for 2 of 72 clips, first for s00_happy; name them all, or"):
        prepare(tmp_path / "theirs.csv", None, None, "test")
    table.assign(speaker="").to_csv(tmp_path / "theirs.csv", index=False)
    assert not prepare(tmp_path / "theirs.csv", None, None, "test").speakers_known


def with_dev(change):
    clips = corpus_of(4).clips
    test, dev = clips[:12], change(clips[12:].reset_index(drop=True))
    sides = [
        make_table(part, np.zeros((len(part), 6)), EMOTIONS, side=side, fold=1, seed=0)
        for side, part in (("test", test), ("dev", dev))
    ]
    return pd.concat(sides, ignore_index=True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda dev: dev.assign(label="hapy"), "the dev rows of the table.* the label 'hapy', the corpus"),
        (lambda dev: dev.assign(clip="x" + dev["clip"]), "no clip of the dev rows of the table is in the corpus mine"),
    ],
)
def test_a_wrong_dev_side_is_called_so(change, sentence):
    with pytest.raises(UserError, match=sentence):
        prepare(with_dev(change), corpus_of(4), None, "test")


def test_a_dev_label_that_nobody_knows_is_refused():
    table = with_dev(lambda dev: dev.assign(label=dev["label"].where(dev.index > 0, "hapy")))
    with pytest.raises(UserError, match="the dev rows of the table: unknown label 'hapy'"):
        prepare(table, None, None, "test")


def with_paths(corpus: Corpus) -> Corpus:
    paths = [f"/audio/{speaker}/{clip}.wav" for clip, speaker in corpus.clips[["clip", "speaker"]].to_numpy()]
    return replace(corpus, clips=corpus.clips.assign(path=paths))


@pytest.mark.parametrize(
    "name",
    [
        lambda clip: f"/audio/{clip[:3]}/{clip}.wav",
        lambda clip: f"{clip[:3]}/{clip}",
        lambda clip: f"{clip}.flac",
        lambda clip: f"{clip[:3]}\\{clip}.wav",
        lambda clip: f"/elsewhere/{clip}.wav",
    ],
)
def test_clips_may_be_named_by_path_end_or_stem(tmp_path, name):
    corpus = with_paths(corpus_of(3))
    table = probabilities(corpus.clips).rename(columns={"clip": "Filename"})
    table.assign(Filename=table["Filename"].map(name)).to_csv(tmp_path / "theirs.csv", index=False)
    judged = prepare(tmp_path / "theirs.csv", corpus, None, "test")
    assert judged.rows["clip"].tolist() == corpus.clips["clip"].tolist()
    assert judged.exclusions == []


def test_a_clip_named_twice_in_two_ways_is_named_twice(tmp_path):
    corpus = with_paths(corpus_of(3))
    table = probabilities(corpus.clips)
    pd.concat([table, table[:1].assign(clip="s00_angry.wav")]).to_csv(tmp_path / "theirs.csv", index=False)
    with pytest.raises(UserError, match="two rows for clip s00_angry"):
        prepare(tmp_path / "theirs.csv", corpus, None, "test")


def test_an_unknown_clip_is_listed_with_the_one_that_is_called_almost_so(tmp_path):
    corpus = corpus_of(3)
    table = probabilities(corpus.clips)
    table.loc[0, "clip"] = "S00_angry"
    table.to_csv(tmp_path / "theirs.csv", index=False)
    (left_out,) = prepare(tmp_path / "theirs.csv", corpus, None, "test").exclusions
    assert left_out == {"clip": "S00_angry", "path": "", "reason": "not in the corpus mine; did you mean s00_angry?"}


def test_tables_without_a_corpus_are_joined_whatever_they_call_the_clips(tmp_path):
    clips = corpus_of(3).clips
    table = probabilities(clips).assign(label=clips["label"])
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    table.assign(clip=[f"/audio/{clip}.wav" for clip in table["clip"]]).to_csv(first, index=False)
    table.assign(clip=[f"{clip}.flac" for clip in table["clip"]]).to_csv(second, index=False)
    one, other = prepare_all([first, second], None, None, "test")
    assert one.rows["clip"].tolist() == other.rows["clip"].tolist()


def test_tables_that_share_no_more_than_file_names_are_joined_by_these_and_that_is_said(tmp_path, capsys):
    clips = corpus_of(3).clips
    table = probabilities(clips).assign(label=clips["label"])
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    table.assign(clip=[f"C:\\mine\\{clip}.wav" for clip in table["clip"]]).to_csv(first, index=False)
    table.assign(clip=[f"/audio/{clip}.flac" for clip in table["clip"]]).to_csv(second, index=False)
    one, other = prepare_all([first, second], None, None, "test")
    assert one.rows["clip"].tolist() == other.rows["clip"].tolist()
    assert "second.csv: clips are taken for those of the same file name" in capsys.readouterr().err


def test_file_names_that_several_clips_have_join_nothing(tmp_path):
    clips = corpus_of(3).clips
    table = probabilities(clips).assign(label=clips["label"])
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    table.assign(clip=[f"/a/{clip}/take.wav" for clip in table["clip"]]).to_csv(first, index=False)
    table.assign(clip=[f"/b/{clip}/take.wav" for clip in table["clip"]]).to_csv(second, index=False)
    one, other = prepare_all([first, second], None, None, "test")
    assert not set(one.rows["clip"]) & set(other.rows["clip"])


def test_labels_and_speakers_are_spelt_as_the_corpus_spells_them(tmp_path):
    rows = [(f"c{n}", str(n), ("w\u00fctend", "0")[n % 2]) for n in range(4)]
    clips = pd.DataFrame(rows, columns=["clip", "speaker", "label"])
    corpus = Corpus("mine", clips, ("0", "w\u00fctend"), "none", "none", "f" * 64, "the user's own files")
    table = pd.DataFrame({"clip": clips["clip"], "speaker": [f"{n}.0" for n in range(4)]})
    table = table.assign(label=clips["label"].replace({"0": "0.0", "w\u00fctend": "wu\u0308tend"}))
    table.assign(**{"prob_0.0": 0.4, "prob_wu\u0308tend": 0.6}).to_csv(tmp_path / "scored.csv", index=False)
    table.assign(predicted="wu\u0308tend").to_csv(tmp_path / "said.csv", index=False)
    for name in ("scored.csv", "said.csv"):
        judged = prepare(tmp_path / name, corpus, None, "test")
        assert (judged.rows["label"].tolist(), judged.labels) == (clips["label"].tolist(), corpus.labels)
    alone = prepare(tmp_path / "said.csv", None, None, "test")
    assert alone.labels == ("0.0", "wu\u0308tend")


def test_two_spellings_of_a_label_have_no_two_scores(tmp_path):
    table = probabilities(corpus_of(3).clips).rename(columns={"prob_sad": "prob_w\u00fctend"})
    table["prob_wu\u0308tend"] = 0.0
    table.to_csv(tmp_path / "theirs.csv", index=False)
    with pytest.raises(UserError, match=r"theirs\.csv has two columns for the scores of"):
        prepare(tmp_path / "theirs.csv", None, None, "test")


def test_rows_of_other_sides_are_counted(tmp_path, capsys):
    corpus = corpus_of(3)
    side = ["test"] * 9 + ["dev"] * 3 + ["validation"] * (len(corpus.clips) - 14) + [""] * 2
    probabilities(corpus.clips).assign(side=side).to_csv(tmp_path / "theirs.csv", index=False)
    assert len(prepare(tmp_path / "theirs.csv", corpus, None, "test").rows) == 9
    counted = f"rows of the side test are judged; not used: {side.count('validation')} of validation, 2 of no subset."
    assert counted in capsys.readouterr().err


def test_a_column_that_looks_like_sides_is_named_with_the_remedy(tmp_path, capsys):
    corpus = corpus_of(3)
    probabilities(corpus.clips).assign(split="test").to_csv(tmp_path / "theirs.csv", index=False)
    prepare(tmp_path / "theirs.csv", corpus, None, "test")
    assert "columns not used: split; the column 'split' looks like side: rename it side." in capsys.readouterr().err


def test_speakers_come_from_whoever_knows_them(tmp_path):
    corpus = corpus_of(3)
    table = probabilities(corpus.clips).assign(speaker=corpus.clips["speaker"].where(corpus.clips.index > 2, ""))
    table.to_csv(tmp_path / "theirs.csv", index=False)
    judged = prepare(tmp_path / "theirs.csv", corpus, None, "test")
    assert judged.rows["speaker"].tolist() == corpus.clips["speaker"].tolist()
    nobody = replace(corpus, clips=corpus.clips.assign(speaker=""), speakers_known=False)
    table.assign(speaker=corpus.clips["speaker"]).to_csv(tmp_path / "theirs.csv", index=False)
    assert prepare(tmp_path / "theirs.csv", nobody, None, "test").rows["speaker"].nunique() == 3


def hard(clips: pd.DataFrame) -> pd.DataFrame:
    return clips[["clip", "speaker", "label"]].assign(predicted=clips["label"])


def test_labels_that_are_said_must_be_labels(tmp_path):
    corpus = corpus_of(3)
    table = hard(corpus.clips)
    table.loc[4, "predicted"] = "hapy"
    table.to_csv(tmp_path / "theirs.csv", index=False)
    with pytest.raises(UserError, match="unknown label 'hapy'; did you mean 'happy'"):
        prepare(tmp_path / "theirs.csv", corpus, None, "test")
    for said in ("hapy", "Happy", "hap py"):
        table.assign(predicted=said).to_csv(tmp_path / "theirs.csv", index=False)
        with pytest.raises(
            UserError, match=f"predicts '{said}', which is not the label of any clip; did you mean 'happy'"
        ):
            prepare(tmp_path / "theirs.csv", None, None, "test")
    table.assign(predicted="calm").to_csv(tmp_path / "theirs.csv", index=False)
    assert prepare(tmp_path / "theirs.csv", None, None, "test").labels == tuple(sorted((*EMOTIONS, "calm")))


def test_a_clip_without_a_prediction_is_listed(tmp_path):
    table = hard(corpus_of(3).clips)
    table.loc[1, "predicted"] = None
    table.to_csv(tmp_path / "theirs.csv", index=False)
    judged = prepare(tmp_path / "theirs.csv", None, None, "test")
    assert judged.exclusions == [{"clip": "s00_disgust", "path": "", "reason": "no prediction"}]
    assert len(judged.rows) == 17


def test_folds_and_seeds_are_called_as_the_table_calls_them(tmp_path):
    table = hard(corpus_of(3).clips)
    for folds, called in (
        (None, {0: None}),
        (["Session2", "Session1", "x"], {1: "Session1", 2: "Session2", 3: "x"}),
        ([0, 1, 5], {0: 0, 1: 1, 5: 5}),
    ):
        of = table if folds is None else table.assign(fold=[folds[row % 3] for row in range(len(table))])
        of.to_csv(tmp_path / "theirs.csv", index=False)
        judged = prepare(tmp_path / "theirs.csv", None, None, "test")
        assert judged.folds == called
        assert judged.seeds == {0: None}
        assert set(judged.rows["fold"]) == set(called)


def test_a_near_miss_of_the_labels_is_named_with_its_option(tmp_path):
    table = probabilities(corpus_of(2).clips).assign(emo="sad")
    table.to_csv(tmp_path / "theirs.csv", index=False)
    with pytest.raises(UserError, match="the column 'emo' looks like the labels: label_column=emo"):
        prepare(tmp_path / "theirs.csv", None, None, "test")
    (judged,) = prepare_all([tmp_path / "theirs.csv"], None, None, "test", {"label": "emo"})
    assert set(judged.rows["label"]) == {"sad"}


def test_rows_without_scores_are_left_out_as_unpredicted():
    scores = {"prob_sad": [1.0, None, 0.2, None], "prob_calm": [0.0, None, 0.8, None]}
    table = pd.DataFrame({"clip": list("abcd"), "label": ["sad", "sad", "calm", "calm"], **scores})
    found = prepare(table.assign(side=["test", "test", "test", "train"]), None, None, "test")
    assert found.rows["clip"].tolist() == ["a", "c"]
    assert found.exclusions == [{"clip": "b", "path": "", "reason": "no prediction"}]
    assert found.predicted == {"a", "c"}
    dev = prepare(table.assign(side=["test", "dev", "test", "dev"]), None, None, "test")
    assert [entry["clip"] for entry in dev.exclusions] == ["b", "d"]
    with pytest.raises(UserError, match="no clip that can be judged: the first, b, has no prediction"):
        prepare(table[table["prob_sad"].isna()], None, None, "test")
