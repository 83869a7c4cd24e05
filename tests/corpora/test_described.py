"""RAVDESS, loaded from its published naming: made-up files under real names."""

from __future__ import annotations

import shutil

import pytest

from serlab.core import UserError
from serlab.corpora import descriptions, load_corpus
from serlab.corpora.described import find_files, official_clips
from serlab.corpora.verify import verify
from serlab.protocols import split

RAVDESS = descriptions()["ravdess"]


def test_a_whole_copy_in_the_published_layout(tmp_path, make_tone):
    tone = make_tone(tmp_path / "tone.flac", rate=48000, seconds=0.2)
    names = official_clips(RAVDESS)["clip"]
    for name in names:
        path = tmp_path / "ravdess" / f"Actor_{name[-2:]}" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tone, path)
    corpus = load_corpus("ravdess", data=tmp_path / "ravdess")
    clips = corpus.clips
    # 8 clips per actor and emotion, but 4 for neutral, which has one intensity.
    counts = {**dict.fromkeys(corpus.labels, 192), "neutral": 96}
    assert clips["label"].value_counts().to_dict() == counts
    assert clips["level"].value_counts().to_dict() == {"normal": 768, "strong": 672}
    assert clips.drop_duplicates("speaker")["sex"].value_counts().to_dict() == {"Female": 12, "Male": 12}
    assert set(clips["sample_rate"]) == {48000}
    assert corpus.copy == "a copy in 48,000 Hz WAV, not compared with the official files"
    assert "NonCommercial" in corpus.licence
    assert corpus.described()["label_track"] == "intended"


def test_missing_files_move_no_clip_to_another_fold(tmp_path, make_tone):
    for name in ("03-01-06-01-02-01-12", "03-01-05-02-01-02-23"):
        make_tone(tmp_path / name[-2:] / f"{name}.wav", rate=48000)
    corpus = load_corpus("ravdess", data=tmp_path)
    assert len(corpus.clips) == 1440
    assert corpus.copy.endswith(", 1,438 of 1,440 missing")
    found = split(corpus, "speaker-5")
    assert found.speaker_disjoint
    assert sum(len(fold.test) for fold in found.folds) == 1440
    assert [len({clip[-2:] for clip in fold.test}) for fold in found.folds] == [5, 5, 5, 5, 4]
    assert verify("ravdess", tmp_path).official is None


def test_copies_as_they_are_found(tmp_path, make_tone, caplog):
    clip = "03-01-06-01-02-01-12"
    for name in (
        f"Actor_12/{clip}.WAV",
        f"archive/audio_speech_actors_01-24/Actor_12/{clip}.wav",
        f"__MACOSX/Actor_12/._{clip}.wav",
        f"__MACOSX/Actor_12/{clip}.wav",
        f"Actor_12/.{clip}.wav",
        "song/03-02-06-01-02-01-12.wav",
    ):
        make_tone(tmp_path / name)
    files = find_files(RAVDESS, tmp_path)
    assert files.clips == {clip: f"Actor_12/{clip}.WAV"}
    assert files.extra == ["song/03-02-06-01-02-01-12.wav"]
    assert files.twice == [f"archive/audio_speech_actors_01-24/Actor_12/{clip}.wav"]
    with caplog.at_level("INFO", logger="serlab"):
        (left_out,) = load_corpus("ravdess", data=tmp_path).excluded
    assert "1 file has the name of a clip that is there already (first archive/audio" in caplog.text
    assert "RAVDESS: 1 file has the name of no clip (first song/03-02" in caplog.text
    found = verify("ravdess", tmp_path)
    assert (len(found.extra), len(found.twice)) == (1, 1)
    assert (left_out.clip, left_out.reason) == (f"Actor_12/.{clip}.wav", "hidden (its name begins with a dot)")


def test_a_link_back_is_not_followed_for_ever(tmp_path, make_tone):
    make_tone(tmp_path / "Actor_12/03-01-06-01-02-01-12.wav")
    (tmp_path / "Actor_12/again").symlink_to(tmp_path)
    assert list(find_files(RAVDESS, tmp_path).clips) == ["03-01-06-01-02-01-12"]


def test_a_folder_without_a_clip(tmp_path, make_tone):
    make_tone(tmp_path / "AudioWAV/1001_DFA_ANG_XX.wav")
    with pytest.raises(UserError, match=r"no RAVDESS clip .*03-01-06-01-02-01-12.wav at any depth.*zenodo.org"):
        load_corpus("ravdess", data=tmp_path)
    with pytest.raises(UserError, match="the corpus ravdess was not found"):
        load_corpus("ravdess", data=tmp_path / "absent")
