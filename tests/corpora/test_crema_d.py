from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from tests.conftest import EMOTIONS

from serlab.core import UserError
from serlab.corpora import descriptions, load_corpus
from serlab.corpora.described import find_files, official_clips

CREMA_D = descriptions()["crema-d"]
CLIPS = ("1001_DFA_ANG_XX", "1001_IEO_HAP_LO", "1040_ITH_SAD_XX")


@pytest.fixture(scope="module")
def corpus(cremad_root):
    return load_corpus("crema-d", data=cremad_root)


def present(corpus):
    return corpus.clips.loc[corpus.clips["path"] != "", "clip"].tolist()


@pytest.mark.cremad
def test_the_whole_corpus(corpus):
    clips = corpus.clips
    assert len(clips) == 7442
    assert clips["clip"].is_monotonic_increasing
    assert clips["label"].value_counts().to_dict() == {
        "angry": 1271, "disgust": 1271, "fear": 1271, "happy": 1271, "neutral": 1087, "sad": 1271,
    }  # fmt: skip
    assert clips["level"].value_counts().to_dict() == {"XX": 6077, "LO": 455, "MD": 455, "HI": 455}
    assert set(clips.loc[clips["level"] != "XX", "sentence"]) == {"IEO"}
    assert (clips["sentence"] == "IEO").sum() == 1456
    assert sorted(clips["speaker"].unique()) == [str(actor) for actor in range(1001, 1092)]
    assert clips["sentence"].nunique() == 12
    assert corpus.labels == EMOTIONS
    assert corpus.speakers_known
    assert corpus.sentences_known
    assert not corpus.synthetic


@pytest.mark.cremad
def test_durations_and_the_copy(corpus):
    duration = corpus.clips["duration"]
    assert duration.sum() / 3600 == pytest.approx(5.26, abs=0.005)
    assert (duration.min(), duration.mean(), duration.max()) == pytest.approx((1.27, 2.54, 5.01), abs=0.005)
    assert set(corpus.clips["sample_rate"]) == {11025}
    assert corpus.copy == "a copy in 11,025 Hz FLAC, not the official 16 kHz files"
    assert "Open Database License" in corpus.licence
    assert "10.1109/TAFFC.2014.2336244" in corpus.citation


@pytest.mark.cremad
def test_faults_name_the_silent_clip_the_pairs_and_the_wrong_name(corpus):
    assert corpus.faults["1076_MTI_SAD_XX"] == "silent"
    assert corpus.faults["1006_TIE_HAP_XX"] == "the same recording as 1006_TIE_NEU_XX"
    assert corpus.faults["1040_ITH_SAD_XX"] == "named 1040_ITH_SAD_X in this copy"
    assert len(corpus.faults) == 8
    hashes = corpus.clips.set_index("clip")["sha256"]
    assert hashes["1017_IWW_ANG_XX"] == hashes["1017_IWW_FEA_XX"]


@pytest.mark.cremad
def test_demographics(corpus):
    actors = corpus.clips.drop_duplicates("speaker")
    assert actors["sex"].value_counts().to_dict() == {"Male": 48, "Female": 43}
    assert actors["race"].value_counts()["African American"] == 22
    assert (actors["ethnicity"] == "Hispanic").sum() == 10
    assert (actors["age"].min(), actors["age"].max()) == (20, 74)


@pytest.mark.cremad
def test_people_recognise_the_voice_as_the_paper_says(corpus):
    """Cao et al. 2014: 40.9, 58.2 and 63.6 % of ratings name the intended emotion; per emotion from the raw votes."""
    clips = corpus.clips
    confusion = {
        modality: np.array(
            [clips.loc[clips["label"] == e, [f"votes_{modality}_{v}" for v in EMOTIONS]].sum() for e in EMOTIONS]
        )
        for modality in ("voice", "face", "both")
    }
    recall = confusion["voice"].diagonal() / confusion["voice"].sum(axis=1)
    assert confusion["voice"].sum() == 68568
    assert 100 * recall.mean() == pytest.approx(40.7, abs=0.05)
    assert 100 * recall == pytest.approx([53.2, 28.6, 32.1, 29.0, 76.2, 25.0], abs=0.06)
    shares = {modality: 100 * np.trace(table) / table.sum() for modality, table in confusion.items()}
    assert shares == pytest.approx({"voice": 40.9, "face": 58.2, "both": 63.6}, abs=1.0)


@pytest.mark.cremad
def test_official_files_are_known_as_such(cremad_root, tmp_path):
    corpus = load_corpus("crema-d", data=cremad_root / "original_16khz")
    assert corpus.copy == "the official 16 kHz files, 7,424 of 7,442 missing"
    assert len(present(corpus)) == 18
    for file in (cremad_root / "original_16khz").glob("1001_*.wav"):
        shutil.copyfile(file, tmp_path / file.name)
    changed = tmp_path / "1001_DFA_ANG_XX.wav"
    changed.write_bytes(changed.read_bytes()[:-1] + b"\x01")
    assert load_corpus("crema-d", data=tmp_path).copy.startswith("1 of 5 files differ from the official 16 kHz ones")


def test_the_manifest_is_the_official_list():
    table = official_clips(CREMA_D)
    assert len(table) == 7442
    assert table["bytes"].sum() == 605_899_936
    assert table["sha256"].str.fullmatch("[0-9a-f]{64}").all()
    row = table.set_index("clip").loc["1001_DFA_ANG_XX"]
    assert row["sha256"] == "c6f94b2592487c7556bd86df7df6e8f4420d1b9c11414aeec9d8e5e640b51495"
    assert row["bytes"] == 72862


@pytest.mark.parametrize("folder", ["AudioWAV", ".", "AudioMP3"])
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3"])
def test_layouts_found_in_the_wild(tmp_path, make_tone, folder, suffix):
    for clip in ("1001_DFA_ANG_XX", "1001_IEO_HAP_LO", "1040_ITH_SAD_X"):
        make_tone(tmp_path / folder / f"{clip}{suffix}", rate=22050)
    corpus = load_corpus("crema-d", data=tmp_path)
    assert present(corpus) == list(CLIPS)
    assert len(corpus.clips) == 7442
    row = corpus.clips.set_index("clip").loc["1040_ITH_SAD_XX"]
    assert (row["label"], row["sentence"], row["level"], row["sample_rate"]) == ("sad", "ITH", "XX", 22050)
    assert row["duration"] == pytest.approx(0.5)
    assert corpus.copy.startswith(f"a copy in 22,050 Hz {suffix[1:].upper()}, not the official")
    absent = corpus.clips.set_index("clip").loc["1091_WSI_SAD_XX"]
    assert (absent["path"], absent["sha256"], absent["sample_rate"]) == ("", "", 0)
    assert np.isnan(absent["duration"])


def test_the_folder_of_wavs_wins_and_better_names_and_formats_win(tmp_path, make_tone):
    names = ("1001_DFA_ANG_XX.mp3", "1001_DFA_ANG_XX.wav", "1040_ITH_SAD_X.wav", "1040_ITH_SAD_XX.mp3", "surprise.wav")
    for name in names:
        make_tone(tmp_path / "AudioWAV" / name)
    make_tone(tmp_path / "AudioMP3" / "1002_DFA_ANG_XX.mp3")
    make_tone(tmp_path / "1003_DFA_ANG_XX.wav")
    files = find_files(CREMA_D, tmp_path)
    assert files.folder == tmp_path / "AudioWAV"
    assert files.clips == {
        "1001_DFA_ANG_XX": "1001_DFA_ANG_XX.wav",
        "1040_ITH_SAD_XX": "1040_ITH_SAD_XX.mp3",
    }
    assert sorted(files.twice) == ["1001_DFA_ANG_XX.mp3", "1040_ITH_SAD_X.wav"]
    assert files.extra == ["surprise.wav"]


def test_broken_mp3s_are_a_fault_of_the_mp3s_alone(tmp_path, make_tone):
    make_tone(tmp_path / "AudioMP3" / "1064_TIE_SAD_XX.mp3")
    make_tone(tmp_path / "AudioMP3" / "1064_IEO_DIS_MD.wav")
    faults = load_corpus("crema-d", data=tmp_path).faults
    assert faults["1064_TIE_SAD_XX"] == "its MP3 is broken upstream"
    assert "1064_IEO_DIS_MD" not in faults


def test_fingerprint_follows_content_and_not_place(tmp_path, make_tone):
    first = make_tone(tmp_path / "a/AudioWAV/1001_DFA_ANG_XX.wav")
    (tmp_path / "b").mkdir()
    shutil.copyfile(first, tmp_path / "b/1001_DFA_ANG_XX.wav")
    make_tone(tmp_path / "c/1001_DFA_ANG_XX.wav", hz=221)
    prints = [load_corpus("crema-d", data=tmp_path / name).fingerprint for name in "abc"]
    assert prints[0] == prints[1] != prints[2]


def write_tables(root, clips, actors=range(1001, 1092)):
    demographics = pd.DataFrame({"ActorID": list(actors), "Age": 30, "Sex": "Male", "Race": "Asian", "Ethnicity": "x"})
    demographics.to_csv(root / "VideoDemographics.csv", index=False)
    votes = pd.concat(
        [
            pd.DataFrame({**dict.fromkeys("ADFHNS", 0), "A": digit, "fileName": clips}).set_axis(
                [f"{digit}{number:05d}" for number in range(1, len(clips) + 1)]
            )
            for digit in (1, 2, 3)
        ]
    )
    (root / "processedResults").mkdir(exist_ok=True)
    votes.to_csv(root / "processedResults/tabulatedVotes.csv")


def test_tables_are_joined_also_when_the_audio_folder_itself_is_named(tmp_path, make_tone):
    make_tone(tmp_path / "AudioWAV" / "1001_DFA_ANG_XX.wav")
    write_tables(tmp_path, official_clips(CREMA_D)["clip"])
    clips = load_corpus("crema-d", data=tmp_path / "AudioWAV").clips
    votes = clips.loc[0, ["votes_voice_angry", "votes_face_angry", "votes_both_angry", "votes_both_sad"]].tolist()
    assert votes == [1, 2, 3, 0]
    assert set(clips["age"]) == {30}


def test_damaged_tables_are_named(tmp_path, make_tone):
    make_tone(tmp_path / "AudioWAV" / "1001_DFA_ANG_XX.wav")
    clips = official_clips(CREMA_D)["clip"]
    votes, demographics = tmp_path / "processedResults/tabulatedVotes.csv", tmp_path / "VideoDemographics.csv"

    write_tables(tmp_path, clips[1:])
    with pytest.raises(UserError, match=r"tabulatedVotes.csv.*it lacks the clip 1001_DFA_ANG_XX"):
        load_corpus("crema-d", data=tmp_path)
    write_tables(tmp_path, pd.concat([clips, clips[:1]]))
    with pytest.raises(UserError, match=r"tabulatedVotes.csv is not CREMA-D's own table"):
        load_corpus("crema-d", data=tmp_path)
    write_tables(tmp_path, clips)
    votes.write_text(votes.read_text().replace("fileName", "file", 1))
    with pytest.raises(UserError, match=r"tabulatedVotes.csv is not CREMA-D's own table"):
        load_corpus("crema-d", data=tmp_path)
    write_tables(tmp_path, clips, actors=range(1001, 1091))
    with pytest.raises(UserError, match=r"VideoDemographics.csv.*it lacks 82 clips, first 1091_"):
        load_corpus("crema-d", data=tmp_path)
    demographics.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"VideoDemographics.csv is not CREMA-D's own table"):
        load_corpus("crema-d", data=tmp_path)


def test_not_found_says_where_it_looked_and_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("serlab.corpora.locate.user_folder", lambda _: tmp_path / "user")
    monkeypatch.setenv("SERLAB_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UserError) as caught:
        load_corpus("crema-d")
    for words in (
        "CheyneyComputerScience/CREMA-D",
        "git lfs",
        "Open Database License",
        "give its folder as data",
        "SERLAB_DATA",
    ):
        assert words in str(caught.value)
    for place in ("nowhere/crema-d", "nowhere/CREMA-D", "user/crema-d"):
        assert str(tmp_path / place) in str(caught.value)


def test_data_lies_where_the_option_the_variable_or_the_users_folder_says(tmp_path, make_tone, monkeypatch):
    for number, place in enumerate(("option", "variable/CREMA-D", "user/crema-d")):
        make_tone(tmp_path / place / f"{1001 + number}_DFA_ANG_XX.wav")
    monkeypatch.setattr("serlab.corpora.locate.user_folder", lambda _: tmp_path / "user")
    monkeypatch.delenv("SERLAB_DATA", raising=False)
    assert present(load_corpus("crema-d")) == ["1003_DFA_ANG_XX"]
    monkeypatch.setenv("SERLAB_DATA", str(tmp_path / "empty"))
    assert present(load_corpus("crema-d")) == ["1003_DFA_ANG_XX"]
    monkeypatch.setenv("SERLAB_DATA", str(tmp_path / "variable"))
    assert present(load_corpus("crema-d")) == ["1002_DFA_ANG_XX"]
    assert present(load_corpus("crema-d", data=tmp_path / "option")) == ["1001_DFA_ANG_XX"]
    with pytest.raises(UserError, match="was not found"):
        load_corpus("crema-d", data=tmp_path / "wrong")


def test_a_folder_of_something_else(tmp_path, make_tone):
    make_tone(tmp_path / "AudioWAV" / "03-01-05-01-01-01-01.wav")
    with pytest.raises(UserError, match="holds no CREMA-D clip"):
        load_corpus("crema-d", data=tmp_path)
