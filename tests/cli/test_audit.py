"""``serlab audit`` and ``serlab split`` as a user runs them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import soundfile
from benchmarks.copies import mp3
from tests.conftest import write_csv
from tests.recordings.conftest import RATE, take

LABELS = ("calm", "sad")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of 6 speakers with 2 clips per label; s0's first calm clip is s5's last sad one, as MP3."""
    folder = tmp_path_factory.mktemp("clips")
    rows = []
    for speaker in range(6):
        for label in LABELS:
            for number in range(2):
                path = folder / f"s{speaker}_{label}_{number}.wav"
                soundfile.write(path, take(10 * speaker + number, LABELS.index(label), 1.5), RATE)
                rows.append({"path": path.name, "label": label, "speaker": f"s{speaker}"})
    (folder / "s5_sad_1.wav").unlink()
    soundfile.write(folder / "s5_sad_1.flac", mp3(take(0, 0, 1.5)), RATE)
    rows[-1]["path"] = "s5_sad_1.flac"
    write_csv(folder / "clips.csv", rows)
    return folder / "clips.csv"


@pytest.fixture
def split(clips: Path, tmp_path: Path) -> Path:
    """A split by speaker: s0 to s2 for training, s3 for development, s4 and s5 for the test."""
    side = {"s0": "train", "s1": "train", "s2": "train", "s3": "dev", "s4": "test", "s5": "test"}
    rows = [{"clip": path, "side": side[path[:2]]} for path in pd.read_csv(clips)["path"]]
    write_csv(tmp_path / "split.csv", rows)
    return tmp_path / "split.csv"


def codes(out: str, *severities: str) -> set[str]:
    return {found["code"] for found in json.loads(out)["findings"] if found["severity"] in severities}


def test_json_has_the_findings_and_nothing_else(serlab, clips, split):
    ended = serlab("audit", clips, "--split", split, "--format", "json")
    assert ended.code == 0
    found = {finding["code"]: finding for finding in json.loads(ended.out)["findings"]}
    assert found["SL002"]["severity"] == "error"
    assert found["SL002"]["pairs"] == [["s0_calm_0", "s5_sad_1"]]
    assert found["SL003"]["pairs"] == [["s0_calm_0", "s5_sad_1"]]
    assert "SL001" not in found
    assert set(found["SL002"]) == {"code", "severity", "title", "text", "clips", "pairs", "figures", "why", "todo"}


def test_strict_ends_with_1_if_there_is_an_error(serlab, clips, split):
    ended = serlab("audit", clips, "--split", split, "--strict")
    assert ended.code == 1
    assert "SL002 error: The same recording in two subsets" in ended.out
    assert "s0_calm_0" in ended.out
    assert "What to do:" in ended.out


def test_a_split_by_clip_leaks_speakers_and_is_repaired(serlab, clips, split, tmp_path):
    rows = pd.read_csv(split)
    rows["side"] = ["train", "dev", "test"] * (len(rows) // 3)
    rows.to_csv(split, index=False)
    assert "SL001" in codes(serlab("audit", clips, "--split", split, "--format", "json").out, "error")

    repaired = serlab("split", clips, "--out", tmp_path / "sound.csv")

    assert (repaired.code, repaired.out) == (0, f"{tmp_path / 'sound.csv'}\n")
    ended = serlab("audit", clips, "--split", tmp_path / "sound.csv", "--format", "json", "--strict")
    assert ended.code == 0
    assert codes(ended.out, "error") == set()
    table = pd.read_csv(tmp_path / "sound.csv")
    assert list(table.columns) == ["clip", "side"]
    side = dict(zip(table["clip"], table["side"], strict=True))
    assert side["s0_calm_0"] == side["s5_sad_1"]
    assert set(table["side"]) == {"train", "dev", "test"}


def test_a_protocols_fold_can_be_written(serlab, clips, tmp_path):
    assert serlab("split", clips, "--protocol", "speaker-3", "--fold", "2", "--out", tmp_path / "f.csv").code == 0
    assert len(pd.read_csv(tmp_path / "f.csv")) == 24
    ended = serlab("split", clips, "--protocol", "speaker-3", "--fold", "4")
    assert ended.code == 2
    assert "has no fold 4" in ended.sentence


def test_a_default_protocol_and_a_folder_without_speakers(serlab, clips, tmp_path):
    assert serlab("audit", clips).out.startswith("clips, speaker-5: ")
    for path, label in pd.read_csv(clips)[["path", "label"]].itertuples(index=False):
        (tmp_path / "folder" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(clips.parent / path, tmp_path / "folder" / label)
    ended = serlab("audit", tmp_path / "folder", "--protocol", "holdout", "--format", "json")
    assert "SL008" in codes(ended.out, "warning")
    assert "SL001" in codes(ended.out, "not applicable")


def test_a_corpus_that_is_too_small_for_a_protocol_is_audited_without_subsets(serlab, clips, tmp_path):
    table = pd.read_csv(clips)
    table["path"] = [str(clips.parent / path) for path in table["path"]]
    table[table["speaker"] < "s4"].to_csv(tmp_path / "four.csv", index=False)
    assert serlab("audit", tmp_path / "four.csv").out.startswith("four, speaker-2: ")
    table[table["speaker"] < "s2"].to_csv(tmp_path / "two.csv", index=False)
    ended = serlab("audit", tmp_path / "two.csv")
    assert ended.code == 0
    assert ended.out.startswith("two, no split: ")
    assert "too small for any protocol" in ended.err


def test_the_corpus_is_not_overwritten_by_its_split(serlab, clips):
    before = clips.read_bytes()
    ended = serlab("split", clips, "--out", clips)
    assert ended.code == 2
    assert "is the table of the corpus" in ended.sentence
    assert clips.read_bytes() == before


def test_an_unreadable_clip_and_an_empty_subset_are_findings(serlab, clips, split, tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(clips.parent, folder)
    (folder / "s4_calm_0.wav").write_bytes(b"RIFF....WAVEnonsense")
    rows = pd.read_csv(split)
    rows[rows["side"] != "dev"].to_csv(folder / "split.csv", index=False)
    ended = serlab("audit", folder / "clips.csv", "--split", folder / "split.csv", "--format", "json")
    found = {finding["code"]: finding for finding in json.loads(ended.out)["findings"]}
    assert found["SL004"]["clips"] == ["s4_calm_0"]
    assert (found["SL009"]["severity"], found["SL009"]["text"].split(" subset ")[0]) == ("note", "The development")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--protocol", "holdout", "--split", "x.csv"], "give only one of them"),
        (["--split", "none.csv"], "there is no split none.csv"),
        (["--format", "xml"], "--format xml is not one of"),
        (["--protocol", "nothing"], "nothing"),
    ],
)
def test_mistakes(serlab, clips, arguments, words):
    ended = serlab("audit", clips, *arguments)
    assert ended.code == 2
    assert words in ended.sentence


@pytest.mark.slow
def test_a_comparison_audits_its_split_and_the_report_says_so(serlab, clips, split, tmp_path):
    out = tmp_path / "out"
    ended = serlab("compare", clips, "--recipes", "mfcc-svm", "--protocol", split, "--out", out)
    assert ended.code == 0, ended.err
    assert "The leak audit found errors (SL002)" in ended.err
    page = Path(ended.out.strip())
    assert "The leak audit found errors (SL002)" in page.read_text()
    assert "s0_calm_0 = s5_sad_1" in page.read_text()
    assert "SL002" in page.with_name("report.md").read_text()
    assert json.loads(page.with_name("report.json").read_text())["audit"]["findings"]
    assert page.parent.parent.name.startswith("split-")


@pytest.fixture
def folder(clips, tmp_path) -> Path:
    """The clips in label folders, with a broken link and a hidden file."""
    for path, label in pd.read_csv(clips)[["path", "label"]].itertuples(index=False):
        (tmp_path / "folder" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(clips.parent / path, tmp_path / "folder" / label)
    (tmp_path / "folder/sad/gone.wav").symlink_to("/nowhere.wav")
    (tmp_path / "folder/sad/.old.wav").touch()
    return tmp_path / "folder"


def test_what_an_audit_leaves_out_is_listed_and_its_exit_code_says_so(serlab, folder):
    left_out = {
        str(folder / "sad/gone.wav"): "a link to a file or folder that is not there",
        str(folder / "sad/.old.wav"): "hidden (its name begins with a dot)",
    }
    ended = serlab("audit", folder, "--protocol", "holdout", "--format", "json")
    assert ended.code == 1
    assert {entry["path"]: entry["reason"] for entry in json.loads(ended.out)["excluded"]} == left_out
    assert all(ended.err.count(f"left out: {path} ({reason})") == 1 for path, reason in left_out.items())


def test_a_split_of_a_corpus_with_entries_left_out_ends_with_1_and_without_a_label_with_2(serlab, folder, tmp_path):
    ended = serlab("split", folder, "--out", tmp_path / "split.csv")
    assert ended.code == 1
    assert (tmp_path / "split.csv").is_file()
    assert "gone.wav" in ended.err
    (folder / "rage").mkdir()
    ended = serlab("split", folder, "--out", tmp_path / "other.csv")
    assert ended.code == 2
    assert "the label 'rage' of folder has no clip" in ended.sentence
    assert not (tmp_path / "other.csv").exists()


@pytest.mark.slow
def test_a_split_goes_to_standard_output_and_nothing_else_does(serlab_process, clips, tmp_path):
    ended = serlab_process("split", clips, "--out", "/dev/stdout")
    assert ended.code == 0
    assert ended.out.startswith("clip,side\n")
    assert len(ended.out.splitlines()) == 25
    with (tmp_path / "redirected.csv").open("w") as stream:
        serlab_process("split", clips, "--out", "/dev/stdout", stdout=stream)
    assert (tmp_path / "redirected.csv").read_text() == ended.out
