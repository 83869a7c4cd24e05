from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from tests.conftest import EMOTIONS

from serlab.core import MachineError, UserError
from serlab.corpora import load_corpus, synthetic
from serlab.corpora.base import Corpus
from serlab.frontends.functionals import MfccStatistics
from serlab.protocols import split
from serlab.recordings.duplicates import find_duplicates

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    pytest.importorskip("espeakng_loader")
    return load_corpus("synthetic", data=tmp_path_factory.mktemp("synthetic"))


@pytest.fixture
def six(monkeypatch):
    """Make only the first six clips."""
    plans = synthetic._plans()[:6]
    monkeypatch.setattr(synthetic, "_plans", lambda: plans)


def test_it_has_every_voice_sentence_and_emotion_once(corpus):
    clips = corpus.clips
    assert len(clips) == 24 * 12 * 6
    assert len(clips.drop_duplicates(["speaker", "sentence", "label"])) == len(clips)
    assert corpus.labels == EMOTIONS
    assert corpus.synthetic
    assert corpus.name == "synthetic"
    assert "synthetic" in corpus.copy
    assert "GPL-3.0" in corpus.licence
    assert list(clips["clip"]) == sorted(clips["clip"])
    first = clips.iloc[0]
    assert (first["clip"], first["speaker"], first["label"]) == ("voice01_s01_angry", "voice01", "angry")
    assert clips["sha256"].is_unique


def test_every_clip_is_whole_speech_in_tenths_of_a_second(corpus):
    assert corpus.clips["duration"].between(0.8, 2.0).all()
    for path in corpus.clips["path"]:
        samples, rate = soundfile.read(path, dtype="float32")
        assert rate == 16000
        assert len(samples) % 1600 == 0
        assert np.abs(samples).max() < 0.99
        # The last 20 ms contain only noise: no speech is cut.
        assert samples[-320:].std() < 0.2 * samples.std(), path


def mean_pitch(samples: np.ndarray) -> float:
    """Mean logarithm of the pitch (60 to 500 Hz, by autocorrelation) of the louder half of the frames."""
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), 800)[::320]
    frames = frames[frames.std(axis=1) >= np.median(frames.std(axis=1))]
    correlation = np.fft.irfft(np.abs(np.fft.rfft(frames * np.hanning(800), 1600)) ** 2)
    return float(np.log(16000 / (32 + correlation[:, 32:267].argmax(axis=1))).mean())


def test_it_can_be_learnt_but_no_single_cue_tells(corpus):
    """MFCC and an SVM are between .50 and .85 UAR; duration, loudness or mean pitch alone are below .40."""
    from sklearn.metrics import recall_score
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    clips = corpus.clips.set_index("clip")
    heard = [soundfile.read(path, dtype="float32")[0] for path in clips["path"]]
    mfcc = pd.DataFrame([MfccStatistics()(samples) for samples in heard], index=clips.index)
    cues = {
        "duration": clips["duration"],
        "loudness": [20 * np.log10(samples.std()) for samples in heard],
        "pitch": [mean_pitch(samples) for samples in heard],
    }

    def uar(table: pd.DataFrame, *steps) -> float:
        scores = []
        for fold in split(corpus, "speaker-3").folds:
            model = make_pipeline(StandardScaler(), *steps).fit(
                table.loc[list(fold.train)], clips["label"][[*fold.train]]
            )
            guess = model.predict(table.loc[list(fold.test)])
            scores.append(recall_score(clips["label"][[*fold.test]], guess, average="macro"))
        return float(np.mean(scores))

    assert 0.50 < uar(mfcc, SVC(C=3)) < 0.85
    for cue, values in cues.items():
        for judge in (KNeighborsClassifier(50), SVC()):
            assert uar(pd.DataFrame({cue: values}, index=clips.index), judge) < 0.40, (cue, judge)


def test_the_leak_audit_takes_no_two_clips_for_one_recording(corpus):
    assert not find_duplicates(corpus)


def test_loading_again_speaks_no_more_and_reads_the_same(corpus, monkeypatch):
    monkeypatch.setattr(synthetic, "_spoken", lambda requests: pytest.fail("it was spoken again"))
    again = load_corpus("synthetic", data=Path(corpus.clips["path"][0]).parent)
    assert again.fingerprint == corpus.fingerprint
    pd.testing.assert_frame_equal(again.clips, corpus.clips)


def test_the_gpl_library_is_never_in_this_process(corpus):
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("this system does not list a process's libraries")
    assert "espeak" not in maps.read_text()


@pytest.fixture
def small(six, tmp_path) -> tuple[Path, Corpus]:
    pytest.importorskip("espeakng_loader")
    return tmp_path / "one", load_corpus("synthetic", data=tmp_path / "one")


def test_made_twice_it_is_the_same_to_the_last_byte(small, tmp_path):
    _, first = small
    second = load_corpus("synthetic", data=tmp_path / "two")
    assert list(second.clips["sha256"]) == list(first.clips["sha256"])
    assert second.fingerprint == first.fingerprint


@pytest.mark.parametrize("name", ["voice01_s01_fear.wav", "manifest.json"])
@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"[]")])
def test_a_lost_or_changed_file_is_made_again(small, name, damage):
    folder, whole = small
    before = (folder / name).read_bytes()
    damage(folder / name)
    assert load_corpus("synthetic", data=folder).fingerprint == whole.fingerprint
    assert (folder / name).read_bytes() == before


def test_a_changed_file_is_reported(small, capsys):
    folder, _ = small
    (folder / "voice01_s01_sad.wav").write_bytes(b"other")
    load_corpus("synthetic", data=folder)
    assert "voice01_s01_sad.wav has changed" in capsys.readouterr().err


def test_a_corpus_of_another_version_is_made_again(small):
    folder, _ = small
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"version": "0"}))
    load_corpus("synthetic", data=folder)
    assert json.loads((folder / "manifest.json").read_text()) == manifest


def test_without_a_folder_it_lies_in_the_users_cache(six, monkeypatch, tmp_path):
    pytest.importorskip("espeakng_loader")
    monkeypatch.setenv("SERLAB_CACHE", str(tmp_path))
    found = load_corpus("synthetic")
    assert Path(found.clips["path"][0]).parent == tmp_path / f"synthetic-{synthetic.VERSION}"


def test_a_missing_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match=r"pip install 'serlab\[demo\]'"):
        load_corpus("synthetic", data=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_last_words_of_a_broken_espeak_are_reported(six, monkeypatch, tmp_path):
    pytest.importorskip("espeakng_loader")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(MachineError, match=r"espeak-ng stopped .*\(no message\)"):
        load_corpus("synthetic", data=tmp_path / "silent")
    assert not (tmp_path / "silent" / "manifest.json").exists()


def test_a_voice_that_espeak_lacks_is_reported(monkeypatch, tmp_path):
    pytest.importorskip("espeakng_loader")
    monkeypatch.setattr(synthetic, "_VOICES", (("xx-nowhere", 0.0, 1.0),))
    with pytest.raises(MachineError, match="espeak-ng has no voice 'xx-nowhere'"):
        load_corpus("synthetic", data=tmp_path / "silent")


def test_a_folder_that_cannot_be_written_to_is_named(six, tmp_path):
    pytest.importorskip("espeakng_loader")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(MachineError, match=r"cannot write .*voice01_s01_angry"):
        load_corpus("synthetic", data=tmp_path / "file" / "below")


def test_every_voice_says_the_same_again():
    pytest.importorskip("espeakng_loader")
    requests = [plan.request for plan in synthetic._plans()[::72]]
    first = list(synthetic._spoken(requests))
    time.sleep(1.1)  # By default, espeak-ng seeds the noise of breathy voices with the current second.
    for speech, again in zip(first, synthetic._spoken(requests), strict=True):
        np.testing.assert_array_equal(speech, again)


def test_a_folder_of_other_files_is_not_filled(tmp_path):
    (tmp_path / "mine.wav").write_bytes(b"")
    with pytest.raises(UserError, match="contains other files"):
        load_corpus("synthetic", data=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.wav"]
