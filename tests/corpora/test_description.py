"""Every description of a known corpus has the same contract; a new corpus needs only its examples."""

from __future__ import annotations

from importlib import resources

import pytest

from serlab.core import UserError
from serlab.corpora import describe, descriptions, load_corpus
from serlab.corpora.described import official_clips, read_name
from serlab.corpora.description import read_description
from serlab.corpora.verify import verify
from serlab.protocols import default_protocol, protocol_names, split

NAMED = [known for known in descriptions().values() if known.files.pattern]
EVERY = pytest.mark.parametrize("known", descriptions().values(), ids=lambda known: known.name)
WITH_FILES = pytest.mark.parametrize("known", NAMED, ids=lambda known: known.name)


@EVERY
def test_it_says_what_a_user_must_know(known):
    for text in (known.title, known.summary, known.licence, known.citation, known.obtain, known.people):
        assert text
        assert text == " ".join(text.split())
    assert known.homepage.startswith("https://")
    assert f"{known.clips:,} clips" in known.summary
    assert f"{known.speakers} " in known.summary
    assert known.sample_rate >= 8000
    assert describe(f"{known.name}-limit20") is known


@EVERY
def test_python_says_only_what_the_description_cannot(known):
    computed = {name for name, protocol in known.protocols.items() if not protocol.folds}
    assert set(getattr(known.module, "PROTOCOLS", {})) == computed
    assert hasattr(known.module, "load") == (not known.files.pattern)


@WITH_FILES
def test_published_names_are_clips_and_other_names_are_not(known, tmp_path, make_tone):
    for stem in (*known.files.examples, *known.files.others):
        make_tone(tmp_path / f"{stem}.wav")
    clips = load_corpus(known.name, data=tmp_path).clips.set_index("clip")
    there = clips[clips["path"] != ""]
    assert set(there.index) == set(known.files.examples)
    for stem, values in known.files.examples.items():
        assert {column: there.loc[stem, column] for column in values} == values
    found = verify(known.name, tmp_path)
    assert {name.rpartition("/")[2] for name in found.extra} == {f"{stem}.wav" for stem in known.files.others}
    assert len(found.missing) == known.clips - found.present


@WITH_FILES
def test_the_official_list_has_the_published_counts(known):
    official = official_clips(known)
    if official.empty:
        pytest.skip("the corpus publishes no list of its clips")
    named = [read_name(known, clip) for clip in official["clip"]]
    assert len(named) == known.clips
    assert len({values["speaker"] for values in named}) == known.speakers
    assert {values["label"] for values in named} == set(known.labels)
    assert set(known.tracks.levels) <= {values.get("level") for values in named}
    for values in known.attributes.values():
        assert sorted(" ".join(values.values()).split()) == sorted({values["speaker"] for values in named})
    assert set(known.faults) <= set(official["clip"])


@WITH_FILES
def test_its_protocols_split_the_whole_corpus(known, tmp_path, make_tone):
    make_tone(tmp_path / f"{next(iter(known.files.examples))}.wav")
    corpus = load_corpus(known.name, data=tmp_path)
    assert default_protocol(corpus) in protocol_names(corpus)
    for name, protocol in known.protocols.items():
        for fold in split(corpus, name).folds:
            assert len(fold.train) > len(fold.test) > 0
            assert not {*fold.train, *fold.dev, *fold.test} & set(protocol.without)


def test_a_part_has_the_description_of_the_whole():
    assert describe("crema-d-smoke") is describe("crema-d-limit3") is descriptions()["crema-d"]
    assert describe("crema-d-own") is None
    assert describe("my-clips") is None


def shipped(name: str) -> str:
    return (resources.files("serlab.corpora") / "known" / f"{name}.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("title:", "titel:", "unknown key in the description of the corpus mine 'titel'; did you mean 'title'"),
        ("kind: acted", "kind: played", "kind is 'played'; it must be one of acted"),
        ("clips: 1440", "clips: many", "clips is 'many'; it must be of type int"),
        ("[angry, calm,", "[calm, angry,", "labels must be in alphabetical order"),
        ('"01": neutral', '"01": netural', "codes: label must name each of the labels angry, calm"),
        ("(?P<speaker>", "(?P<actor>", "pattern has no group 'speaker'; write it .*P<speaker>"),
        ("(?P<level>", "(?P<lever>", "codes has 'level', which is not a group of files: pattern"),
        (r"(?P<level>\d\d)", r"(?P<level>\d\d", "pattern is not a regular expression"),
        ('level: {"01": normal', "level: {01: normal", "a key of .* codes: level is 1; it must be of type str"),
        ("      speaker: 01 02", "      actor: 01 02", "files: every: speaker has no values; give them, or codes"),
        ("  pattern: ", "  official: ", "pattern is missing; write how a file name gives speaker"),
    ],
)
def test_a_mistake_is_named(old, new, sentence):
    text = shipped("ravdess")
    assert old in text
    with pytest.raises(UserError, match=sentence):
        read_description(text.replace(old, new, 1), "mine")


def test_a_protocol_needs_folds_or_a_python_module():
    text = shipped("crema-d").replace("python: crema_d\n", "")
    with pytest.raises(UserError, match="protocols: seed-random has no folds; give them, or a Python module"):
        read_description(text, "mine")
