"""SL012: weights that have heard a held-out speaker are found before anything is trained, and in tables."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from serlab.core import UserError
from serlab.corpora import load_corpus
from serlab.protocols import split
from serlab.recipes import load_recipe
from serlab.tables.heard import ITSELF


@pytest.fixture
def started(tiny_recipes: dict[str, str], tiny_checkpoint: Path, tmp_path: Path):
    """A recipe that starts from a copy of a checkpoint, with files beside its weights."""

    def make(**files: Any) -> str:
        folder = tmp_path / "weights"
        shutil.copytree(tiny_checkpoint, folder)
        for name, content in files.items():
            (folder / f"{name}.json").write_text(json.dumps(content))
        recipe = tmp_path / "started.yaml"
        recipe.write_text(
            f"title: Started\nmodel: {{kind: encoder, checkpoint: {folder}}}\n"
            "training: {epochs: 1, precision: fp32}\n"
        )
        return str(recipe)

    return make


def speech(speakers: list[str] | None, name: str = "tiny") -> dict[str, Any]:
    return {"format": 1, "speech": [{"name": name, "clips": 3, "hours": 0.1, "speakers": speakers, "sha256": {}}]}


def signature_of(comparison) -> dict[str, Any]:
    (path,) = comparison.folder.glob("*/fold1-seed0.json")
    return json.loads(path.read_text())


def folds_speakers(tiny_comparison) -> dict[str, set[str]]:
    import pandas as pd

    table = pd.read_parquet(next(tiny_comparison.folder.glob("mfcc-svm/fold1-seed0.parquet")))
    return {side: {*table.loc[table["side"] == side, "speaker"]} for side in ("dev", "test")}


@pytest.mark.parametrize("side", ["test", "dev"])
def test_a_planted_speaker_is_found_before_training(side, started, compare, tiny_comparison, tmp_path) -> None:
    (speaker, *_) = sorted(folds_speakers(tiny_comparison)[side])
    with pytest.raises(UserError, match=rf"SL012 in fold 1 of tiny: .* was trained on a {side} speaker") as caught:
        compare(started(heard=speech([speaker, "someone else"])))
    assert speaker in str(caught.value)
    assert not list((tmp_path / "out").rglob("fold*"))


def test_speech_of_this_corpus_without_speakers_is_refused(started, compare) -> None:
    with pytest.raises(UserError, match=r"SL012 .* does not say on which speakers"):
        compare(started(heard=speech(None)))


def test_a_recording_that_is_a_held_out_clip_is_found_by_its_content(started, compare, tiny_corpus) -> None:
    corpus = load_corpus(str(tiny_corpus))
    held = split(corpus, "speaker-2").folds[0].test[0]
    sha256 = corpus.clips.set_index("clip").loc[held, "sha256"]
    record = speech(None, "a folder")
    record["speech"][0]["sha256"] = {"x.wav": "0" * 64, "y.wav": sha256}
    with pytest.raises(UserError, match=rf"SL012: the encoder .* has heard y.wav, the clip {held} that fold 1"):
        compare(started(heard=record))


def test_a_damaged_record_is_one_sentence(started, compare) -> None:
    with pytest.raises(UserError, match=r"does not say what its encoder has heard: its heard.json is damaged"):
        compare(started(heard={"format": 1, "speech": [{"name": "x"}]}))


def test_other_speech_is_recorded_and_so_is_that_nobody_knows(started, compare, tiny_recipes) -> None:
    done = compare(started(heard=speech(["s0"], "another corpus")))
    itself, weights = signature_of(done)["heard"]
    assert itself["what"] == ITSELF
    assert (weights["what"], weights["corpus"], weights["train"]) == (
        "the pretrained weights weights", "another corpus", ["s0"],
    )  # fmt: skip


def test_a_model_of_another_fold_as_weights_is_a_leak(started, compare, tiny_comparison, tiny_models) -> None:
    whole = json.loads((tiny_models["tiny-wav2vec2"] / "serlab.json").read_text())
    with pytest.raises(UserError, match=r"SL012 in fold 2 of tiny: the pretrained weights weights was trained on"):
        compare(started(serlab=whole), folds=[2])


@pytest.mark.parametrize(("kept", "used"), [("best", True), ("last", False)])
def test_only_a_model_that_chose_by_dev_speakers_has_used_them(kept, used, compare, tiny_recipes) -> None:
    done = compare(load_recipe(tiny_recipes["tiny-resnet"], [f"training.select={kept}"]))
    (itself,) = signature_of(done)["heard"]
    assert bool(itself["dev"]) == used


def test_a_table_of_a_run_with_a_leak_is_not_evaluated(serlab, tiny_comparison, tmp_path) -> None:
    source = next(tiny_comparison.folder.glob("mfcc-svm/fold1-seed0.parquet"))
    for path in (source, source.with_suffix(".json")):
        shutil.copy(path, tmp_path)
    table = tmp_path / source.name
    assert serlab("evaluate", table).code == 0

    signature = json.loads(table.with_suffix(".json").read_text())
    (speaker, *_) = sorted(folds_speakers(tiny_comparison)["test"])
    leak = {"what": "the teacher x", "corpus": "tiny", "fingerprint": None, "train": [speaker], "dev": []}
    signature["heard"].append(leak)
    table.with_suffix(".json").write_text(json.dumps(signature))
    ended = serlab("evaluate", table)
    assert ended.code == 2
    assert f"the teacher x was trained on a test speaker of this fold ({speaker})" in ended.sentence
