"""A drafted description is valid and reads the files that it was drafted from."""

from __future__ import annotations

import pytest

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
    ],
)
def test_what_cannot_be_drafted(tmp_path, names, sentence):
    touch(tmp_path, names)
    with pytest.raises(UserError, match=sentence):
        draft(tmp_path)
