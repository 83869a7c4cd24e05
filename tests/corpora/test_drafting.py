"""A drafted description is valid and reads the files that it was drafted from."""

from __future__ import annotations

import re

import pytest
import yaml

from serlab.core import UserError
from serlab.corpora import descriptions, load_corpus
from serlab.corpora.described import official_clips
from serlab.corpora.drafting import draft


def touch(folder, names):
    for name in names:
        path = folder / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"RIFF")


@pytest.mark.parametrize("name", ["crema-d", "emovo", "jl-corpus", "tess"])
def test_corpora_with_words_or_abbreviations_are_understood(tmp_path, name):
    known = descriptions()[name]
    touch(tmp_path / "corpus", official_clips(known)["clip"][::5])
    found = draft(tmp_path / "corpus")
    path = tmp_path / "draft.yaml"
    path.write_text(found.text, encoding="utf-8")
    clips = load_corpus(str(path), data=tmp_path / "corpus").clips
    assert len(clips) == found.fitting == found.found
    official = load_corpus(name, data=tmp_path / "corpus").clips
    expected = official[official["path"] != ""]
    assert clips["speaker"].tolist() == expected["speaker"].tolist()
    assert clips["label"].nunique() == expected["label"].nunique()


def drafted(folder, path):
    found = draft(folder)
    path.write_text(found.text, encoding="utf-8")
    corpus = load_corpus(str(path), data=folder)
    assert len(corpus.clips) == found.fitting
    return corpus


def test_numbers_of_sentences_are_no_speakers(tmp_path):
    """As in nEMO, which has 9 actors and 90 sentences."""
    actors = ("WR0", "EB0", "SM0")
    touch(
        tmp_path / "samples",
        [f"{who}_{what}_{n}" for who in actors for what in ("anger", "fear") for n in range(1, 91)],
    )
    clips = drafted(tmp_path / "samples", tmp_path / "mine.yaml").clips
    assert set(clips["speaker"]) == set(actors)
    assert set(clips["label"]) == {"angry", "fear"}


def test_codes_are_understood_by_the_folders(tmp_path):
    """As in ASED, where the first part is a code, and one file has it in capitals."""
    codes = {"n1": "01Neutral", "f2": "02Fearful", "h3": "03Happy"}
    names = [
        f"{folder}/{code}-0{text}-0{who % 2}-{who:02d}"
        for code, folder in codes.items()
        for text in range(1, 6)
        for who in range(1, 40)
    ]
    touch(tmp_path / "ASED", [*names, "01Neutral/N1-01-01-40"])
    corpus = drafted(tmp_path / "ASED", tmp_path / "mine.yaml")
    assert corpus.labels == ("fear", "happy", "neutral")
    assert corpus.clips["speaker"].nunique() == 39


def test_a_few_odd_files_change_nothing(tmp_path):
    """As in a copy of TESS with a second set of renamed files."""
    emotions = ("angry", "ps", "sad")
    names = [
        f"train/{who}_{word}{n}_{what}"
        for who in ("OAF", "YAF")
        for what in emotions
        for n in range(60)
        for word in "ab"
    ]
    odd = [f"new/{n}test{who}_a{n}_{what}{n}" for n, who in enumerate(("OAF", "YAF")) for what in emotions]
    touch(tmp_path / "TESS", names + odd)
    corpus = drafted(tmp_path / "TESS", tmp_path / "mine.yaml")
    assert set(corpus.clips["speaker"]) == {"OAF", "YAF"}
    assert corpus.labels == ("angry", "sad", "surprise")
    assert len(corpus.clips) == len(names)


@pytest.mark.parametrize("name", ["{what}_{n}", "{what}", "{n}-{what}"])
def test_a_folder_per_speaker_with_emotions_in_the_names(tmp_path, name):
    people = ("Anna", "Max", "Lee")
    emotions = ("anger", "joy", "neutral")
    files = {f"data/{who}/{name.format(what=what, n=n)}" for who in people for what in emotions for n in (1, 2)}
    touch(tmp_path / "mine", files)
    corpus = drafted(tmp_path / "mine", tmp_path / "mine.yaml")
    assert len(corpus.clips) == len(files)
    assert set(corpus.clips["speaker"]) == set(people)
    assert corpus.labels == ("angry", "happy", "neutral")


def test_two_codes_of_one_emotion_are_not_merged(tmp_path):
    touch(tmp_path / "mine", [f"p{n}_{what}" for n in range(3) for what in ("joy", "happy", "sad")])
    assert drafted(tmp_path / "mine", tmp_path / "mine.yaml").labels == ("happy", "joy", "sad")


def test_files_of_another_form_are_counted(tmp_path):
    touch(tmp_path, ["p1_happy_1", "p2_sad_1", "p1_sad_2", "noise", "p3_x"])
    found = draft(tmp_path)
    assert (found.fitting, found.found) == (3, 5)
    assert "names of 3 of 5 files" in found.text


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "holds no audio"),
        (["a", "b"], "have no common form"),
        (["p1_x1_1", "p2_x2_2"], "no part of the names .* has mostly names of emotions"),
        (["p1_happy", "p1_sad"], "no part of the names .* can be a speaker"),
        # HI and XX are levels of CREMA-D, though HI abbreviates a level of BAVED too.
        (
            ["1001_DFA_ANG_HI", "1002_DFA_ANG_XX"],
            "all names in .* have the same emotion, ANG, but a corpus needs several",
        ),
        (
            ["Sad/S1_x1_1", "Sad/S2_x2_1", "Angry/S1_x1_1", "Angry/S2_x3_1"],
            "emotions; give .* itself as the corpus, whose folders name labels, or write",
        ),
    ],
)
def test_what_cannot_be_drafted(tmp_path, names, sentence):
    touch(tmp_path, names)
    with pytest.raises(UserError, match=sentence):
        draft(tmp_path)


def test_a_file_is_no_folder_of_files(tmp_path):
    (tmp_path / "clips.csv").write_text("path,label\n")
    with pytest.raises(UserError, match=r"clips\.csv is a file; expected a folder, whose file names"):
        draft(tmp_path / "clips.csv")


def test_parts_of_names_do_not_reach_into_folders(tmp_path, monkeypatch):
    """The names of the folders above may have no mark at all, as in /data/mine/Anna/anger_1.wav."""
    touch(tmp_path / "mine", [f"{who}/{what}_1" for who in ("Anna", "Max") for what in ("anger", "joy")])
    found = yaml.safe_load(draft(tmp_path / "mine").text)["files"]
    (pattern,) = found["paths"]
    assert re.search(f"(?:^|/)(?:{pattern})$", "/data/mine/Anna/anger_1")["speaker"] == "Anna"


def test_folders_of_people_whose_names_nobody_knows(tmp_path):
    people, words = ("Ysolde", "Qwirin"), ("happy", "sad", "angry")
    touch(tmp_path / "clips", [f"{who}/{what}_{take}" for who in people for what in words for take in (1, 2)])
    clips = drafted(tmp_path / "clips", tmp_path / "mine.yaml").clips
    assert set(clips["speaker"]) == set(people)
    assert len(clips) == 12


def test_a_folder_by_a_detour(tmp_path):
    touch(tmp_path / "clips", [f"Anna/{what}_{take}" for what in ("happy", "sad") for take in ("01a", "02b")])
    assert draft(tmp_path / "clips" / ".." / "clips") == draft(tmp_path / "clips")
