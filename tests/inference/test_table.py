from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from serlab.core import Exclusion, MachineError, UserError
from serlab.core.files import sha256_file, sha256_json
from serlab.inference.table import opened
from serlab.model.prediction import Prediction
from serlab.model.segments import Segment, Segmenting

LABELS = ("calm", "sad")
NAMES = [
    "a.wav", "b, c.wav", 'the "d".wav', "two\nlines.wav", "grün.wav", "no-utf8-\udcff.wav", "silent.wav", "z\r.wav",
]  # fmt: skip


def found(name: str) -> Prediction | Exclusion:
    if name == "silent.wav":
        return Exclusion(name, name, 'silent, "so to say"')
    return Prediction("sad", {"calm": 0.1 + 0.2, "sad": len(name) / 7}, name)


@pytest.fixture
def model(tmp_path) -> Path:
    folder = tmp_path / "model"
    (folder / "encoder").mkdir(parents=True)
    for name in ("model.safetensors", "config.json", "encoder/model.safetensors", "README.md"):
        (folder / name).write_text(name)
    return folder


def loaded(folder: Path, precision: str = "fp32") -> SimpleNamespace:
    return SimpleNamespace(folder=folder, labels=LABELS, precision=precision, segmenting=Segmenting.of)


@pytest.fixture
def going(model):
    """Predict the ``NAMES`` that a file lacks, like the command; return them."""

    def go(path: Path, precision: str = "fp32", names: list[str] = NAMES) -> list[str]:
        with opened(path, loaded(model, precision)) as file:
            rest = file.left(names)
            for start in range(0, len(rest), 3):
                file.add([found(name) for name in rest[start : start + 3]])
            assert file.left(names) == []
            assert file.excluded == {"silent.wav"} & set(names)
        return rest

    return go


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.parent.glob("p*")}


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_what_is_written(going, model, tmp_path, ending):
    path = tmp_path / "out" / f"p.{ending}"
    assert going(path) == NAMES
    how = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
    excluded = path.with_name(f"p.excluded.{ending}")
    with path.open(**how) as rows, excluded.open(**how) as reasons:
        if ending == "csv":
            table, left_out = list(csv.reader(rows)), list(csv.reader(reasons))
            assert table.pop(0) == ["path", "predicted", "prob_calm", "prob_sad"]
            assert left_out.pop(0) == ["path", "reason"]
            got = [Prediction(b, {"calm": float(c), "sad": float(d)}, a) for a, b, c, d in table]
        else:
            got, left_out = [Prediction(**json.loads(row)) for row in rows], [json.loads(row) for row in reasons]
            left_out = [[row["path"], row["reason"]] for row in left_out]
    assert got == [found(name) for name in NAMES if name != "silent.wav"]
    assert left_out == [["silent.wav", 'silent, "so to say"']]
    side = json.loads(path.with_name(f"p.{ending}.json").read_text())
    assert (side["model"], side["precision"], len(side["sha256"])) == (str(model), "fp32", 64)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_cut_at_any_byte_it_resumes_and_ends_as_uninterrupted(going, tmp_path, monkeypatch, ending):
    monkeypatch.setattr("os.fsync", lambda _: None)  # It would take most of the time.
    path = tmp_path / f"p.{ending}"
    going(path)
    whole = contents(path)
    lacked = set()
    for name in (path.name, f"p.excluded.{ending}"):
        for length in range(len(whole[name])):
            torn = tmp_path / name
            torn.write_bytes(whole[name][:length])
            # What a kill has kept from being written is lacking too: rows come before the
            # exclusions of their chunk.
            if name == path.name and length < len(whole[name]) // 2:
                (tmp_path / f"p.excluded.{ending}").unlink()
            rest = going(path)
            lacked.add(tuple(rest))
            assert contents(path) == whole, (name, length)
    assert len(lacked) > len(NAMES) - 2
    assert going(path) == []


PARTS = tuple(Segment(start, start + 3.0, "sad", {"calm": 0.25, "sad": 0.75}, True) for start in range(5))


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_killed_between_the_rows_of_a_recording_it_has_all_its_segments_in_the_end(
    model, tmp_path, monkeypatch, ending
):
    monkeypatch.setattr("os.fsync", lambda _: None)
    path, names = tmp_path / f"p.{ending}", ["a.wav", "b.wav", "c.wav"]
    written = []

    def go() -> list[str]:
        with opened(path, loaded(model), segments={"window": 3.0}) as file:
            rest = file.left(names)
            for name in rest:
                file.add([Prediction("sad", {"calm": 0.25, "sad": 0.75}, name, PARTS)])
                written.append(contents(path))
        return rest

    assert go() == names
    whole = contents(path)
    for before, after in pairwise(written):
        for length in range(len(before[path.name]), len(after[path.name]), 7):
            path.write_bytes(after[path.name][:length])
            (tmp_path / f"{path.name}.json").write_bytes(before[f"{path.name}.json"])
            assert go() in (["b.wav", "c.wav"], ["c.wav"])
            assert contents(path) == whole, length
    assert go() == []


def test_more_files_are_added_to_those_that_are_there(going, tmp_path):
    path = tmp_path / "p.csv"
    going(path, names=NAMES[:3])
    assert going(path, names=NAMES[1:5]) == NAMES[3:5]
    assert going(path) == NAMES[5:]


@pytest.mark.parametrize("changed", ["model.safetensors", "config.json", "encoder/model.safetensors"])
def test_another_models_file_is_refused_and_left_as_it_is(going, model, tmp_path, changed):
    path = tmp_path / "p.csv"
    going(path)
    before = contents(path)
    (model / changed).write_text("other")
    with pytest.raises(UserError, match=r"rows of another model \(from .*model as it was then\); write to"):
        going(path)
    assert contents(path) == before


def test_other_files_in_the_model_folder_change_nothing(going, model):
    path = model / "p.csv"
    assert going(path, names=NAMES[:2]) == NAMES[:2]
    (model / "notes.json").write_text("{}")
    going(model / "q.jsonl")
    assert going(path) == NAMES[2:]
    assert going(path) == []


@pytest.mark.parametrize("other", [None, "heard.json", "q.csv.json"])
def test_a_table_of_an_older_version_continues(going, model, tmp_path, other):
    """Older versions hashed all .json, .safetensors and .bin files that were there before the table."""
    path = model / "p.csv"
    if other:
        (model / other).write_text("{}")
    files = [file for file in model.rglob("*") if file.suffix in (".json", ".safetensors")]
    going(path, names=NAMES[:2])
    side = json.loads((model / "p.csv.json").read_text())
    side["sha256"] = sha256_json({file.relative_to(model).as_posix(): sha256_file(file) for file in files})
    (model / "p.csv.json").write_text(json.dumps(side))
    assert going(path) == NAMES[2:]
    (model / "model.safetensors").write_text("other")
    with pytest.raises(UserError, match="rows of another model"):
        going(path)


def test_a_model_that_was_moved_is_the_same(going, model, tmp_path):
    path = tmp_path / "p.csv"
    going(path)
    with opened(path, loaded(model.rename(tmp_path / "moved"))) as file:
        assert file.left(NAMES) == []


def test_another_precision_is_refused(going, tmp_path):
    path = tmp_path / "p.csv"
    going(path)
    with pytest.raises(UserError, match="holds rows in fp32, not bf16; use precision=fp32, write to"):
        going(path, precision="bf16")


@pytest.mark.parametrize(
    ("name", "text", "phrase"),
    [
        ("p.csv.json", None, "is not from serlab"),
        ("p.csv.json", "{", "is damaged"),
        ("p.csv.json", "[]", "is damaged"),
        ("p.csv", "path,predicted\r\na.wav,sad\r\n", "the columns of .* are not path, predicted, prob_calm"),
        ("p.csv", "path,predicted,prob_calm,prob_sad\r\na.wav,sad,1\r\nb.wav,sad,1,0\r\n", "line 2 of"),
    ],
)
def test_what_is_not_ours_is_refused_and_left_as_it_is(going, tmp_path, name, text, phrase):
    path = tmp_path / "p.csv"
    going(path)
    (tmp_path / name).unlink()
    if text is not None:
        (tmp_path / name).write_text(text, newline="")
    before = contents(path)
    with pytest.raises(UserError, match=phrase):
        going(path)
    assert contents(path) == before


def test_a_file_that_the_user_wrote_is_not_cut(going, tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("my notes, without a line end")
    with pytest.raises(UserError, match="is not from serlab"):
        going(path)
    assert path.read_text() == "my notes, without a line end"


def test_without_their_list_excluded_files_are_tried_again(going, tmp_path):
    path = tmp_path / "p.csv"
    going(path)
    before = contents(path)
    (tmp_path / "p.excluded.csv").unlink()
    assert going(path) == ["silent.wav"]
    assert contents(path) == before


def test_once_deleted_it_starts_again_with_any_model(going, model, tmp_path):
    path = tmp_path / "p.csv"
    going(path)
    path.unlink()
    (model / "model.safetensors").write_text("other")
    assert going(path, precision="bf16") == NAMES


def test_only_one_process_writes(going, model, tmp_path):
    path = tmp_path / "p.csv"
    with (
        opened(path, loaded(model)),
        pytest.raises(UserError, match="another process is working on"),
    ):
        going(path)
    going(path)


def test_a_full_disk_is_the_machines_fault_and_the_next_try_resumes(going, tmp_path, monkeypatch):
    path = tmp_path / "p.csv"
    going(path, names=NAMES[:2])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(MachineError, match=r"p\.csv: No space left on device"):
            going(path)
    going(path)
    with path.open(errors="surrogateescape", newline="") as stream:
        paths = [row[0] for row in csv.reader(stream)]
    assert paths[1:] == [name for name in NAMES if name != "silent.wav"]


def test_a_place_that_cannot_be_written(going, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot write"):
        going(tmp_path / "file" / "p.csv")
