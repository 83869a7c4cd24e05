"""A look at a corpus of tones: the label is the pitch, so features must show it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from tests.conftest import TINY_LABELS, TINY_SPEAKERS, TINY_TAKES

import serlab
from serlab.core import UserError
from serlab.corpora import load_corpus
from serlab.experiments import exploring
from serlab.experiments.exploring import Exploration, explore, snr
from serlab.leaks import audit
from serlab.protocols import fitting_split


@pytest.fixture(scope="module")
def look(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Exploration:
    return explore(str(tiny_corpus), out=tmp_path_factory.mktemp("runs"))


@pytest.fixture
def own(tiny_corpus: Path, tmp_path: Path) -> Path:
    """A copy of the corpus that a test may change; returns its table."""
    return shutil.copytree(tiny_corpus.parent, tmp_path / "own") / tiny_corpus.name


def test_the_tables_describe_every_clip(look: Exploration, tiny_corpus: Path) -> None:
    clips = TINY_SPEAKERS * TINY_TAKES * len(TINY_LABELS)
    assert len(look.clips) == clips
    assert look.clips["clip"].tolist() == serlab.load_corpus(str(tiny_corpus)).clips["clip"].tolist()
    measured = look.clips[["duration", "rms", "floor", "snr", "silence", "clipped", "x", "y", "distance"]]
    assert np.isfinite(measured.to_numpy()).all()
    assert look.speakers.shape == (TINY_SPEAKERS, len(TINY_LABELS))
    assert int(look.speakers.to_numpy().sum()) == clips
    assert look.page.parts[-3:] == ("tiny", "explore", "index.html")
    assert look.exclusions == ()


def test_level_and_noise_are_those_of_the_tones(look: Exploration) -> None:
    """Tones of amplitude 0.3 have -13.5 dB; noise of 0.02 is in all frames, so it does not count as quiet."""
    assert look.clips["rms"].to_numpy() == pytest.approx(-13.5, abs=0.1)
    assert look.clips["silence"].max() == 0


def test_the_label_explains_more_than_the_speaker(look: Exploration) -> None:
    shares = look.explained.set_index("column")["adjusted"]
    assert shares["label"] > 0.3 > shares["speaker"]
    nearest = look.explained.set_index("column")
    assert nearest.loc["label", "nearest"] == 1.0
    assert nearest.loc["label", "chance"] == pytest.approx(17 / 53)


def test_the_audit_is_the_audit(look: Exploration, tiny_corpus: Path) -> None:
    corpus = serlab.load_corpus(str(tiny_corpus))
    assert look.findings == audit(corpus, fitting_split(corpus))
    assert look.suggestions[-1].startswith("Use speaker-5 (the default)")


def test_it_is_the_same_again_and_without_cache(look: Exploration, tiny_corpus: Path, tmp_path: Path) -> None:
    again = explore(str(tiny_corpus), out=tmp_path, cache=False)
    pd.testing.assert_frame_equal(again.clips, look.clips)
    for name in ("report.json", "report.md", "clips.csv", "figures/space-label.svg"):
        assert (again.page.parent / name).read_bytes() == (look.page.parent / name).read_bytes()


def test_unusable_files_are_listed_and_stay_unknown(own: Path, tmp_path: Path) -> None:
    (own.parent / "s4_calm_0.wav").write_bytes(b"RIFF....WAVEnonsense")
    soundfile.write(own.parent / "s3_sad_1.wav", np.zeros(16000), 16000)
    found = explore(str(own), out=tmp_path)
    assert [each.clip for each in found.exclusions] == ["s3_sad_1", "s4_calm_0"]
    bad = found.clips[found.clips["fault"] != ""]
    assert bad["clip"].tolist() == ["s3_sad_1", "s4_calm_0"]
    assert bad[["rms", "snr", "x", "distance"]].isna().all(axis=None)
    page = found.page.read_text()
    assert "Not usable" in page
    assert str(own.parent) not in page


def test_copies_of_a_recording_are_named(own: Path, tmp_path: Path) -> None:
    shutil.copy(own.parent / "s0_calm_2.wav", own.parent / "s5_sad_1.wav")
    assert "s0_calm_2 = s5_sad_1" in explore(str(own), out=tmp_path).page.read_text()


@pytest.mark.parametrize("kind", ["one label", "no speakers", "few"])
def test_what_cannot_be_trained_on_can_be_explored(own: Path, tmp_path: Path, kind: str) -> None:
    rows = pd.read_csv(own)
    if kind == "one label":
        rows = rows[rows["label"] == "sad"]
    elif kind == "no speakers":
        rows = rows.drop(columns="speaker")
    else:
        rows = rows.groupby("label").head(1)
    rows.to_csv(own, index=False)
    found = explore(str(own), out=tmp_path)
    assert found.page.is_file()
    assert len(found.clips) == len(rows)
    if kind == "one label":
        assert "There is a single label; a training needs two." in found.suggestions
        assert found.explained["column"].tolist() == ["speaker"]
    elif kind == "no speakers":
        assert found.speakers.empty
        assert "speaker" not in found.explained["column"].tolist()
    else:
        assert found.explained.empty
        assert found.clips["x"].isna().all()
        assert "No protocol fits: the corpus has too few speakers or clips to be split." in found.suggestions


def test_what_is_unknown_of_some_clips_is_no_group(tiny_corpus: Path, tmp_path: Path) -> None:
    corpus = load_corpus(str(tiny_corpus))
    sexes = corpus.clips["speaker"].map({"s0": "female", "s1": "female", "s2": "male", "s3": "male"})
    whole = explore(replace(corpus, clips=corpus.clips.assign(sex=sexes.fillna(""))), out=tmp_path)
    shares = whole.explained.set_index("column").loc["sex"]
    assert shares["groups"] == 2
    assert shares["raw"] < 0.2


def test_neighbours_of_many_clips_are_those_of_some(
    look: Exploration, tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exploring, "_MOST_COMPARED", 20)
    found = explore(str(tiny_corpus), out=tmp_path)
    assert "among 20 clips drawn at random" in found.page.read_text()
    assert found.explained["adjusted"].tolist() == look.explained["adjusted"].tolist()


@pytest.mark.parametrize(
    ("level", "floor", "expected"), [(-20, -60, 40), (-20, -23.0103, 0), (-20, -20, -30), (-20, -120, np.nan)]
)
def test_snr(level: float, floor: float, expected: float) -> None:
    assert snr(level, floor) == pytest.approx(expected, abs=0.01, nan_ok=True)


def test_wrong_names_end_before_the_corpus_is_read() -> None:
    with pytest.raises(UserError, match="unknown features 'mfc'; did you mean 'mfcc'"):
        explore("no-such-corpus.csv", features="mfc")
    with pytest.raises(UserError, match="audio=loud is not one of"):
        explore("no-such-corpus.csv", audio="loud")  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.cremad
def test_actors_explain_more_than_emotions_in_cremad(cremad_root: Path, tmp_path: Path) -> None:
    corpus = serlab.load_corpus("crema-d", data=cremad_root)
    part = replace(corpus, clips=corpus.clips[::15].reset_index(drop=True))
    found = explore(part, out=tmp_path, audio="none")
    shares = found.explained.set_index("column")["adjusted"]
    assert shares["speaker"] > shares["label"] > shares["sex"] > 0
    assert 5 < found.clips["snr"].median() < 30
    assert "actors" in found.page.read_text()
