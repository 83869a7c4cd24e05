"""Splits in files: clips by id, path or stem; every mistake gives one sentence; new splits do not leak."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from serlab.core import UserError
from serlab.corpora.base import Corpus
from serlab.protocols import Fold
from serlab.protocols.files import find_split, read_split, sound_split, write_split

LABELS = ("calm", "sad")


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    rows = [
        {"clip": f"s{s}/{label}_{i}", "speaker": f"s{s}", "label": label}
        for s in range(6)
        for label in LABELS
        for i in range(3)
    ]
    clips = pd.DataFrame(rows).sort_values("clip", ignore_index=True)
    clips["path"] = [str(tmp_path / f"{clip}.wav") for clip in clips["clip"]]
    return Corpus("own", clips, LABELS, "", "", "f" * 64, "files")


def written(folder: Path, *rows: tuple[str, str], head: str = "clip,side") -> Path:
    path = folder / "mine.csv"
    path.write_text("\n".join([head, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


def test_clips_are_named_by_id_path_relative_path_or_stem(corpus: Corpus, tmp_path: Path) -> None:
    only = corpus.clips["path"][0]
    unique = corpus.clips.assign(clip=corpus.clips["clip"].str.replace("s5/sad_2", "s5/last"))
    named = Corpus("own", unique, LABELS, "", "", "f" * 64, "files")
    tail = f"{tmp_path.name}/s4/sad_0.wav"
    rows = [("s0/calm_1", "train"), (only, "Train "), ("s1/calm_0.wav", "dev"), ("last", "test"), (tail, "test")]
    (fold,) = read_split(named, written(tmp_path, *rows, head="clip, side")).folds
    assert fold == Fold(1, ("s0/calm_0", "s0/calm_1"), ("s1/calm_0",), ("s4/sad_0", "s5/last"))


def test_clips_that_are_not_named_are_in_no_subset_and_are_counted(corpus: Corpus, tmp_path: Path, capsys) -> None:
    split = read_split(corpus, written(tmp_path, ("s0/calm_0", "train"), ("s1/calm_0", "test")))
    assert split.speaker_disjoint
    assert "34 of the 36 clips" in capsys.readouterr().err


def test_another_content_is_another_name(corpus: Corpus, tmp_path: Path) -> None:
    one = read_split(corpus, written(tmp_path, ("s0/calm_0", "train"), ("s1/calm_0", "test"))).name
    same = read_split(corpus, written(tmp_path, ("s1/calm_0", "test"), ("s0/calm_0", "train"))).name
    other = read_split(corpus, written(tmp_path, ("s0/calm_0", "test"), ("s1/calm_0", "train"))).name
    assert one == same != other
    assert one.startswith("mine-")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("nobody", "train")], "names the clip 'nobody', which is not in own"),
        ([("calm_0", "train")], "which matches 6 clips"),
        ([("s0/calm_0", "training")], "expected a clip and a side: train, dev .for validation. or test"),
        (
            [("s0/calm_0", "val")],
            "has the side 'val' in row 1 .* expected a clip and a side: train, dev .for validation. or test",
        ),
        ([("s0/calm_0", "train"), ("", "train")], "has no clip in row 2"),
        ([(".", "train")], "names the clip '.', which is not in own"),
        ([("s9/calm_0.wav", "train")], "names the clip 's9/calm_0.wav', which is not in own"),
        ([("/elsewhere/s0/calm_0.wav", "train")], "which is not in own"),
        ([("s0/calm_0.7", "train")], "which is not in own"),
        ([("s0/calm_0", "train", "more")], "cannot read the split .* expected CSV with commas"),
        ([("s0/calm_0", "train"), ("s0/calm_0.wav", "train")], "names the clip s0/calm_0 twice"),
    ],
)
def test_mistakes_are_reported_in_a_sentence(corpus: Corpus, tmp_path: Path, rows: list, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_split(corpus, written(tmp_path, *rows))


def test_what_is_named_like_a_file_is_one(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, *((clip, "train") for clip in corpus.clips["clip"]))
    for name in ("mine.cvs", "./mine.scv"):
        with pytest.raises(UserError, match=r"there is no split .*; the nearest name there is mine\.csv\."):
            find_split(corpus, name)
    with pytest.raises(UserError, match=r"there is no split splits/mine .*nor the folder splits"):
        find_split(corpus, "splits/mine")
    path.rename(tmp_path / "mine")
    with pytest.raises(UserError, match=r"rename it mine\.csv"):
        find_split(corpus, "mine")
    assert find_split(corpus, "./mine").name.startswith("mine-")
    with pytest.raises(UserError, match="unknown protocol 'speaker'"):
        find_split(corpus, "speaker")


def test_files_that_are_not_splits(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no split"):
        find_split(corpus, str(tmp_path / "none.csv"))
    with pytest.raises(UserError, match="has no column side"):
        read_split(corpus, written(tmp_path, ("a", "b"), head="clip,part"))
    (tmp_path / "folder.CSV").mkdir()
    with pytest.raises(UserError, match="is a folder; expected a CSV file"):
        find_split(corpus, str(tmp_path / "folder.CSV"))
    with pytest.raises(UserError, match="more than one column 'side'"):
        read_split(corpus, written(tmp_path, ("a", "dev", "test"), head="clip,side,side"))
    with pytest.raises(UserError, match="semicolons between its columns"):
        read_split(corpus, written(tmp_path, ("a;dev",), head="clip;side"))
    (tmp_path / "utf16.csv").write_text("clip,side\na,dev\n", encoding="utf-16")
    with pytest.raises(UserError, match="is not UTF-8"):
        read_split(corpus, tmp_path / "utf16.csv")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(UserError, match="cannot read the split"):
        read_split(corpus, tmp_path / "empty.csv")


def test_a_split_takes_the_columns_and_names_that_predictions_take(corpus: Corpus, tmp_path: Path) -> None:
    rows = [("./s0/calm_1.wav", "Test"), ("s1\\calm_0", "train")]
    (fold,) = read_split(corpus, written(tmp_path, *rows, head="File,SIDE")).folds
    assert fold == Fold(1, ("s1/calm_0",), (), ("s0/calm_1",))
    for head, words in (
        ("utt_id,side", "no column clip .*; the column 'utt_id' looks like the clips: rename it clip"),
        ("clip,split", "no column side .*; the column 'split' looks like side: rename it side"),
    ):
        with pytest.raises(UserError, match=words):
            read_split(corpus, written(tmp_path, *rows, head=head))
    with pytest.raises(UserError, match=r"which is not in own; did you mean 's0/calm_1'\?"):
        read_split(corpus, written(tmp_path, ("S0/Calm_1.wav", "test")))


def test_columns_of_a_split_that_are_not_used_are_reported(corpus: Corpus, tmp_path: Path, capsys) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("clip,side,fold,note\ns0/calm_1,test,1,\ns1/calm_0,train,1,x\n", encoding="utf-8")
    read_split(corpus, path)
    assert "mine.csv: columns not used: fold, note." in capsys.readouterr().err


def test_what_is_written_is_read_back(corpus: Corpus, tmp_path: Path) -> None:
    fold = find_split(corpus, "speaker-3").folds[1]
    write_split(tmp_path / "fold.csv", fold)
    assert read_split(corpus, tmp_path / "fold.csv").folds == (Fold(1, fold.train, fold.dev, fold.test),)


def test_another_file_is_never_overwritten(corpus: Corpus, tmp_path: Path) -> None:
    one, other = find_split(corpus, "speaker-3").folds[:2]
    write_split(tmp_path / "fold.csv", one)
    write_split(tmp_path / "fold.csv", one)
    with pytest.raises(UserError, match=r"fold\.csv exists and is another split"):
        write_split(tmp_path / "fold.csv", other)
    assert set(read_split(corpus, tmp_path / "fold.csv").folds[0].test) == set(one.test)


def test_a_sound_split_keeps_speakers_and_duplicates_together(corpus: Corpus) -> None:
    pairs = [("s0/calm_0", "s5/sad_1"), ("s5/sad_0", "s3/calm_2"), ("s1/calm_0", "s1/calm_1")]
    split = sound_split(corpus, pairs)
    side_of = {
        clip: side
        for side, clips in enumerate((split.folds[0].train, split.folds[0].dev, split.folds[0].test))
        for clip in clips
    }
    assert split.speaker_disjoint
    assert len(side_of) == len(corpus.clips)
    assert len({side_of[f"{speaker}/calm_0"] for speaker in ("s0", "s3", "s5")}) == 1
    assert set(side_of.values()) == {0, 1, 2}


def test_speakers_that_duplicates_connect_are_for_training_if_there_are_many(corpus: Corpus) -> None:
    pairs = [(f"s{i}/calm_0", f"s{i + 1}/calm_0") for i in range(3)]
    (fold,) = sound_split(corpus, pairs).folds
    assert {clip[:2] for clip in fold.train} == {"s0", "s1", "s2", "s3"}
    assert len({clip[:2] for clip in fold.dev}) == len({clip[:2] for clip in fold.test}) == 1


def test_a_sound_split_of_equal_speakers_is_60_20_20_with_every_label_in_each_subset(tmp_path: Path) -> None:
    rows = [
        (f"s{s:02d}/{label}_{i}", f"s{s:02d}", label) for s in range(20) for label in LABELS for i in range(1 + s % 3)
    ]
    clips = pd.DataFrame(rows, columns=["clip", "speaker", "label"])
    (fold,) = sound_split(Corpus("own", clips, LABELS, "", "", "f" * 64, "files"), []).folds
    shares = [len(side) / len(clips) for side in (fold.train, fold.dev, fold.test)]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.03)


def test_what_only_one_speaker_says_is_for_training(corpus: Corpus) -> None:
    alone = corpus.clips.assign(
        label=[
            "rare" if clip == "s5/sad_2" else la
            for clip, la in zip(corpus.clips["clip"], corpus.clips["label"], strict=True)
        ]
    )
    (fold,) = sound_split(Corpus("own", alone, (*LABELS, "rare"), "", "", "f" * 64, "files"), []).folds
    assert "s5/sad_2" in fold.train


def test_a_sound_split_of_unknown_speakers_keeps_duplicates_together(corpus: Corpus) -> None:
    unknown = Corpus("own", corpus.clips.assign(speaker=""), LABELS, "", "", "f" * 64, "files", speakers_known=False)
    pairs = [("s0/calm_0", "s5/sad_1"), ("s5/sad_1", "s3/calm_2")]
    (fold,) = sound_split(unknown, pairs).folds
    sides = [set(side) for side in (fold.train, fold.dev, fold.test)]
    assert sum({"s0/calm_0", "s5/sad_1", "s3/calm_2"} <= side for side in sides) == 1
    assert all(sides)


def test_too_few_groups_to_split(corpus: Corpus) -> None:
    pairs = [(f"s{i}/calm_0", f"s{i + 1}/calm_0") for i in range(4)]
    with pytest.raises(UserError, match="2 groups of speakers"):
        sound_split(corpus, pairs)
