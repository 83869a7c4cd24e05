from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serlab.audio import Audio
from serlab.core import Exclusion, FindingsError, UserError
from serlab.corpora import load_corpus
from serlab.corpora.screening import check_labels, check_share, screen


def test_every_kind_of_broken_file_is_listed_with_its_reason(tmp_path, make_tone):
    make_tone(tmp_path / "joy/good.wav")
    make_tone(tmp_path / "joy/hour.wav", seconds=61, rate=8000)
    cut = make_tone(tmp_path / "joy/cut.flac", seconds=2)
    cut.write_bytes(cut.read_bytes()[:-500])
    (tmp_path / "rage").mkdir()
    (tmp_path / "rage/empty.wav").touch()
    (tmp_path / "rage/text.wav").write_text("no audio at all")
    soundfile.write(tmp_path / "rage/nan.wav", np.full(8000, np.nan), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "rage/silent.wav", np.zeros(8000), 16000)
    gone = make_tone(tmp_path / "rage/gone.wav")
    corpus = load_corpus(str(tmp_path))
    gone.unlink()
    found = screen(corpus)
    assert {exclusion.clip: exclusion.reason for exclusion in found} == {
        "joy/cut": "truncated or damaged: decoding breaks off before its 2.0 s",
        "joy/hour": "longer than 60 s",
        "rage/empty": "empty file",
        "rage/gone": "no such file",
        "rage/nan": "non-finite samples",
        "rage/silent": "silent",
        "rage/text": "not audio",
    }
    assert [exclusion.clip for exclusion in found] == sorted(exclusion.clip for exclusion in found)
    assert found[1].path == str(tmp_path / "joy/hour.wav")


def test_clips_that_a_copy_lacks_are_missing(tmp_path, make_tone):
    make_tone(tmp_path / "1001_DFA_ANG_XX.wav")
    found = screen(load_corpus("crema-d", data=tmp_path))
    assert len(found) == 7441
    assert found[0] == Exclusion("1001_DFA_DIS_XX", "", "missing")


@pytest.mark.cremad
def test_the_silent_clip_of_crema_d(cremad_root):
    corpus = load_corpus("crema-d", data=cremad_root)
    one_actor = replace(corpus, clips=corpus.clips[corpus.clips["speaker"] == "1076"])
    assert [(found.clip, found.reason) for found in screen(one_actor)] == [("1076_MTI_SAD_XX", "silent")]


def test_the_share_of_unusable_clips_is_limited():
    found = [Exclusion(f"clip{number}", "", "silent") for number in range(6)]
    check_share([], 0)
    check_share(found[:5], 100)
    check_share(found, 100, max_share=0.06)
    with pytest.raises(FindingsError) as caught:
        check_share(found, 100)
    assert str(caught.value) == (
        "6 of 100 clips cannot be used, more than 5 % (first clip0: silent; clip1: silent; clip2: silent); "
        "repair or remove them, or raise max_excluded."
    )
    assert caught.value.exit_code == 1


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that are decoded."""
    names = []

    from_file = Audio.from_file

    def noted(path):
        names.append(Path(path).name)
        return from_file(path)

    monkeypatch.setattr(Audio, "from_file", noted)
    return names


def test_a_sound_clip_is_decoded_once_and_one_that_failed_again(tmp_path, make_tone, decoded):
    good, bad = make_tone(tmp_path / "joy/good.wav"), tmp_path / "rage/silent.wav"
    make_tone(tmp_path / "rage/other.wav")
    soundfile.write(bad, np.zeros(8000), 16000)
    first = screen(load_corpus(str(tmp_path)))
    assert sorted(decoded) == ["good.wav", "other.wav", "silent.wav"]
    decoded.clear()
    corpus = load_corpus(str(tmp_path))
    assert screen(corpus) == first == [Exclusion("rage/silent", str(bad), "silent")]
    assert decoded == ["silent.wav"]

    decoded.clear()
    soundfile.write(good, np.zeros(8000), 16000)
    assert [exclusion.clip for exclusion in screen(load_corpus(str(tmp_path)))] == ["joy/good", "rage/silent"]
    assert "good.wav" in decoded


def test_another_decoder_screens_again(tmp_path, make_tone, decoded, monkeypatch):
    make_tone(tmp_path / "joy/1.wav")
    make_tone(tmp_path / "rage/2.wav")
    corpus = load_corpus(str(tmp_path))
    screen(corpus)
    decoded.clear()
    monkeypatch.setattr("serlab.corpora.remembered.DECODER", "2/libsndfile-9")
    screen(corpus)
    assert sorted(decoded) == ["1.wav", "2.wav"]


def test_a_label_that_would_be_lost_is_an_error_with_its_first_reason(tmp_path, make_tone):
    for name in ("joy/1.wav", "rage/1.wav", "rage/2.wav"):
        make_tone(tmp_path / name)
    corpus = load_corpus(str(tmp_path))
    check_labels(corpus, [Exclusion("rage/2", "", "silent")])
    with pytest.raises(UserError, match=r"'rage' .* \(rage/1: empty file\)"):
        check_labels(corpus, [Exclusion("rage/1", "", "empty file"), Exclusion("rage/2", "", "silent")])
    with pytest.raises(UserError, match=r"'calm' .* \(a folder without audio\), nor have 1 other"):
        check_labels(replace(corpus, lost={"sad": "a link", "calm": "a folder without audio"}), [])
