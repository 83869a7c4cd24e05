"""Every description of a known corpus has the same contract; a new corpus needs only its examples."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from serlab.core import UserError
from serlab.corpora import describe, descriptions, load_corpus
from serlab.corpora.described import official_clips
from serlab.corpora.joined import listed_clips
from serlab.corpora.names import read_name
from serlab.corpora.reading import read_description
from serlab.corpora.verify import verify
from serlab.protocols import default_protocol, split

# The heads of the tables that list clips, as published or as quoted by programs that read them.
MELD = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
LISTS = {
    "meld": {
        "train_sent_emo.csv": f"""{MELD}
1,"also I was the point person, on my",Chandler,neutral,neutral,0,0,8,21,"00:16:16,059","00:16:21,731"
""",
        "dev_sent_emo.csv": f"""{MELD}
1,"Oh my God, he\u2019s lost it.",Phoebe,sadness,negative,0,0,4,7,"00:20:57,256","00:21:00,049"
2,What?,Monica,surprise,negative,0,1,4,7,"00:21:01,927","00:21:03,261"
4,You\u2019re a genius!,Chandler,joy,positive,1,1,4,4,"00:12:32,334","00:12:33,960"
""",
        "test_sent_emo.csv": f"{MELD}\n",
    },
    "msp-podcast": {
        "Labels/labels_consensus.csv": """FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set
MSP-PODCAST_0001_0008.wav,N,2.2,4.0,2.6,30,Male,Test1
MSP-PODCAST_0001_0009.wav,N,3.777778,3.555556,3.777778,39,Male,Test1
MSP-PODCAST_0001_0011.wav,X,4.125,4.75,4.0,39,Male,Test1
""",
    },
    "iemocap": {
        "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt": """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[19.2900 - 20.7875]\tSes01F_impro01_F003\txxx\t[2.5000, 3.0000, 3.0000]
""",
        "Session1/dialog/EmoEvaluation/Ses01M_script01_1.txt": (
            "[70.5000 - 76.7833]\tSes01M_script01_1_F014\tang\t[2.0000, 4.0000, 4.0000]\n"
        ),
        "Session5/dialog/EmoEvaluation/Ses05F_impro03.txt": (
            "[11.2000 - 13.1000]\tSes05F_impro03_M002\texc\t[4.5000, 4.0000, 3.5000]\n"
        ),
    },
}
# Corpora with too few speakers to divide.
TARGETS = {"tess"}
NAMED = [known for known in descriptions().values() if known.files.pattern]
EVERY = pytest.mark.parametrize("known", descriptions().values(), ids=lambda known: known.name)
WITH_FILES = pytest.mark.parametrize("known", NAMED, ids=lambda known: known.name)


@EVERY
def test_it_says_what_a_user_must_know(known):
    for text in (known.title, known.summary, known.licence, known.citation, known.obtain, known.people, known.language):
        assert text
        assert text == " ".join(text.split())
    assert known.homepage.startswith("http")
    assert known.kind
    # The size of a corpus that grows with each release is not fixed.
    assert f"{known.clips:,} clips" in known.summary if known.clips else "depends on the release" in known.summary
    assert not known.speakers or f"{known.speakers} " in known.summary
    assert known.sample_rate >= 8000
    assert describe(f"{known.name}-limit20") is known


@EVERY
def test_a_licence_that_forbids_or_allows_commercial_use_says_so(known):
    words = known.licence.lower()
    if known.commercial is None:
        assert any("commercial use" in fact or "licence" in fact for fact in known.unchecked)
    elif not known.commercial:
        assert "noncommercial" in words or "research only" in words


@EVERY
def test_python_says_only_what_the_description_cannot(known):
    computed = {name for name, protocol in known.protocols.items() if not protocol.folds and not protocol.partitions}
    assert set(getattr(known.module, "PROTOCOLS", {})) == computed
    assert hasattr(known.module, "load") == (not known.files.pattern)


def copy_of(known, folder, make_tone, paths) -> None:
    """Write tones with these paths, and the tables that list the clips of a corpus."""
    for path in paths:
        make_tone(folder / f"{path}.wav")
    for name, text in LISTS.get(known.name, {}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def values_of(row, names) -> dict[str, str]:
    return {name: str(row[name]) for name in names}


@WITH_FILES
def test_published_names_are_clips_and_other_names_are_not(known, tmp_path, make_tone):
    copy_of(known, tmp_path, make_tone, (*known.files.examples, *known.files.others))
    clips = load_corpus(known.name, data=tmp_path).clips.set_index("clip")
    there = clips[clips["path"] != ""]
    assert set(there.index) == set(known.files.examples)
    for stem, values in known.files.examples.items():
        assert values_of(there.loc[stem], values) == values
    found = verify(known.name, tmp_path)
    assert {name.rpartition("/")[2] for name in found.extra} == {f"{stem}.wav" for stem in known.files.others}
    if known.name not in LISTS and len(official_clips_of(known, tmp_path)):
        assert len(found.missing) == known.clips - found.present


@WITH_FILES
def test_copies_in_the_wild_are_found(known, tmp_path, make_tone):
    examples = list(known.files.examples)
    layouts = {
        "flat": {f"{stem}.WAV": stem for stem in examples},
        "nested": {f"archive/copy 1/{stem}.wav": stem for stem in examples},
        "theirs": {f"{path}.wav": clip for path, clip in known.files.copies.items()},
    }
    if "**" not in known.files.folders:
        del layouts["nested"]
    for name, files in layouts.items():
        if not files:
            continue
        folder = tmp_path / name
        copy_of(known, folder, make_tone, ())
        for path in files:
            # 48 kHz, stereo, and AIFF with the wrong extension.
            make_tone(folder / path, rate=48000, channels=2, format="AIFF")
            hidden = (folder / path).parent / f"._{(folder / path).name}"
            hidden.write_bytes(b"\x00\x05\x16\x07")
            make_tone(folder / "__MACOSX" / path)
        clips = load_corpus(known.name, data=folder).clips
        there = clips[clips["path"] != ""]
        assert dict(zip(there["path"], there["clip"], strict=True)) == {
            str(folder / path): clip for path, clip in files.items()
        }
        assert set(there["sample_rate"]) <= {48000}
        assert set(there["label"]) <= set(known.labels)


def official_clips_of(known, root):
    return official_clips(known, listed_clips(known, root))


@WITH_FILES
def test_the_official_list_has_the_published_counts(known, tmp_path):
    if known.name in LISTS:
        pytest.skip("the list is in the copy")
    official = official_clips_of(known, tmp_path)
    if official.empty:
        pytest.skip("the corpus publishes no list of its clips")
    named = [read_name(known, clip) for clip in official["clip"]]
    assert len(named) == known.clips
    assert len({values["speaker"] for values in named}) == known.speakers
    if "label" in named[0]:
        assert {values["label"] for values in named} == set(known.labels)
    assert set(known.tracks.levels) <= {values.get("level") for values in named}
    for values in known.attributes.values():
        assert sorted(" ".join(values.values()).split()) == sorted({values["speaker"] for values in named})
    assert set(known.faults) <= set(official["clip"])


@WITH_FILES
def test_its_protocols_split_the_whole_corpus(known, tmp_path, make_tone):
    copy_of(known, tmp_path, make_tone, [next(iter(known.files.examples))])
    corpus = load_corpus(known.name, data=tmp_path)
    whole = len(corpus.clips) == known.clips
    if whole and known.name not in TARGETS:
        found = split(corpus, default_protocol(corpus))
        assert found.speaker_disjoint or known.protocols
        assert {clip for fold in found.folds for clip in fold.test} <= set(corpus.clips["clip"])
    for name, protocol in known.protocols.items() if whole else ():
        for fold in split(corpus, name).folds:
            assert len(fold.train) > len(fold.test) > 0
            assert not {*fold.train, *fold.dev, *fold.test} & set(protocol.without)


def test_each_session_of_iemocap_is_tested_once():
    protocol = descriptions()["iemocap"].protocols["iemocap-session-5"]
    tested = [speaker for fold in protocol.folds for speaker in fold.test.split()]
    assert sorted(tested) == [f"0{session}{sex}" for session in range(1, 6) for sex in "FM"]
    assert sorted(speaker for fold in protocol.folds for speaker in fold.dev.split()) == sorted(tested)
    assert all(
        fold.dev[:2] != fold.test[:2] and len({who[:2] for who in fold.test.split()}) == 1 for fold in protocol.folds
    )


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
        ("kind: acted", "kind: played", r"kind is 'played'; it must be one of acted, elicited, natural, synthetic\."),
        ("clips: 1440", "clips: many", "clips is 'many'; it must be of type int"),
        ("[angry, calm,", "[calm, angry,", "labels must be in alphabetical order"),
        ('"01": neutral', '"01": netural', "codes: label must name each of the labels angry, calm"),
        ("(?P<speaker>", "(?P<actor>", "pattern has no group 'speaker'; write it .*P<speaker>"),
        ("(?P<level>", "(?P<lever>", "codes has 'level', which is not a group of files: pattern; did you mean 'lever'"),
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


@EVERY
def test_it_can_be_fetched_or_says_why_not(known):
    if not known.files.pattern:
        return
    assert (known.fetch is None) == bool(known.by_hand)
    if known.fetch is None:
        assert not known.by_hand.endswith(".")
        # It says where to get it by hand.
        assert re.search(r"https?://", known.obtain)
    elif known.fetch.archive is not None:
        archive = known.fetch.archive
        # The source is the corpus's own page or repository, and the licence is shown before the first byte.
        assert archive.url.startswith(("https://zenodo.org/records/", known.homepage))
        assert known.licence
        # An archive of a commit is made for each call; a published one has a size.
        assert bool(archive.size) == bool(archive.md5)
        assert not archive.size or archive.size < archive.unpacked


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("    md5: bc", "    md5: xyz", "fetch: archive: md5 is 'xyz.*'; write 32 hexadecimal digits"),
        ("    md5: bc", "    sha1: bc", "unknown key in the description of the corpus mine: fetch: archive 'sha1'"),
        ("    unpacked: 1000000000\n", "", "fetch: archive lacks the key 'unpacked'; add it"),
        ("    unpacked: 1000000000", "    unpacked: 0", "unpacked must be a number of bytes"),
        (
            "    unpacked:",
            "    tree: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n    unpacked:",
            "needs md5 or tree, and not",
        ),
        ("    url: https:", "    url: http:", "an address that does not begin with https://"),
        ("    url: https://zenodo", "    url: file:///etc", "an address that does not begin with https://"),
        ("  folder: Audio", "  folder: ../Audio", "fetch: folder is '../Audio.*'; write the name of one folder"),
        ("fetch:\n", "fetch:\n  lfs: https://a.org\n", "fetch has no source, or two; give lfs or archive"),
    ],
)
def test_a_mistake_in_where_a_corpus_is_fetched_is_named(old, new, sentence):
    text = shipped("ravdess")
    assert old in text
    with pytest.raises(UserError, match=sentence):
        read_description(text.replace(old, new, 1), "mine")
