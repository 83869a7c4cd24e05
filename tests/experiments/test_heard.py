"""SL012: weights that have heard a held-out speaker are found before anything is trained, and in tables."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import soundfile

from serlab.core import UserError
from serlab.corpora import load_corpus
from serlab.experiments.crossing import compare_across
from serlab.experiments.train import train
from serlab.protocols import split
from serlab.recipes import Recipe, Teacher, load_recipe
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


@pytest.mark.parametrize(
    ("kept", "patience", "used"), [("best", 0, True), ("last", 0, False), ("last", 1, True), ("best", 1, True)]
)
def test_only_a_model_that_chose_by_dev_speakers_or_stopped_has_used_them(
    kept, patience, used, compare, tiny_recipes
) -> None:
    changes = [f"training.select={kept}", f"training.patience={patience}"]
    done = compare(load_recipe(tiny_recipes["tiny-resnet"], changes))
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


def planted(folder: Path, **heard: Any) -> None:
    """Plant what a model folder says about its own training."""
    path = folder / "serlab.json"
    content = json.loads(path.read_text())
    content["signature"]["heard"][0] |= heard
    path.write_text(json.dumps(content))


@pytest.fixture
def model(tiny_models: dict[str, Path], tmp_path: Path):
    """A copy of a trained model that says that it has heard only the given speakers."""

    def make(name: str = "tiny-resnet", **heard: Any) -> Path:
        folder = tmp_path / "model"
        shutil.copytree(tiny_models[name], folder)
        planted(folder, **{"train": [], "dev": [], **heard})
        return folder

    return make


def taught_by(student: str, **teacher: Any) -> Recipe:
    recipe = load_recipe(student)
    return replace(recipe, training=replace(recipe.training, teacher=Teacher(**teacher)))


@pytest.mark.parametrize(("side", "key"), [("test", "train"), ("dev", "train"), ("test", "dev")])
def test_a_teacher_with_a_planted_speaker_is_found(
    side, key, model, compare, tiny_recipes, tiny_comparison, tmp_path
) -> None:
    (speaker, *_) = sorted(folds_speakers(tiny_comparison)[side])
    student = taught_by(tiny_recipes["tiny-resnet"], checkpoint=str(model(**{key: [speaker]})))
    did = "was trained on" if key == "train" else "chose its settings by"
    with pytest.raises(UserError, match=rf"SL012 in fold 1 of tiny: the teacher model {did} a {side} speaker"):
        compare(student)
    assert not list((tmp_path / "out").rglob("fold*"))


def test_a_teacher_that_chose_by_the_dev_speakers_uses_them_and_may_teach(
    model, compare, tiny_recipes, tiny_comparison
) -> None:
    dev = sorted(folds_speakers(tiny_comparison)["dev"])
    done = compare(taught_by(tiny_recipes["tiny-resnet"], checkpoint=str(model(dev=dev))))
    assert signature_of(done)["teacher"]["dev_used"]


def test_train_finds_the_teacher_too(model, tiny_corpus, tiny_recipes, tiny_comparison, tmp_path, one_thread) -> None:
    (speaker, *_) = sorted(folds_speakers(tiny_comparison)["test"])
    student = taught_by(tiny_recipes["tiny-resnet"], checkpoint=str(model(train=[speaker])))
    with pytest.raises(UserError, match="SL012 in fold 1 of tiny: the teacher model was trained on a test speaker"):
        train(student, str(tiny_corpus), protocol="speaker-2", out=tmp_path / "out")


@pytest.mark.parametrize("crossfit", [False, True])
def test_weights_below_a_teacher_are_found_before_it_is_trained(
    crossfit, started, compare, tiny_corpus, tiny_recipes, tmp_path
) -> None:
    corpus = load_corpus(str(tiny_corpus))
    held = split(corpus, "speaker-2").folds[0].test[0]
    record = speech(None, "a folder")
    record["speech"][0]["sha256"] = {"y.wav": corpus.clips.set_index("clip").loc[held, "sha256"]}
    student = taught_by(tiny_recipes["tiny-resnet"], recipe=started(heard=record), crossfit=crossfit)
    with pytest.raises(UserError, match=rf"SL012: the encoder .* has heard y.wav, the clip {held} that fold 1"):
        compare(student)
    assert not list((tmp_path / "out").rglob("fold*"))


def test_the_larger_encoder_of_pretraining_is_checked(
    compare, tiny_whisper, tiny_recipes, tiny_comparison, tmp_path
) -> None:
    (speaker, *_) = sorted(folds_speakers(tiny_comparison)["test"])
    larger = tmp_path / "larger"
    shutil.copytree(tiny_whisper, larger)
    (larger / "heard.json").write_text(json.dumps(speech([speaker])))
    recipe = load_recipe(
        tiny_recipes["tiny-wav2vec2"],
        [f"training={{epochs: 1, pretraining: {{checkpoint: {larger}, layers: [1], epochs: 1}}}}"],
    )
    with pytest.raises(UserError, match=r"SL012 .*: the encoder larger of pretraining was trained on a test speaker"):
        compare(recipe)


def quieter(corpus: Path, folder: Path) -> Path:
    """The tiny corpus as other recordings, under another name."""
    folder.mkdir()
    for path in corpus.parent.glob("*.wav"):
        samples, rate = soundfile.read(path)
        soundfile.write(folder / path.name, 0.8 * samples, rate)
    shutil.copy(corpus, folder / "other.csv")
    return folder / "other.csv"


def test_what_an_encoder_has_heard_goes_with_every_model_that_is_made_from_it(
    started, compare, tiny_corpus, tiny_recipes, tmp_path
) -> None:
    """A model of another corpus, whose encoder has heard a clip that is held out here."""
    corpus = load_corpus(str(tiny_corpus))
    held = split(corpus, "speaker-2").folds[0].test[0]
    record = speech(None, "a folder")
    record["speech"][0]["sha256"] = {"private name.wav": corpus.clips.set_index("clip").loc[held, "sha256"]}
    other = quieter(tiny_corpus, tmp_path / "other")
    first = compare(started(heard=record), corpus=other, keep_models=True, out=tmp_path / "first").models[0]
    assert "private" not in (first / "heard.json").read_text()

    second = compare(
        taught_by(tiny_recipes["tiny-resnet"], checkpoint=str(first)), corpus=other, keep_models=True,
        out=tmp_path / "second",
    ).models[0]  # fmt: skip
    for made in (first, second):
        with pytest.raises(UserError, match=rf"SL012: the encoder .* has heard recording 1, the clip {held} that"):
            compare(taught_by(tiny_recipes["tiny-resnet"], checkpoint=str(made)), out=tmp_path / "third")


def test_a_finished_run_with_a_leak_is_not_compared(compare, tmp_path, tiny_comparison) -> None:
    (path,) = compare().folder.glob("mfcc-svm/fold1-seed0.json")
    (speaker, *_) = sorted(folds_speakers(tiny_comparison)["test"])
    content = json.loads(path.read_text())
    leak = {"what": "the teacher x", "corpus": "tiny", "fingerprint": None, "train": [speaker], "dev": []}
    content["heard"].append(leak)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"SL012 in fold 1 of tiny: the teacher x was trained on a test speaker"):
        compare()


@pytest.fixture
def actors(tiny_corpus: Path, tmp_path: Path) -> Path:
    """The tiny corpus, under the name and with actors of the corpus that the shipped model was trained on."""
    text = tiny_corpus.read_text()
    for number in range(6):
        text = text.replace(f",s{number}", f",100{number + 1}").replace(
            f"s{number}_", f"{tiny_corpus.parent}/s{number}_"
        )
    (tmp_path / "crema-d.csv").write_text(text.replace("calm,", "neutral,"))
    return tmp_path / "crema-d.csv"


def test_the_shipped_model_cannot_teach_on_its_own_corpus(compare, tiny_recipes, actors) -> None:
    student = taught_by(tiny_recipes["tiny-resnet"], checkpoint="box")
    with pytest.raises(
        UserError, match=r"SL012 in fold 1 of crema-d-own: the teacher box was trained on \d test speakers"
    ):
        compare(student, corpus=actors)


def test_the_shipped_model_is_not_tested_on_its_own_corpus(actors, tmp_path) -> None:
    with pytest.raises(UserError, match=r"SL012: the model box was trained on 6 test speakers"):
        compare_across([], str(actors), ["box"], out=tmp_path / "out")


@pytest.fixture
def without_speakers(tiny_corpus: Path, tmp_path: Path) -> Path:
    """The tiny corpus, which does not say who speaks."""
    table = pd.read_csv(tiny_corpus).drop(columns="speaker")
    table["path"] = [str(tiny_corpus.parent / name) for name in table["path"]]
    table.to_csv(tmp_path / "nobody.csv", index=False)
    return tmp_path / "nobody.csv"


def test_where_speakers_are_unknown_a_teacher_or_weights_are_of_the_same_fold(
    compare, without_speakers, tiny_recipes, serlab, tmp_path
) -> None:
    how = {"corpus": without_speakers, "keep_models": True, "out": tmp_path / "kept"}
    first = compare(tiny_recipes["tiny-wav2vec2"], **how).models[0]
    student = taught_by(tiny_recipes["tiny-resnet"], checkpoint=str(first))
    model = {"kind": "encoder", "checkpoint": str(first)}
    (tmp_path / "again.yaml").write_text(f"title: x\nmodel: {json.dumps(model)}\ntraining: {{epochs: 1}}\n")
    done = compare(student, corpus=without_speakers)
    assert signature_of(done)["heard"][1]["fold"] == {"protocol": "speaker-2", "version": "1", "fold": 1}
    for again in (student, str(tmp_path / "again.yaml")):
        with pytest.raises(UserError, match=r"SL012 in fold 2 of nobody: .* this corpus in speaker-2, fold 1, so it"):
            compare(again, corpus=without_speakers, folds=[2])
    own = taught_by(tiny_recipes["tiny-resnet"], recipe="mfcc-svm")
    assert compare(own, corpus=without_speakers, folds=[2])

    table = next(done.folder.glob("tiny-resnet*/fold1-seed0.parquet"))
    assert serlab("evaluate", table).code == 0
    content = json.loads(table.with_suffix(".json").read_text())
    content["heard"][1]["fold"]["fold"] = 2
    table.with_suffix(".json").write_text(json.dumps(content))
    assert "in speaker-2, fold 2, so it may have heard test clips" in serlab("evaluate", table).sentence


def test_where_subsets_share_speakers_a_teacher_is_of_the_same_split(compare, tiny_corpus, tiny_recipes, tmp_path):
    clips = load_corpus(str(tiny_corpus)).clips["clip"]
    for name, order in (("one", "012"), ("other", "120")):
        sides = [("train", "dev", "test")[order.index(clip.rpartition("_")[2][0])] for clip in clips]
        pd.DataFrame({"clip": clips, "side": sides}).to_csv(tmp_path / f"{name}.csv", index=False)
    first = compare(
        tiny_recipes["tiny-resnet"], protocol=str(tmp_path / "one.csv"), keep_models=True, out=tmp_path / "kept"
    ).models[0]
    student = taught_by(tiny_recipes["tiny-resnet"], checkpoint=str(first))
    compare(student, protocol=str(tmp_path / "one.csv"))
    with pytest.raises(UserError, match=r"the teacher .* in one-\w+, fold 1, so it may have heard test clips"):
        compare(student, protocol=str(tmp_path / "other.csv"))
