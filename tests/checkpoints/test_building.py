"""Checkpoints of other programs: their code never runs, nothing prompts, and damage gives one sentence."""

from __future__ import annotations

import ast
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.conftest import MakeTone

from serlab.approaches.encoder import Settings as EncoderModel
from serlab.approaches.encoder import network as encoder
from serlab.core import MachineError, UserError
from serlab.model.folder import load

USER = 2
ROOT = Path(__file__).parents[2]
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 377\n"
Change = Callable[[Path], object]


def test_no_call_that_loads_leaves_open_whether_code_is_trusted() -> None:
    calls = [
        (f"{path.name}:{node.lineno}", {word.arg: word.value for word in node.keywords})
        for folder in ("src", "benchmarks", "publication")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("from_pretrained", "from_config", "pipeline")
    ]
    assert len(calls) >= 3
    for place, words in calls:
        trusted = words.get("trust_remote_code")
        assert isinstance(trusted, ast.Constant), place
        assert trusted.value is False, place


def edit(name: str, *gone: str, **fields: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / name
        content = {**json.loads(path.read_text()), **fields}
        path.write_text(json.dumps({key: value for key, value in content.items() if key not in gone}))

    return change


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


MAP = {"AutoConfig": "harm.Config", "AutoModelForAudioClassification": "harm.Model", "AutoFeatureExtractor": "harm.Fe"}
CODE: dict[str, Change] = {
    "a type of its own": edit("config.json", auto_map=MAP, model_type="harmful"),
    "no type": edit("config.json", "model_type", auto_map=MAP),
    "no type, model only": edit(
        "config.json", "model_type", auto_map={"AutoModelForAudioClassification": "harm.Model"}
    ),
    "an extractor of its own": edit("preprocessor_config.json", auto_map=MAP, feature_extractor_type="Fe"),
    "an extractor without a type": edit("preprocessor_config.json", "feature_extractor_type", auto_map=MAP),
    "an extractor in a processor": lambda folder: (folder / "processor_config.json").write_text(
        json.dumps({"auto_map": MAP, "feature_extractor": {"auto_map": MAP, "feature_extractor_type": "Fe"}})
    ),
}


@pytest.fixture
def model(tiny_models: dict[str, Path], tmp_path: Path) -> Path:
    """A plain transformers classifier, wav2vec2, that may be written to."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_models["tiny-wav2vec2"], folder)
    (folder / "serlab.json").unlink()
    return folder


def plant(folder: Path) -> Path:
    """Put a module into a folder that leaves a marker when it is imported; return the marker."""
    marker = folder.parent / "marker"
    (folder / "harm.py").write_text(
        f"open({str(marker)!r}, 'w').close()\n"
        "from transformers import Wav2Vec2Config as Config, Wav2Vec2FeatureExtractor as Fe\n"
        "from transformers import Wav2Vec2ForSequenceClassification as Model\n"
    )
    return marker


@pytest.mark.parametrize("case", CODE)
def test_code_in_a_folder_neither_runs_nor_is_asked_for(
    case: str, model: Path, start_serlab: Callable[..., Any], make_tone: MakeTone, tmp_path: Path
) -> None:
    marker = plant(model)
    CODE[case](model)
    process = start_serlab("predict", "--model", model, make_tone(tmp_path / "a.wav"), stdin=-1)
    out, err = process.communicate("y\ny\ny\n", timeout=300)
    assert not marker.exists()
    assert out == ""
    assert process.returncode == USER
    (sentence,) = err.splitlines()
    assert sentence.startswith("serlab: ")
    assert str(model) in sentence
    assert "its own code (auto_map), which serlab never does" in sentence


@pytest.mark.parametrize("case", ["a type of its own", "no type"])
def test_code_in_a_checkpoint_to_train_from_is_refused_too(case: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    marker = plant(folder)
    CODE[case](folder)
    with pytest.raises(UserError, match="which serlab never does"):
        encoder.from_checkpoint(EncoderModel(checkpoint=str(folder)), ("a", "b"), "fp32")
    assert not marker.exists()


def test_a_map_to_code_beside_a_type_that_transformers_knows_is_left_alone(model: Path) -> None:
    before = load(model, "fp32")
    marker = plant(model)
    edit("config.json", auto_map=MAP)(model)
    edit("preprocessor_config.json", auto_map=MAP)(model)
    after = load(model, "fp32")
    assert not marker.exists()
    assert after.labels == before.labels
    assert type(after.network.hf) is type(before.network.hf)  # type: ignore[attr-defined]


def test_a_pickled_weight_file_runs_nothing(model: Path) -> None:
    (model / "model.safetensors").unlink()
    marker = model.parent / "marker"
    weights = model / "pytorch_model.bin"
    for write in (
        lambda: weights.write_bytes(pickle.dumps({"a": Harmful(marker)})),
        lambda: torch.save(Harmful(marker), weights),
    ):
        write()
        with pytest.raises(UserError, match=r"pytorch_model\.bin .*never runs pickled code"):
            load(model)
    assert not marker.exists()


def test_tensors_in_a_pytorch_file_are_read(model: Path, make_tone: MakeTone) -> None:
    before = load(model, "fp32")
    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    after = load(model, "fp32")
    for one, other in zip(before.network.parameters(), after.network.parameters(), strict=True):  # type: ignore[attr-defined]
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_weights_that_were_not_fetched_are_reported(name: str, model: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / name).write_text(LFS)
    with pytest.raises(UserError, match=r"a pointer.*git lfs pull") as caught:
        load(model)
    assert str(model / name) in str(caught.value)


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def harm(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        change(state)
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})

    return harm


def first(state: dict[str, torch.Tensor]) -> str:
    return min(name for name in state if name.endswith("weight") and state[name].ndim == 2)


def index(**places: str) -> Change:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))

    return change


WEIGHTS: dict[str, tuple[Change, str]] = {
    "another shape": (
        weights(lambda s: s.update({first(s): s[first(s)].repeat(2, 1)})),
        "has another shape|has the shape",
    ),
    "one too many": (weights(lambda s: s.update({"more.weight": torch.zeros(2)})), r"has the weight .*more\.weight"),
    "NaN": (weights(lambda s: s[first(s)].fill_(torch.nan)), "not finite"),
    "whole numbers": (weights(lambda s: s.update({first(s): s[first(s)].char()})), "of type int8"),
    "text": (lambda folder: (folder / "model.safetensors").write_text("<html>"), "not a whole safetensors file"),
    "a shard that is not there": (index(a="b.safetensors"), r"lacks the file b\.safetensors"),
    "a shard elsewhere": (index(a="../../b.safetensors"), "of the same folder"),
    "an index of nothing": (index(), "has no weights|lacks the weight"),
}


@pytest.mark.parametrize("own", [True, False], ids=["serlab", "plain"])
@pytest.mark.parametrize("case", WEIGHTS)
def test_damaged_weights_are_named(case: str, own: bool, model: Path, tiny_models: dict[str, Path]) -> None:
    if own:
        shutil.copy(tiny_models["tiny-wav2vec2"] / "serlab.json", model)
    change, words = WEIGHTS[case]
    change(model)
    with pytest.raises(UserError, match=words) as caught:
        load(model)
    assert str(model) in str(caught.value)


JSON = {
    "nothing": "",
    "a list": "[]",
    "text": '"model"',
    "cut": '{"model_type": ',
    "deep": "[" * 100_000,
    "deep fields": '{"a":' * 200 + "1" + "}" * 200,
    "not a number": '{"model_type": "wav2vec2", "hidden_size": NaN}',
    "beyond all numbers": '{"model_type": "wav2vec2", "hidden_size": 1e999}',
    "digits": '{"model_type": "wav2vec2", "hidden_size": ' + "9" * 5000 + "}",
    "a field twice": '{"model_type": "wav2vec2", "model_type": "bert"}',
    "a pointer": LFS,
}


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "serlab.json"])
@pytest.mark.parametrize("case", JSON)
def test_damaged_json_is_named(case: str, name: str, model: Path) -> None:
    (model / name).write_text(JSON[case])
    with pytest.raises(UserError) as caught:
        load(model)
    assert str(model / name) in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_files_without_an_end_are_not_read(name: str, model: Path) -> None:
    (model / name).unlink()
    (model / name).symlink_to("/dev/zero")
    with pytest.raises(UserError) as caught:
        load(model)
    assert str(model) in str(caught.value)


def test_a_lack_of_memory_is_the_machines(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*args: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried")

    monkeypatch.setattr("serlab.checkpoints.stored.read", short)
    with pytest.raises(MachineError, match="not enough memory") as caught:
        load(model)
    assert str(model) in str(caught.value)


FIELDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "8 kHz": ("preprocessor_config.json", {"sampling_rate": 8000}, "sampling_rate is 8000"),
    "an encoder that is not trained": ("config.json", {"model_type": "sew-d"}, "'sew-d'"),
    "fewer layers than its weights": ("config.json", {"num_hidden_layers": 1}, r"layers\.1\."),
}


@pytest.mark.parametrize("case", FIELDS)
def test_a_checkpoint_that_cannot_be_trained_from_is_refused(case: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    name, fields, words = FIELDS[case]
    edit(name, **fields)(folder)
    with pytest.raises(UserError, match=words) as caught:
        encoder.from_checkpoint(EncoderModel(checkpoint=str(folder)), ("a", "b"), "fp32")
    assert str(folder) in str(caught.value)


def test_a_recipe_may_leave_layers_of_a_checkpoint_out(tiny_checkpoint: Path) -> None:
    settings = EncoderModel(checkpoint=str(tiny_checkpoint), config={"num_hidden_layers": 1})
    assert len(encoder.from_checkpoint(settings, ("a", "b"), "fp32").layers) == 1


def test_a_regression_model_gives_a_classifier(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    edit("config.json", problem_type="regression")(folder)
    network = encoder.from_checkpoint(EncoderModel(checkpoint=str(folder)), ("a", "b"), "fp32")
    assert network.hf.config.problem_type is None
