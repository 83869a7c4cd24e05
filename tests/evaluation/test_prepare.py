import numpy as np
import pandas as pd
import pytest

from serlab.core import EMOTIONS, UserError
from serlab.corpora.base import Corpus
from serlab.evaluation.prepare import prepare
from serlab.tables import make_table


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
            "sum to 1 over prob_angry, .*prob_neutral, first .* or add the column of the label that is missing",
        ),
        ("twice", "clip s00_angry twice"),
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
        (lambda dev: dev.assign(label="hapy"), "the dev side of the table.* the label 'hapy', the corpus"),
        (lambda dev: dev.assign(clip="x" + dev["clip"]), "no clip of the dev side of the table is in the corpus mine"),
    ],
)
def test_a_wrong_dev_side_is_called_so(change, sentence):
    with pytest.raises(UserError, match=sentence):
        prepare(with_dev(change), corpus_of(4), None, "test")


def test_a_dev_label_that_nobody_knows_is_refused():
    table = with_dev(lambda dev: dev.assign(label=dev["label"].where(dev.index > 0, "hapy")))
    with pytest.raises(UserError, match="the dev side of the table: unknown label 'hapy'"):
        prepare(table, None, None, "test")
