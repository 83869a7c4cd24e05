from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file

from serlab.audio import Audio
from serlab.core import MachineError, UserError
from serlab.model.folder import load, load_reliance, save
from serlab.recipes import load_recipe
from serlab.tables.predictions import logits_of

NAMES = ("tiny-resnet", "tiny-wav2vec2", "mfcc-svm")


def score(classifier, paths) -> np.ndarray:
    return classifier.logits([classifier.frontend(Audio.from_file(path).samples) for path in paths])


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_model_repeats_the_runs_own_table(name, tiny_models, tiny_corpus):
    table = pd.read_parquet(tiny_models[name].with_name("fold1-seed0.parquet"))
    classifier = load(tiny_models[name], "fp32")
    assert classifier.labels == ("calm", "happy", "sad")
    logits = score(classifier, [tiny_corpus.parent / f"{clip}.wav" for clip in table["clip"]])
    np.testing.assert_allclose(logits, logits_of(table), atol=1e-4)


def test_probe_folder_repeats_the_runs_own_table(tiny_checkpoint, tiny_corpus, tmp_path):
    from serlab.experiments.compare import compare

    recipe = load_recipe("whisper-base-probe", [f"model.checkpoint={tiny_checkpoint}"], precision="fp32")
    result = compare(str(tiny_corpus), [recipe], protocol="speaker-2", folds=[1], out=tmp_path, keep_models=True)
    (folder,) = result.models
    table = pd.read_parquet(folder.with_name("fold1-seed0.parquet"))
    logits = score(load(str(folder), "fp32"), [tiny_corpus.parent / f"{clip}.wav" for clip in table["clip"]])
    np.testing.assert_allclose(logits, logits_of(table), atol=1e-4)
    arrays = load_file(folder / "model.safetensors")
    save_file({**arrays, "layer": np.array(-1)}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"the weight layer of .* is not the number of a layer"):
        load(folder)


@pytest.mark.parametrize("name", NAMES)
def test_folder_holds_nothing_pickled(name, tiny_models):
    suffixes = {path.suffix for path in tiny_models[name].rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".safetensors", ".md"}
    assert {"serlab.json", "model.safetensors", "README.md"} <= {path.name for path in tiny_models[name].iterdir()}


def test_folder_tells_recipe_labels_and_signature(tiny_models):
    folder = tiny_models["tiny-wav2vec2"]
    content = json.loads((folder / "serlab.json").read_text())
    assert content["labels"] == ["calm", "happy", "sad"]
    assert content["needs_serlab"] is False
    assert content["signature"] == json.loads(folder.with_name("fold1-seed0.json").read_text())


def test_wav2vec2_loads_in_plain_transformers_with_equal_logits(tiny_models, make_tone, tmp_path):
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    folder = tiny_models["tiny-wav2vec2"]
    samples = Audio.from_file(make_tone(tmp_path / "a.wav", seconds=0.6)).samples
    model = AutoModelForAudioClassification.from_pretrained(folder).eval()
    values = AutoFeatureExtractor.from_pretrained(folder)(samples, sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        plain = model(values["input_values"]).logits.numpy()
    assert model.config.id2label == {0: "calm", 1: "happy", 2: "sad"}
    np.testing.assert_allclose(score(load(folder, "fp32"), [tmp_path / "a.wav"]), plain, atol=1e-5)


def test_a_plain_transformers_folder_is_a_model(tiny_models, make_tone, tmp_path):
    folder = tmp_path / "plain"
    shutil.copytree(tiny_models["tiny-wav2vec2"], folder)
    (folder / "serlab.json").unlink()
    sound = make_tone(tmp_path / "a.wav")
    plain, own = load(folder, "fp32"), load(tiny_models["tiny-wav2vec2"], "fp32")
    assert plain.labels == own.labels
    np.testing.assert_allclose(score(plain, [sound]), score(own, [sound]), atol=1e-5)


def test_a_model_of_an_unknown_kind(tiny_models, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_models["mfcc-svm"], folder)
    content = json.loads((folder / "serlab.json").read_text())
    content["signature"]["recipe"]["config"]["model"]["kind"] = "forest"
    (folder / "serlab.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="'forest'"):
        load(folder)


@pytest.fixture
def parts(tiny_models):
    content = json.loads((tiny_models["mfcc-svm"] / "serlab.json").read_text())
    return load(tiny_models["mfcc-svm"]), content["signature"], "# Card\n"


def test_saving_replaces_an_older_folder_whole(parts, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old.bin").write_text("old")
    classifier, *rest = parts
    save(classifier, folder, *rest)
    assert {path.name for path in folder.iterdir()} == {"serlab.json", "model.safetensors", "README.md"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failure_while_saving_keeps_the_older_folder(parts, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    classifier, *rest = parts
    save(classifier, folder, *rest)
    before = (folder / "model.safetensors").read_bytes()

    def full(target) -> None:
        (target / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(classifier, "save", full)
    with pytest.raises(MachineError, match="No space left on device") as caught:
        save(classifier, folder, *rest)
    assert str(folder) in str(caught.value)
    assert (folder / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_saving_prints_nothing(tiny_models, tmp_path, capfd):
    classifier = load(tiny_models["tiny-wav2vec2"])
    signature = json.loads((tiny_models["tiny-wav2vec2"] / "serlab.json").read_text())["signature"]
    save(classifier, tmp_path / "model", signature, "# Card\n")
    assert capfd.readouterr() == ("", "")


def test_others_may_read_a_model_folder(tiny_models):
    for folder in tiny_models.values():
        assert all(path.stat().st_mode & 0o777 == 0o644 for path in folder.rglob("*") if path.is_file())


def test_a_file_that_may_not_be_read_is_not_called_missing(tiny_models, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    shutil.copytree(tiny_models["mfcc-svm"], folder)

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("serlab.approaches.classical.load_file", refused)
    with pytest.raises(UserError, match=r"model\.safetensors cannot be read"):
        load(folder)


ARRAYS = {
    "a support vector more": lambda s: s.update(support=np.vstack([s["support"], s["support"][:1]])),
    "a deviation for all": lambda s: s.update(scale=s["scale"][:1]),
    "a deviation of zero": lambda s: s["scale"].fill(0),
    "a temperature that turns the scores round": lambda s: s["temperature"].fill(-1),
    "a kernel that grows with distance": lambda s: s["gamma"].fill(-0.01),
    "NaN": lambda s: s["mean"].fill(np.nan),
    "an offset less": lambda s: s.update(offset=s["offset"][:-1]),
    "a temperature for each label": lambda s: s.update(temperature=np.ones(2)),
    "half precision": lambda s: s.update(support=s["support"].astype(np.float16)),
    "whole numbers": lambda s: s.update(dual=s["dual"].astype(np.int8)),
    "one more": lambda s: s.update(more=np.zeros(3)),
    "features of another front end": lambda s: s.update(
        {name: s[name][..., :-1].copy() for name in ("mean", "scale", "support")}
    ),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_do_not_make_one_machine_are_refused(tiny_models, tmp_path, case):
    folder = tmp_path / "model"
    shutil.copytree(tiny_models["mfcc-svm"], folder)
    arrays = load_file(folder / "model.safetensors")
    ARRAYS[case](arrays)
    save_file(arrays, folder / "model.safetensors")
    with pytest.raises(UserError) as caught:
        load(folder)
    assert str(folder) in str(caught.value)


RESNET = {
    "another shape": lambda s: s.update({"classifier.weight": s["classifier.weight"].repeat(2, axis=0)}),
    "one more": lambda s: s.update({"more.weight": np.zeros(3, np.float32)}),
    "NaN": lambda s: s["classifier.weight"].fill(np.nan),
    "a variance below zero": lambda s: s["stem.1.running_var"].fill(-1),
}


@pytest.mark.parametrize("case", RESNET)
def test_weights_that_are_not_a_resnets_are_refused(tiny_models, tmp_path, case):
    folder = tmp_path / "model"
    shutil.copytree(tiny_models["tiny-resnet"], folder)
    arrays = load_file(folder / "model.safetensors")
    RESNET[case](arrays)
    save_file(arrays, folder / "model.safetensors")
    with pytest.raises(UserError) as caught:
        load(folder)
    assert str(folder) in str(caught.value)


def relabel(labels):
    return lambda content: (content.update(labels=labels), content["signature"]["corpus"].update(labels=labels))


SAID = {
    "a later format": lambda c: c.update(format=2),
    "no labels": lambda c: c.update(labels=[]),
    "a label twice": relabel(["a", "a", "b"]),
    "a label that is no word": relabel([1, 2, 3]),
    "other labels": relabel(["calm", "sad", "happy"]),
    "no signature": lambda c: c.pop("signature"),
    "a recipe in words": lambda c: c["signature"].update(recipe="wav2vec2"),
    "a recipe without a model": lambda c: c["signature"]["recipe"]["config"].pop("model"),
    "a kind that is a list": lambda c: c["signature"]["recipe"]["config"]["model"].update(kind=[]),
    "a head beyond memory": lambda c: c["signature"]["recipe"]["config"]["model"]["head"].update(
        kind="pooled", projection=10**12
    ),
    "more frozen layers than there are": lambda c: c["signature"]["recipe"]["config"]["model"].update(freeze_layers=9),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID)
def test_what_serlab_json_says_is_checked(tiny_models, tmp_path, case):
    folder = tmp_path / "model"
    shutil.copytree(tiny_models["tiny-wav2vec2"], folder)
    content = json.loads((folder / "serlab.json").read_text())
    SAID[case](content)
    (folder / "serlab.json").write_text(json.dumps(content))
    with pytest.raises(UserError) as caught:
        load(folder)
    assert str(folder) in str(caught.value)


def test_a_serlab_json_that_was_not_fetched_does_not_make_a_plain_folder(tiny_models, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_models["tiny-wav2vec2"], folder)
    (folder / "serlab.json").unlink()
    (folder / "serlab.json").symlink_to(tmp_path / "absent")
    with pytest.raises(UserError, match=r"serlab\.json is missing or not a file"):
        load(folder)


@pytest.mark.parametrize(
    "reliance",
    [{}, [], {"temperature": 0, "thresholds": []}, {"temperature": 1.0, "thresholds": [0.5]}, {"temperature": "x"}],
)
def test_a_damaged_reliance_is_none(tiny_models, tmp_path, reliance):
    folder = tmp_path / "model"
    shutil.copytree(tiny_models["tiny-wav2vec2"], folder)
    content = json.loads((folder / "serlab.json").read_text())
    content["signature"]["training"]["reliance"] = reliance
    (folder / "serlab.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="does not say when to abstain"):
        load_reliance(folder, "abstain")
