"""Tables that list the clips of a described corpus, and tables that are joined."""

from __future__ import annotations

import pytest

from serlab.core import UserError
from serlab.corpora import load_corpus
from serlab.protocols import split

MINE = r"""
files:
  pattern: (?P<set>\w)_(?P<number>\d+)
  paths:
    (?P<set>\w)/file(?P<number>\d+): \g<set>_\g<number>
tables:
  - file: "**/list.tsv"
    also: [old.csv]
    key: "{set}_{number}"
    columns: {who: speaker, emo: label, part: partition}
    codes: {label: {A: angry, H: happy, E: happy, X: ""}}
    lists_clips: true
  - file: people.csv
    key: name
    column: speaker
    columns: {age: age, town: town}
default_protocol: mine
protocols:
  mine:
    definition: its own partitions.
    partitions: {column: partition, train: train, dev: dev valid, test: test}
"""
ROWS = ["a 1 ann A train", "a 2 ann E train", "b 1 bob H valid", "b 2 bob A test", "b 3 bob X test", "c 1 cas H test"]
HEAD = "set number who emo part"


def write(folder, make_tone, rows=ROWS, head=HEAD):
    lines = ["\t".join(row.split()) for row in (head, *rows)]
    (folder / "meta").mkdir(exist_ok=True, parents=True)
    (folder / "meta" / "list.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name in ("a/file1", "a/file2", "deep/er/b/file1", "b_2", "b_3", "d_9"):
        make_tone(folder / f"{name}.wav")
    path = folder / "mine.yaml"
    path.write_text(MINE, encoding="utf-8")
    return str(path)


def test_the_table_is_the_official_list(tmp_path, make_tone):
    corpus = load_corpus(write(tmp_path, make_tone))
    clips = corpus.clips.set_index("clip")
    assert clips["label"].to_dict() == {"a_1": "angry", "a_2": "happy", "b_1": "happy", "b_2": "angry", "c_1": "happy"}
    assert clips.loc["b_1", "path"].endswith("deep/er/b/file1.wav")
    assert clips.loc["c_1", "path"] == ""
    assert corpus.copy.endswith("1 of 5 missing")
    (fold,) = split(corpus, "mine").folds
    assert (fold.train, fold.dev, fold.test) == (("a_1", "a_2"), ("b_1",), ("b_2", "c_1"))
    assert split(corpus, "mine").speaker_disjoint is False


def test_another_table_is_joined_if_it_is_there(tmp_path, make_tone):
    path = write(tmp_path, make_tone)
    assert "age" not in load_corpus(path).clips
    people = "name,age,town\nann,30,Rome\nbob,40,Oslo\ncas,50,Bonn\n"
    (tmp_path / "people.csv").write_text(people, encoding="utf-8")
    clips = load_corpus(path).clips.set_index("clip")
    assert clips.loc["b_1", ["age", "town"]].tolist() == [40, "Oslo"]
    (tmp_path / "people.csv").write_text(people.replace("cas,50,Bonn\n", ""), encoding="utf-8")
    with pytest.raises(
        UserError, match=r"people.csv does not fit the description of mine .it lacks the clip c_1.; correct either"
    ):
        load_corpus(path)


def test_codes_and_numbers_of_a_table_are_values_of_a_partition(tmp_path, make_tone):
    path = write(tmp_path, make_tone)
    for part in ("{}", "00{}"):
        rows = "".join(f"{name},{part.format(place)}\n" for name, place in (("ann", 1), ("bob", 2), ("cas", 3)))
        (tmp_path / "people.csv").write_text(f"name,age,town\n{rows}".replace(",town", ""), encoding="utf-8")
        text = MINE.replace("{age: age, town: town}", "{age: part_of}").replace("column: partition", "column: part_of")
        text = text.replace(
            "train: train, dev: dev valid, test: test",
            f"train: '{part.format(1)}', dev: '{part.format(2)}', test: '{part.format(3)}'",
        )
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        (fold,) = split(load_corpus(path), "mine").folds
        assert (fold.train, fold.dev, fold.test) == (("a_1", "a_2"), ("b_1", "b_2"), ("c_1",))


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"rows": [*ROWS, "c 2 cas Z test"]}, "row 7 of the table .*list.tsv .* has the label code 'Z', which the"),
        ({"rows": [*ROWS, "a 1 ann H dev"]}, "list the clip a_1 twice; keep one"),
        (
            {"head": "set number who emotion part"},
            r"list.tsv does not fit the description of mine .it has no column 'emo', but set, number, who, emotion",
        ),
    ],
)
def test_a_damaged_list_is_refused(tmp_path, make_tone, how, sentence):
    with pytest.raises(UserError, match=sentence):
        load_corpus(write(tmp_path, make_tone, **how))


def test_a_missing_list_is_named_and_an_old_name_accepted(tmp_path, make_tone):
    path = write(tmp_path, make_tone)
    listed = tmp_path / "meta" / "list.tsv"
    listed.rename(tmp_path / "list.txt")
    with pytest.raises(UserError, match=r"holds no list.tsv, which lists the clips of mine; give the folder"):
        load_corpus(path)
    text = (tmp_path / "list.txt").read_text(encoding="utf-8")
    (tmp_path / "old.csv").write_text(text.replace("\t", ","), encoding="utf-8")
    assert len(load_corpus(path).clips) == 5


def test_rows_without_a_clip_are_said(tmp_path, make_tone, caplog):
    name = write(tmp_path, make_tone)
    (tmp_path / "people.csv").write_text("name,age,town\nann,30,X\nbob,40,Y\ncas,50,Z\nzoe,60,X\n")
    with caplog.at_level("INFO", logger="serlab"):
        load_corpus(name)
    assert "people.csv has 1 row without a clip here (first zoe); left out." in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("train: train", "train: trian", r"no clip has 'trian' in the column 'partition' .it has: test, train, valid"),
        ("column: partition", "column: part", "no name of a file and no table gives the column 'part'"),
        (
            "partitions: {column: partition, train: train, dev: dev valid, test: test}",
            "folds: [{test: bob, dev: zoe}]",
            "it names the speaker 'zoe', who has no clip",
        ),
    ],
)
def test_a_protocol_that_names_what_is_not_there(tmp_path, make_tone, old, new, sentence):
    path = write(tmp_path, make_tone)
    assert old in MINE
    (tmp_path / "mine.yaml").write_text(MINE.replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=f"protocol 'mine' does not fit corpus 'mine': {sentence}"):
        split(load_corpus(path), "mine")


def test_a_pattern_that_fits_no_file_names_one(tmp_path, make_tone):
    make_tone(tmp_path / "sub/happy-1.wav")
    (tmp_path / "mine.yaml").write_text("files: {pattern: '(?P<speaker>x)(?P<label>y)'}\n", encoding="utf-8")
    with pytest.raises(
        UserError, match=r"no audio file in .* \(first sub/happy-1.wav\) has a name that fits .* mine; corr"
    ):
        load_corpus(str(tmp_path / "mine.yaml"))
