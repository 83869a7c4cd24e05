"""A planted confounder is found with its severity; labels without a confounder give no finding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.conftest import EMOTIONS

from serlab.corpora.base import Corpus
from serlab.corpora.measures import ClipMeasures
from serlab.leaks.confounders import binned, check_confounders, how_well

SPEAKERS, EACH = 12, 10


@pytest.fixture
def corpus() -> Corpus:
    random = np.random.default_rng(0)
    rows = [
        {"clip": f"{s:02d}_{label}_{i}", "speaker": f"{s:02d}", "label": label}
        for s in range(SPEAKERS)
        for label in EMOTIONS
        for i in range(EACH)
    ]
    clips = pd.DataFrame(rows)
    clips["path"] = [f"{Path('audio').absolute()}/{clip}.wav" for clip in clips["clip"]]
    clips["duration"] = random.normal(2.5, 0.4, len(clips)) + 0.3 * clips["speaker"].astype(int)
    clips = clips.assign(sample_rate=16000, sha256="")
    return Corpus("own", clips, EMOTIONS, "", "", "f" * 64, "files")


def measures(corpus: Corpus, level: np.ndarray | None = None) -> list[ClipMeasures]:
    levels = np.random.default_rng(1).normal(-25, 4, len(corpus.clips)) if level is None else level
    return [ClipMeasures(level=float(value), floor=-60.0, leading=0.1) for value in levels]


def changed(corpus: Corpus, **columns: object) -> Corpus:
    return replace(corpus, clips=corpus.clips.assign(**columns))


def test_nothing_is_said_of_clips_that_are_alike_in_all_labels(corpus: Corpus) -> None:
    assert check_confounders(corpus, measures(corpus)) == []


def test_one_label_at_another_sample_rate(corpus: Corpus) -> None:
    rates = np.where(corpus.clips["label"] == "sad", 44100, 16000)
    (finding,) = check_confounders(changed(corpus, sample_rate=rates), measures(corpus))
    assert (finding.code, finding.severity) == ("SL006", "note")
    assert "sample rate" in finding.text
    assert finding.figures["uar"] == pytest.approx(2 / 6, abs=0.06)


def test_one_label_louder_and_one_longer(corpus: Corpus) -> None:
    random = np.random.default_rng(2)
    loud = np.where(corpus.clips["label"] == "angry", -8, -25) + random.normal(0, 2, len(corpus.clips))
    long = corpus.clips["duration"] + 8 * (corpus.clips["label"] == "happy")
    findings = check_confounders(changed(corpus, duration=long), measures(corpus, loud))
    assert sorted(finding.text.split()[1] for finding in findings) == ["duration", "level"]
    assert all("may itself carry emotion" in finding.text for finding in findings)


def test_a_container_a_label_is_an_error_and_half_of_it_a_warning(corpus: Corpus) -> None:
    number = corpus.clips["label"].map({label: index for index, label in enumerate(EMOTIONS)})
    (finding,) = check_confounders(changed(corpus, sample_rate=8000 + 1000 * number), measures(corpus))
    assert finding.severity == "error"
    assert finding.figures["uar"] == 1
    mixed = np.where(np.random.default_rng(3).random(len(number)) < 0.6, number, 9)
    (finding,) = check_confounders(changed(corpus, sample_rate=8000 + 1000 * mixed), measures(corpus))
    assert finding.severity == "warning"


def test_a_folder_tells_nothing_if_it_is_the_label(corpus: Corpus) -> None:
    names = [(label, f"{clip}.wav") for label, clip in zip(corpus.clips["label"], corpus.clips["clip"], strict=True)]
    of_labels = [f"/data/{label}/{name}" for label, name in names]
    assert check_confounders(changed(corpus, path=of_labels), measures(corpus)) == []
    sessions = [f"/data/{1 + (label in ('angry', 'fear'))}/{name}" for label, name in names]
    (finding,) = check_confounders(changed(corpus, path=sessions), measures(corpus))
    assert "folder" in finding.text


def test_a_folder_tells_nothing_if_the_label_is_below_the_side(corpus: Corpus) -> None:
    side = np.where(corpus.clips["speaker"].astype(int) < 8, "train", "test")
    paths = [
        f"/data/{s}/{label}/{c}.wav"
        for s, label, c in zip(side, corpus.clips["label"], corpus.clips["clip"], strict=True)
    ]
    assert check_confounders(changed(corpus, path=paths), measures(corpus)) == []


def test_speakers_of_one_label_from_two_sources(corpus: Corpus) -> None:
    """Ten actors, the five angry ones on another recorder: nothing varies within a speaker."""
    clips = corpus.clips[corpus.clips["speaker"].astype(int) < 10].reset_index(drop=True)
    angry = clips["speaker"].astype(int) < 5
    clips = clips.assign(label=np.where(angry, "angry", "sad"), sample_rate=np.where(angry, 44100, 16000))
    two = replace(corpus, clips=clips, labels=("angry", "sad"))
    (finding,) = (found for found in check_confounders(two, measures(two)) if "sample rate" in found.text)
    assert finding.severity == "error"
    assert finding.figures["uar"] == 1


def test_few_clips_and_one_speaker_are_not_evaluated(corpus: Corpus) -> None:
    few = replace(corpus, clips=corpus.clips.head(20))
    assert [f.severity for f in check_confounders(few, measures(few))] == ["not applicable"]
    one = changed(corpus, speaker="anna")
    assert [f.severity for f in check_confounders(one, measures(one))] == ["not applicable"]


def test_labels_of_a_speaker_do_not_count_as_told() -> None:
    """Each speaker has their own labels and values, so nothing can be predicted across speakers."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10)
    labels = random.integers(0, 4, 40)[groups]
    score = how_well(binned(pd.Series(groups.astype(float))), labels, groups, 4)
    assert score.p > 0.05


def test_p_is_exact_about_what_permutations_can_show() -> None:
    labels = np.tile([0, 1], 100)
    score = how_well(labels.copy(), labels, np.repeat(np.arange(10), 20), 2, permutations=99)
    assert (score.uar, score.p) == (1.0, 0.01)
    assert score.chance == pytest.approx(0.5, abs=0.05)
