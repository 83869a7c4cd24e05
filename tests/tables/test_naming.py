"""The same names for columns and clips work for every reader of tables."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from serlab.core import UserError, as_options
from serlab.tables.naming import CLIP, FILE, LABEL, SPEAKER, ClipNames, alike, column

HOME = Path("/data/corpus")
GRÜN = unicodedata.normalize("NFC", "s1/grün_0")


def names() -> ClipNames:
    clips = ["s0/calm_0", "s1/calm_0", GRÜN, "s1/take.1", "alone"]
    paths = [f"{HOME}/{clip}.{'flac' if clip == 'alone' else 'wav'}" for clip in clips]
    return ClipNames(pd.DataFrame({"clip": clips, "path": paths}))


@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("s0/calm_0", "s0/calm_0"),
        ("s0/calm_0.wav", "s0/calm_0"),
        ("s0/calm_0.MP3", "s0/calm_0"),
        ("s0/calm_0.m4a", "s0/calm_0"),
        ("./s0/calm_0.wav", "s0/calm_0"),
        ("s0//x/../calm_0.wav", "s0/calm_0"),
        ("s0\\calm_0.wav", "s0/calm_0"),
        (".\\s0\\calm_0", "s0/calm_0"),
        ("/data/corpus/s0/calm_0.wav", "s0/calm_0"),
        ("/data/corpus/s0/calm_0", "s0/calm_0"),
        ("corpus/s0/calm_0.wav", "s0/calm_0"),
        (unicodedata.normalize("NFD", GRÜN) + ".wav", GRÜN),
        (unicodedata.normalize("NFD", "grün_0"), GRÜN),
        ("take.1", "s1/take.1"),
        ("take.1.wav", "s1/take.1"),
        ("alone", "alone"),
        ("/elsewhere/alone.wav", "alone"),
        ("C:\\audio\\alone.wav", "alone"),
        ("/elsewhere/s1/take.1.wav", "s1/take.1"),
    ],
)
def test_every_way_to_name_a_clip(name: str, clip: str) -> None:
    assert names().find(name, HOME / "tables", "t.csv") == clip


@pytest.mark.parametrize(
    "name", ["nobody", "s9/calm_0.wav", "/elsewhere/s0/calm_0.wav", "s9/take.1", "ALONE", ".", "..", "/", "", ".wav"]
)
def test_what_names_no_clip(name: str) -> None:
    assert names().find(name, HOME, "t.csv") is None


def test_paths_are_relative_to_the_table_or_to_the_current_folder(monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    clips = pd.DataFrame({"clip": ["x/one", "y/one"], "path": [f"{tmp_path}/x/one.wav", f"{tmp_path}/y/one.wav"]})
    monkeypatch.chdir(tmp_path / "a")
    assert ClipNames(clips).find("../y/one.wav", Path("/elsewhere"), "t.csv") == "y/one"
    assert ClipNames(clips).find("../x/one.wav", tmp_path / "tables", "t.csv") == "x/one"


def test_an_ambiguous_name_is_an_error_that_names_both() -> None:
    with pytest.raises(
        UserError, match=r"t\.csv names 'calm_0\.wav', which matches 2 clips .* s0/calm_0 and s1/calm_0.*; write"
    ):
        names().find("calm_0.wav", HOME, "t.csv")


def test_a_file_of_several_clips_names_none_of_them() -> None:
    parts = ClipNames(pd.DataFrame({"clip": ["talk-0", "talk-1"], "path": ["/data/talk.wav"] * 2}))
    assert parts.find("talk-1", HOME, "t.csv") == "talk-1"
    with pytest.raises(UserError, match="which matches 2 clips"):
        parts.find("/data/talk.wav", HOME, "t.csv")


def test_two_forms_of_one_name_are_distinguished_exactly() -> None:
    forms = [unicodedata.normalize(form, "grün") for form in ("NFC", "NFD")]
    both = ClipNames(pd.DataFrame({"clip": forms}))
    assert [both.find(form, HOME, "t.csv") for form in forms] == forms
    with pytest.raises(UserError, match="which matches 2 clips"):
        both.find(f"{forms[0]}.wav", HOME, "t.csv")


def test_case_alone_is_a_near_miss() -> None:
    assert names().near("ALONE.wav") == "alone"
    assert names().near("S0/Calm_0") == "s0/calm_0"
    assert names().near("other/take.1.wav") == "s1/take.1"
    assert names().near("calm_0") is names().near("nobody") is None


@pytest.mark.parametrize(
    ("columns", "role", "found"),
    [
        (["File Name", "x"], CLIP, "File Name"),
        (["FILENAME"], CLIP, "FILENAME"),
        ([" path "], CLIP, " path "),
        (["file_path"], FILE, "file_path"),
        (["Emotion"], LABEL, "Emotion"),
        (["ActorID"], SPEAKER, "ActorID"),
        (["Speaker-ID"], SPEAKER, "Speaker-ID"),
        (["emo"], LABEL, None),
    ],
)
def test_columns_are_found_whatever_their_case_and_blanks(columns: list[str], role: tuple[str, ...], found) -> None:
    assert column(columns, role, "t.csv") == found


def test_of_several_columns_the_first_in_order_is_taken_and_that_is_reported(capsys) -> None:
    assert column(["file", "path", "clip"], CLIP, "t.csv") == "clip"
    assert "t.csv: the column 'clip' is used for the clips, not 'path', 'file'." in capsys.readouterr().err
    assert column(["clip", "file"], FILE, "t.csv") == "file"
    assert column(["Label", "label"], LABEL, "t.csv", quiet=True) == "label"


def test_near_misses_are_named_with_what_takes_them() -> None:
    near = UserError(alike(["a", "emo"], LABEL, "label_column"))
    assert str(near) == "; the column 'emo' looks like the labels: label_column=emo"
    assert as_options(near) == "; the column 'emo' looks like the labels: --label-column emo"
    assert alike(["wav path"], CLIP) == "; the column 'wav path' looks like the clips: rename it clip"
    assert as_options(UserError(alike(["spk id"], SPEAKER, "speaker_column"))).endswith("--speaker-column 'spk id'")
    assert alike(["split"], ("side",)).endswith("rename it side")
    assert alike(["lable"], LABEL).startswith("; the column 'lable'")
    assert alike(["a", "b"], LABEL) == ""
