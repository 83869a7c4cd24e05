"""Each code is found exactly where it was planted, with its clips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pandas as pd
import pytest

from serlab.corpora.base import Corpus
from serlab.corpora.measures import ClipMeasures
from serlab.leaks.checks import (
    check_apart,
    check_faults,
    check_recordings,
    check_sizes,
    check_sound,
    check_speakers,
    check_subsets,
)
from serlab.leaks.findings import CODES, Finding, most_severe_first, verdict
from serlab.protocols import Fold, Split

LABELS = ("calm", "sad")


def corpus_of(speakers: int = 4, each: int = 3) -> Corpus:
    rows = [
        {"clip": f"s{s}_{label}_{i}", "speaker": f"s{s}", "label": label, "sentence": f"t{i}"}
        for s in range(speakers)
        for label in LABELS
        for i in range(each)
    ]
    return Corpus("own", pd.DataFrame(rows), LABELS, "", "", "f" * 64, "files")


def by(corpus: Corpus, side_of: Callable[[str], str]) -> Split:
    sides = {side: tuple(c for c in corpus.clips["clip"] if side_of(c) == side) for side in ("train", "dev", "test")}
    return Split("mine", "", None, None, (Fold(1, sides["train"], sides["dev"], sides["test"]),))


SPEAKER_SIDES = {"s0": "train", "s1": "train", "s2": "dev", "s3": "test"}


@pytest.fixture
def corpus() -> Corpus:
    return corpus_of()


@pytest.fixture
def fair(corpus: Corpus) -> Split:
    return by(corpus, lambda clip: SPEAKER_SIDES[clip[:2]])


@pytest.fixture
def leaky(corpus: Corpus) -> Split:
    return by(corpus, lambda clip: {"0": "train", "1": "dev", "2": "test"}[clip[-1]])


def test_speakers_in_two_subsets(corpus: Corpus, fair: Split, leaky: Split) -> None:
    assert list(check_apart(corpus, fair, "speaker")) == []
    (finding,) = check_apart(corpus, leaky, "speaker")
    assert (finding.code, finding.severity) == ("SL001", "error")
    assert "4 of 4 speakers" in finding.text
    assert set(finding.clips) == set(corpus.clips["clip"])


def test_one_speaker_in_two_subsets_names_only_that_one(corpus: Corpus) -> None:
    split = by(corpus, lambda clip: "dev" if clip == "s3_sad_2" else SPEAKER_SIDES[clip[:2]])
    (finding,) = check_apart(corpus, split, "speaker")
    assert "1 of 4 speakers are in two subsets of mine (development and test" in finding.text
    assert {clip[:2] for clip in finding.clips} == {"s3"}


def test_sentences_are_a_note_and_unknown_ones_not_applicable(corpus: Corpus, fair: Split) -> None:
    (finding,) = check_apart(corpus, fair, "sentence")
    assert (finding.code, finding.severity) == ("SL005", "note")
    without = replace(corpus, clips=corpus.clips.drop(columns="sentence"))
    assert [f.severity for f in check_apart(without, fair, "sentence")] == ["not applicable"]


def test_unknown_speakers(corpus: Corpus, fair: Split) -> None:
    unknown = replace(corpus, speakers_known=False)
    assert [f.code for f in check_speakers(unknown)] == ["SL008"]
    assert list(check_speakers(corpus)) == []
    assert [f.severity for f in check_apart(unknown, fair, "speaker")] == ["not applicable"]


def test_duplicates_across_subsets_and_under_two_labels(corpus: Corpus, fair: Split) -> None:
    pairs = [("s0_calm_0", "s3_calm_0"), ("s0_calm_1", "s1_sad_1")]
    across, contradicting = check_recordings(corpus, fair, pairs)
    assert (across.code, across.severity, across.pairs) == ("SL002", "error", (pairs[0],))
    assert (contradicting.code, contradicting.severity, contradicting.pairs) == ("SL003", "warning", (pairs[1],))
    assert [f.code for f in check_recordings(corpus, None, pairs)] == ["SL003"]
    assert list(check_recordings(corpus, fair, [])) == []


def test_a_clip_that_the_split_leaves_out_leaks_nothing(corpus: Corpus) -> None:
    split = by(corpus, lambda clip: "" if clip == "s3_calm_0" else SPEAKER_SIDES[clip[:2]])
    assert list(check_recordings(corpus, split, [("s0_calm_0", "s3_calm_0")])) == []


def test_one_of_many_copies_in_two_subsets_is_found_without_its_own_pair(corpus: Corpus) -> None:
    copied = replace(corpus, clips=corpus.clips.assign(sha256="a" * 64))
    clips = corpus.clips["clip"].tolist()
    # Of many copies only neighbours are paired, and no two neighbours are in this fold.
    split = Split("mine", "", None, None, (Fold(1, (clips[0], clips[4]), (), (clips[2], clips[6])),))
    finding, *_ = check_recordings(copied, split, list(pairwise(clips)))
    assert (finding.code, finding.pairs) == ("SL002", ((clips[0], clips[2]),))


def test_unknown_sentences_are_no_sentence(corpus: Corpus, leaky: Split) -> None:
    sentences = corpus.clips["sentence"].where(corpus.clips["sentence"] == "t9", "")
    unknown = replace(corpus, clips=corpus.clips.assign(sentence=sentences))
    assert [f.severity for f in check_apart(unknown, leaky, "sentence")] == ["not applicable"]
    some = replace(corpus, clips=corpus.clips.assign(sentence=["x", "y", *sentences[2:]]))
    assert not [f for f in check_apart(some, leaky, "sentence") if f.severity == "note"]


def test_a_clip_in_two_subsets(corpus: Corpus, fair: Split) -> None:
    fold = fair.folds[0]
    twice = replace(fair, folds=(replace(fold, dev=(*fold.dev, fold.test[0])),))
    (finding,) = check_recordings(corpus, twice, [])
    assert finding.pairs == ((fold.test[0], fold.test[0]),)
    (sides,) = check_subsets(corpus, twice, set(corpus.clips["clip"]))
    assert (sides.code, sides.severity, sides.clips) == ("SL009", "error", (fold.test[0],))


def test_faulty_sound() -> None:
    clips = ["a", "b", "c", "d", "e"]
    fine, silent = ClipMeasures(), ClipMeasures(fault="silent")
    heard = [fine, silent, ClipMeasures(clipped=0.02), fine, silent]
    found = {finding.text: finding.clips for finding in check_sound(clips, heard)}
    assert found == {"Clipped: c.": ("c",), "Silent: 2 clips, the first is b.": ("b", "e")}


def test_subsets_without_a_usable_clip(corpus: Corpus, fair: Split) -> None:
    clips = set(corpus.clips["clip"])
    no_dev, no_test = clips - set(fair.folds[0].dev), clips - set(fair.folds[0].test)
    assert [(f.code, f.severity) for f in check_subsets(corpus, fair, no_dev)] == [("SL009", "note")]
    assert [(f.code, f.severity) for f in check_subsets(corpus, fair, no_test)] == [("SL009", "error")]
    assert list(check_subsets(corpus, fair, clips)) == []
    (broken,) = check_subsets(corpus, fair, no_test)
    assert "has no usable clip (all 6 are broken)" in broken.text
    (empty,) = check_subsets(corpus, by(corpus, lambda clip: SPEAKER_SIDES[clip[:2]].replace("dev", "train")), clips)
    assert "development subset of mine is empty" in empty.text


def test_a_label_that_training_never_sees(corpus: Corpus) -> None:
    split = by(corpus, lambda clip: "" if clip[:2] < "s2" and "sad" in clip else SPEAKER_SIDES[clip[:2]])
    (finding,) = check_subsets(corpus, split, set(corpus.clips["clip"]))
    assert (finding.code, finding.severity) == ("SL009", "error")
    assert "has no clip of sad" in finding.text


def test_small_labels_and_few_speakers(corpus: Corpus, fair: Split) -> None:
    labels, speakers = check_sizes(corpus, fair, set(corpus.clips["clip"]))
    assert "calm 3, sad 3" in labels.text
    assert len(labels.clips) == 6
    assert "1 speakers" in speakers.text
    large = corpus_of(speakers=30, each=6)
    split = by(large, lambda clip: "test" if int(clip[1:].split("_")[0]) < 12 else "train")
    assert list(check_sizes(large, split, set(large.clips["clip"]))) == []
    (small,) = check_sizes(
        large,
        split,
        set(large.clips["clip"]) - {f"s3_{label}_{i}" for label in LABELS for i in range(6)} | {"s3_calm_0"},
    )
    assert "1 test speakers have fewer clips than there are labels; the first is s3" in small.text


def test_known_faults_of_clips_that_are_used() -> None:
    (finding,) = check_faults({"a": "silent", "b": "broken"}, {"a", "c"})
    assert (finding.code, finding.severity, finding.clips) == ("SL011", "note", ("a",))
    assert list(check_faults({"b": "broken"}, {"a"})) == []


def test_the_verdict_is_as_severe_as_the_most_severe_finding() -> None:
    def said(*severities: str) -> str:
        return verdict([Finding("SL001", severity, "").data() for severity in severities])  # type: ignore[arg-type]

    assert "errors (SL001)" in said("note", "error", "warning")
    assert "no errors, but warnings (SL001)" in said("warning", "note")
    assert "no errors and no warnings" in said("note", "not applicable")
    assert "no errors and no warnings" in said()


def test_findings_come_most_severe_first_with_what_their_code_means() -> None:
    given = [Finding("SL011", "note", ""), Finding("SL002", "error", ""), Finding("SL001", "error", "")]
    found = most_severe_first(given)
    assert [finding.code for finding in found] == ["SL001", "SL002", "SL011"]
    for code, about in CODES.items():
        data = Finding(code, "note", "x").data()
        assert (data["title"], data["why"], data["todo"]) == (about.title, about.why, about.todo)
