"""A user's own description: ``load_corpus("my-corpus.yaml", data=FOLDER)``."""

from __future__ import annotations

import os

import pytest

from serlab.core import UserError
from serlab.corpora import load_corpus
from serlab.corpora.reading import read_own
from serlab.corpora.verify import verify
from serlab.protocols import split

MINE = r"""
files:
  pattern: (?P<speaker>p\d+)-(?P<label>[a-z]+)-(?P<sentence>\d)
  codes:
    label: {hap: happy, exc: happy, ang: angry, xxx: ""}
"""


@pytest.fixture
def mine(tmp_path, make_tone):
    names = [f"p{speaker}-{label}-{n}" for speaker in range(1, 7) for label in ("hap", "ang") for n in (1, 2)]
    for place, name in enumerate(names):
        make_tone(tmp_path / "audio" / f"{name}.wav", seconds=0.2 + 0.02 * place, hz=200 + 31 * place)
    for name in ("p1-exc-3", "p1-xxx-1", "p2-xxx-1", "p1-bor-1", "p1-bor-2"):
        make_tone(tmp_path / "audio" / f"{name}.wav")
    path = tmp_path / "my-corpus.yaml"
    path.write_text(MINE, encoding="utf-8")
    return path


def test_a_description_beside_the_audio_is_enough(mine, capsys):
    corpus = load_corpus(str(mine))
    assert corpus.name == "my-corpus"
    assert corpus.labels == ("angry", "happy")
    # Codes are merged: excited counts as happy.
    assert corpus.clips["label"].value_counts().to_dict() == {"happy": 13, "angry": 12}
    assert list(corpus.clips["speaker"].unique()) == [f"p{n}" for n in range(1, 7)]
    assert corpus.licence == corpus.citation == "not stated"
    assert split(corpus, "speaker-5").speaker_disjoint
    said = capsys.readouterr().err
    assert "2 files have a label that is not one of angry, happy; they are left out" in said
    assert "2 files have the label code 'bor' (first audio/p1-bor-1.wav), which its description does not list" in said


def test_the_folder_can_be_elsewhere(mine, tmp_path, make_tone):
    elsewhere = tmp_path / "elsewhere" / "ravdess.yaml"
    elsewhere.parent.mkdir()
    mine.rename(elsewhere)
    assert load_corpus(str(elsewhere), data=tmp_path / "audio").name == "ravdess-own"
    with pytest.raises(UserError, match=r"elsewhere holds no audio"):
        load_corpus(str(elsewhere))
    make_tone(elsewhere.with_name("song.wav"))
    with pytest.raises(UserError, match=r"has a name that fits the description of ravdess; correct its pattern"):
        load_corpus(str(elsewhere))


def test_verify_reads_it_too(mine):
    found = verify(str(mine))
    assert found.ok
    assert found.present == 25
    assert len(found.extra) == 2
    mine.write_text(MINE + "clips: 30\n", encoding="utf-8")
    half = verify(str(mine))
    assert (half.ok, half.unlisted, half.missing) == (False, 5, [])
    assert half.copy.endswith("5 of 30 missing")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("files:", "file:", r"unknown key in the description .*my-corpus.yaml 'file'; did you mean 'files'"),
        ("  codes:", "  code:", r"unknown key in .*my-corpus.yaml: files 'code'; did you mean 'codes'"),
        ("(?P<speaker>", "(?P<spk>", "pattern has no group 'speaker'"),
        ("files:", "python: os\nfiles:", "python is for the corpora that serlab knows by name"),
        ("files:", "labels: [angry]\nfiles:", "codes: label must name each of the labels angry and no other"),
        ("files:", "files:\n  paths: {'(': x}", "paths has a key that is not a regular expression"),
        ("files:", "files:\n  made: {who: '{person}'}", "made: who uses 'person', which is not a group"),
        ("files:", "\t", "is not valid YAML"),
        ("(?P<sentence>", "(?P<clip>", "'clip' is a column that serlab makes itself"),
        ("(?P<sentence>", "(?P<duration>", "'duration' is a column that serlab makes itself"),
        ("files:", "attributes: {label: {happy: p1}}\nfiles:", "the column 'label' is given twice"),
        ("files:", "attributes: {sha256: {x: p1}}\nfiles:", "'sha256' is a column that serlab makes itself"),
        (
            "files:",
            "tables: [{file: a.csv, key: who, columns: {name: speaker}}]\nfiles:",
            "the column 'speaker' is given twice, by names, attributes or tables",
        ),
        (
            "files:",
            "protocols: {v1.0: {definition: x, folds: [{dev: p1, test: p2}]}}\nfiles:",
            "'v1.0' is not a name of letters",
        ),
    ],
)
def test_a_mistake_is_named(mine, old, new, sentence):
    mine.write_text(MINE.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        load_corpus(str(mine))


def test_without_codes_the_labels_are_those_of_the_files_or_those_that_are_listed(mine, capsys):
    plain = r"files: {pattern: '(?P<speaker>p\d+)-(?P<label>[a-z]+)-(?P<sentence>\d)'}"
    mine.write_text(plain, encoding="utf-8")
    assert load_corpus(str(mine)).labels == ("ang", "bor", "exc", "hap", "xxx")
    mine.write_text(f"{plain}\nlabels: [ang, hap]", encoding="utf-8")
    corpus = load_corpus(str(mine))
    assert (corpus.labels, len(corpus.clips)) == (("ang", "hap"), 24)
    assert "5 files have the name of no clip" in capsys.readouterr().err
    mine.write_text(f"{plain}\nlabels: [hap]", encoding="utf-8")
    with pytest.raises(UserError, match=r"has only the label 'hap'; expected at least two"):
        load_corpus(str(mine))
    assert verify(str(mine)).clips == 12


def test_a_name_that_is_not_utf8_is_listed(mine):
    (mine.parent / "audio" / os.fsdecode(b"p1-hap-\xff.wav")).write_bytes(b"")
    (entry,) = load_corpus(str(mine)).excluded
    assert (entry.clip, entry.reason) == ("audio/p1-hap-\\xff.wav", "its name is not UTF-8; rename it")


def test_a_fault_of_a_clip_that_is_not_there_is_none(mine):
    mine.write_text(f"{MINE}faults_in: {{.wav: {{p9-hap-1: bad, p1-hap-1: noisy}}}}\n", encoding="utf-8")
    assert load_corpus(str(mine)).faults == {"p1-hap-1": "noisy"}


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"cannot be read .it is not UTF-8.; save it as YAML in UTF-8"):
        read_own(path)
