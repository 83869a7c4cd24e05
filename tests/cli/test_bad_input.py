"""User errors on the real command line: one sentence, the right exit code, no traceback."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

DONE, FINDINGS, USER = 0, 1, 2
RATE = 16000


def tone(seconds: float = 0.5) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * RATE)) / RATE)


def write_bad_files(folder: Path) -> dict[str, str]:
    """One bad file of each kind: name -> text of its reason."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("This is not a recording.\n" * 40)
    whole = folder / "truncated.flac"
    soundfile.write(whole, 0.3 * np.random.default_rng(0).standard_normal(RATE), RATE)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    soundfile.write(folder / "nan.wav", np.where(np.arange(RATE) == 100, np.nan, 0.1), RATE, subtype="FLOAT")
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    with soundfile.SoundFile(folder / "hour.wav", "w", 8000, 1, subtype="PCM_U8") as sound:
        minute = np.full(8000 * 60, 0.1)
        for _ in range(60):
            sound.write(minute)
    return {
        "empty.wav": "empty file",
        "text.wav": "not audio",
        "truncated.flac": "",
        "nan.wav": "finite",
        "silent.wav": "silent",
        "hour.wav": "longer than 60 s",
    }


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("bad")
    return folder, write_bad_files(folder)


@pytest.fixture
def with_bad_files(tiny_corpus, bad_files, tmp_path):
    """The tiny corpus (54 clips) with six bad clips, a tenth of all."""
    folder, reasons = bad_files
    table = pd.read_csv(tiny_corpus)
    table["path"] = [str(tiny_corpus.parent / name) for name in table["path"]]
    bad = pd.DataFrame({"path": [str(folder / name) for name in reasons], "label": "calm", "speaker": "s0"})
    path = tmp_path / "worse.csv"
    pd.concat([table, bad]).to_csv(path, index=False)
    return path


# --- files
# --------------------------------------------------------------------------------------------------------


def test_predict_lists_bad_files_and_ends_with_1(serlab, bad_files, tiny_models, make_tone):
    folder, reasons = bad_files
    good = make_tone(folder / "good.wav")
    ended = serlab("predict", "--model", tiny_models["mfcc-svm"], "--format", "json", folder)
    assert ended.code == FINDINGS
    result = json.loads(ended.out)
    found = {row["path"]: row for row in result["predictions"]}
    # A long recording without speech is predicted as that; it is no clip.
    hour = found.pop(str(folder / "hour.wav"))
    assert (hour["label"], hour["probabilities"]) == (None, {})
    assert hour["segments"][-1]["end"] == pytest.approx(3600, abs=1)
    assert list(found) == [str(good)]
    left_out = {Path(entry["path"]).name: entry["reason"] for entry in result["excluded"]}
    assert left_out.keys() == reasons.keys() - {"hour.wav"}
    for name in left_out:
        assert reasons[name] in left_out[name]
        assert left_out[name]
    assert "Traceback" not in ended.err


def test_predict_on_nothing_but_bad_files_still_lists_them(serlab, bad_files, tiny_models):
    folder, _ = bad_files
    ended = serlab("predict", "--model", tiny_models["tiny-resnet"], folder / "empty.wav", folder / "silent.wav")
    assert ended.code == FINDINGS
    assert "empty.wav (empty file)" in ended.err
    assert "silent.wav (silent)" in ended.err
    assert ended.out == ""


@pytest.mark.parametrize("command", ["compare", "train"])
def test_too_many_bad_files_stop_before_the_first_run(serlab, with_bad_files, tmp_path, command):
    out = tmp_path / "out"
    option = "--recipes" if command == "compare" else "--recipe"
    ended = serlab(command, with_bad_files, option, "mfcc-svm", "--protocol", "speaker-2", "--out", out)
    assert ended.code == FINDINGS
    assert "6 of 60 clips" in ended.sentence
    assert "5 %" in ended.sentence
    assert ended.out == ""
    assert not list(out.rglob("*.parquet"))
    assert not (out / "ledger.jsonl").exists()


def test_few_enough_bad_files_are_listed_and_left_out(serlab, with_bad_files, bad_files, tmp_path):
    _, reasons = bad_files
    out = tmp_path / "out"
    ended = serlab(
        "compare", with_bad_files, "--recipes", "mfcc-svm", "--protocol", "speaker-2", "--folds", "1", "--out", out,
        "--max-excluded", "0.1",
    )  # fmt: skip
    assert ended.code == DONE
    for name in reasons:
        assert Path(name).stem in ended.err
    (path,) = out.rglob("fold1-seed0.json")
    listed = {Path(entry["path"]).name for entry in json.loads(path.read_text())["exclusions"]}
    assert listed == set(reasons)
    clips = pd.read_parquet(path.with_suffix(".parquet"))["clip"]
    assert not clips.str.contains("bad").any()
    report = (out / "worse" / "speaker-2" / "report" / "report.md").read_text()
    assert "silent" in report


def test_folder_without_audio(serlab, tmp_path, tiny_models):
    (tmp_path / "notes.txt").write_text("no sound")
    for arguments in (["compare", tmp_path], ["predict", "--model", tiny_models["mfcc-svm"], tmp_path]):
        ended = serlab(*arguments)
        assert ended.code == USER
        assert f"{tmp_path} holds no audio" in ended.sentence


def test_path_that_does_not_exist(serlab, tmp_path, tiny_models):
    ended = serlab("predict", "--model", tiny_models["mfcc-svm"], tmp_path / "absent.wav")
    assert ended.code == USER
    assert "absent.wav" in ended.sentence


# --- tables
# -------------------------------------------------------------------------------------------------------


def change_table(source: Path, target: Path, change) -> Path:
    table = pd.read_csv(source)
    table["path"] = [str(source.parent / name) for name in table["path"]]
    change(table).to_csv(target, index=False)
    return target


@pytest.mark.parametrize("column", ["path", "label"])
def test_table_without_a_column(serlab, tiny_corpus, tmp_path, column):
    path = change_table(tiny_corpus, tmp_path / "t.csv", lambda table: table.drop(columns=column))
    ended = serlab("compare", path, "--recipes", "mfcc-svm", "--out", tmp_path / "out")
    assert ended.code == USER
    assert str(path) in ended.sentence
    assert repr(column) in ended.sentence


def test_speaker_column_that_is_not_there(serlab, tiny_corpus, tmp_path):
    ended = serlab("compare", tiny_corpus, "--speaker-column", "who", "--out", tmp_path / "out")
    assert ended.code == USER
    assert "'who'" in ended.sentence


def test_table_that_names_a_missing_file(serlab, tiny_corpus, tmp_path):
    path = change_table(
        tiny_corpus, tmp_path / "t.csv", lambda table: table.replace({"path": {table["path"][0]: "/gone.wav"}})
    )
    ended = serlab("compare", path, "--recipes", "mfcc-svm", "--out", tmp_path / "out")
    assert ended.code == USER
    assert "/gone.wav" in ended.sentence


def test_table_that_does_not_exist(serlab, tmp_path):
    ended = serlab("compare", tmp_path / "absent.csv")
    assert ended.code == USER
    assert "absent.csv" in ended.sentence


def test_one_speaker_only(serlab, tiny_corpus, tmp_path):
    path = change_table(tiny_corpus, tmp_path / "t.csv", lambda table: table.assign(speaker="ann"))
    ended = serlab("compare", path, "--recipes", "mfcc-svm", "--out", tmp_path / "out")
    assert ended.code == USER
    assert "speakers" in ended.sentence
    assert "has 1" in ended.sentence


def test_label_that_one_speaker_alone_has(serlab, tiny_corpus, tmp_path):
    path = change_table(
        tiny_corpus, tmp_path / "t.csv", lambda table: table[(table["label"] != "sad") | (table["speaker"] == "s1")]
    )
    ended = serlab("compare", path, "--recipes", "mfcc-svm", "--protocol", "speaker-3", "--out", tmp_path / "out")
    assert ended.code == USER
    assert "'sad'" in ended.sentence
    assert "training" in ended.sentence


def test_label_whose_training_clips_are_all_unusable(serlab, tiny_corpus, tmp_path):
    def spoil(table: pd.DataFrame) -> pd.DataFrame:
        empty = tmp_path / "empty"
        empty.mkdir()
        for index in table.index[table["label"] == "sad"]:
            path = empty / f"{index}.wav"
            path.write_bytes(b"")
            table.loc[index, "path"] = str(path)
        return table

    path = change_table(tiny_corpus, tmp_path / "t.csv", spoil)
    ended = serlab(
        "compare", path, "--recipes", "mfcc-svm", "--protocol", "speaker-2", "--out", tmp_path / "out",
        "--max-excluded", "0.9",
    )  # fmt: skip
    assert ended.code == USER
    assert "sad" in ended.sentence
    assert "training" in ended.sentence


def evaluated(tmp_path: Path, **columns: list) -> Path:
    clips = {"clip": ["a", "b", "c", "d"], "speaker": ["x", "x", "y", "y"], "label": ["calm", "sad", "calm", "sad"]}
    scores = {"prob_calm": [0.7, 0.2, 0.6, 0.4], "prob_sad": [0.3, 0.8, 0.4, 0.6]}
    path = tmp_path / "predictions.csv"
    pd.DataFrame({**clips, **scores, **columns}).to_csv(path, index=False)
    return path


def test_evaluated_table_with_an_unknown_label(serlab, tmp_path):
    ended = serlab("evaluate", evaluated(tmp_path, label=["calm", "sad", "bored", "sad"]))
    assert ended.code == USER
    assert "'bored'" in ended.sentence


def test_evaluated_table_with_probabilities_that_are_none(serlab, tmp_path):
    ended = serlab("evaluate", evaluated(tmp_path, prob_sad=[0.3, 0.8, 7.0, 0.6]))
    assert ended.code == USER
    assert "predictions.csv" in ended.sentence


@pytest.mark.parametrize("column", ["clip", "label"])
def test_evaluated_table_without_a_column(serlab, tmp_path, column):
    path = evaluated(tmp_path)
    pd.read_csv(path).drop(columns=column).to_csv(path, index=False)
    ended = serlab("evaluate", path)
    assert ended.code == USER
    assert column in ended.sentence


def test_evaluated_table_that_does_not_exist(serlab, tmp_path):
    for name in ("absent.csv", "absent.parquet"):
        ended = serlab("evaluate", tmp_path / name)
        assert ended.code == USER
        assert name in ended.sentence


def test_evaluated_table_whose_clips_the_corpus_does_not_know(serlab, tiny_corpus, tmp_path):
    ended = serlab("evaluate", evaluated(tmp_path), "--corpus", tiny_corpus)
    assert ended.code == USER
    assert "'a'" in ended.sentence


def test_report_of_a_folder_without_runs(serlab, tmp_path):
    ended = serlab("report", tmp_path)
    assert ended.code == USER
    assert str(tmp_path) in ended.sentence


# --- names
# --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "phrases"),
    [
        (["--recipes", "resnet81"], ["'resnet81'", "'resnet18'"]),
        (["--recipes", "absent.yaml"], ["absent.yaml"]),
        (["--recipes", ""], ["at least one recipe"]),
        (["--recipes", "mfcc-svm", "--protocol", "speaker-x"], ["'speaker-x'", "speaker-<k>"]),
        (["--recipes", "mfcc-svm", "--protocol", "emo-superb-5"], ["'emo-superb-5'", "speaker-3"]),
        (["--recipes", "mfcc-svm", "--protocol", "speaker-2", "--folds", "7"], ["no fold 7"]),
        (["--recipes", "mfcc-svm", "--folds", "one"], ["--folds", "one"]),
        (["--recipes", "mfcc-svm", "--seeds", "1,x"], ["--seeds", "1,x"]),
        (["--recipes", "resnet18", "--set", "training.epoch=3"], ["'epoch'", "'epochs'"]),
        (["--recipes", "resnet18", "--set", "training.epochs=many"], ["epochs", "'many'"]),
        (["--recipes", "resnet18", "--set", "training.epochs=0"], ["training.epochs"]),
        (["--recipes", "resnet18", "--set", "training.epochs"], ["training.epochs", "section.key=value"]),
        (["--recipes", "resnet18", "--set", "training.epochs=[3"], ["training.epochs=[3"]),
        (["--recipes", "resnet18", "--set", "model.kind=resnet19"], ["'resnet19'", "'resnet'"]),
        (["--recipes", "resnet18", "--set", "title.main=x"], ["title"]),
        (["--recipes", "resnet18", "--set", "training=3"], ["training"]),
        (["--recipes", "wav2vec2-tiny", "--set", "model.architecture=wav2vec3"], ["'wav2vec3'"]),
        (["--recipes", "wav2vec2-tiny", "--set", "model.config.hidden_size=30"], ["wav2vec2"]),
        (["--recipes", "wav2vec2-tiny", "--set", "model.freeze_layers=99"], ["freeze_layers", "99"]),
        (["--recipes", "mfcc-svm", "--precision", "fp8"], ["--precision", "fp8"]),
        (["--recipes", "mfcc-svm", "--audio", "loud"], ["--audio", "loud"]),
        (["--recipes", "mfcc-svm", "--data", "."], ["--data"]),
    ],
)
def test_compare_with_a_wrong_name(serlab, tiny_corpus, tmp_path, arguments, phrases):
    ended = serlab("compare", tiny_corpus, "--out", tmp_path / "out", *arguments)
    assert ended.code == USER
    for phrase in phrases:
        assert phrase in ended.sentence


@pytest.mark.parametrize(
    ("arguments", "phrases"),
    [
        (["compare", "cremad"], ["'cremad'", "'crema-d'"]),
        (["compare", "crema-d", "--data", "/absent"], ["/absent", "Open Database License", "SERLAB_DATA"]),
        (["protocols", "cremad"], ["'cremad'"]),
        (["recipes", "resnet81"], ["'resnet81'"]),
        (["data", "verify", "cremad"], ["cremad"]),
        (["predict", "--model", "/absent", "x.wav"], ["x.wav"]),
        (["predict", "--model", "m", "x.wav", "--format", "xml"], ["--format", "xml"]),
        (["evaluate", "t.csv", "--format", "xml"], ["--format", "xml"]),
    ],
)
def test_other_commands_with_a_wrong_name(serlab, monkeypatch, arguments, phrases):
    monkeypatch.delenv("SERLAB_DATA", raising=False)
    ended = serlab(*arguments)
    assert ended.code == USER
    for phrase in phrases:
        assert phrase in ended.sentence


@pytest.mark.parametrize(
    "arguments", [["compare", "--epochs", "3"], ["predict"], ["comparee"], ["train"], ["data", "verfy"]]
)
def test_what_the_parser_itself_refuses(serlab, arguments):
    ended = serlab(*arguments)
    assert ended.code == USER
    assert "Traceback" not in ended.err
    assert ended.out == ""
