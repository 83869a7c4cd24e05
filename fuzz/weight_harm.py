"""Mutations of weights, and code in a model folder: in modules and in pickles."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from random import Random
from typing import Any

from fuzz import values
from fuzz.cases import FREE, KEPT, REFUSED
from fuzz.model_files import Harm, configs, jsons, read, weight_files


def code(random: Random, place: Path, name: str, marker: Path) -> Harm:
    """Add code that transformers runs if allowed to; here it leaves a mark."""
    program = (
        f"from pathlib import Path\nPath({str(marker)!r}).touch()\n"
        "from transformers import PretrainedConfig, PreTrainedModel, SequenceFeatureExtractor\n"
        "class Config(PretrainedConfig):\n    model_type = 'own'\n"
        "class Model(PreTrainedModel):\n    config_class = Config\n"
        "class Extractor(SequenceFeatureExtractor):\n    pass\n"
    )
    automatic = {
        "AutoConfig": "own.Config",
        "AutoModel": "own.Model",
        "AutoModelForAudioClassification": "own.Model",
        "AutoFeatureExtractor": "own.Extractor",
        "AutoProcessor": "own.Extractor",
    }
    for folder in {path.parent for path in jsons(place)}:
        (folder / "own.py").write_text(program, encoding="utf-8")
    known = random.choice(("known type", "unknown type", "no type", "type of another"))
    for path in configs(place):
        data = read(path) | {"auto_map": automatic}
        if known == "unknown type":
            data["model_type"] = "own"
        elif known == "type of another":
            data["model_type"] = random.choice(("bert", "vits", "wav2vec2", "clap"))
        elif known == "no type":
            data.pop("model_type", None)
        path.write_bytes(values.dumped(data))
    for path in jsons(place):
        if path.name == "preprocessor_config.json" and random.random() < 0.7:
            own = {"auto_map": automatic} | ({"feature_extractor_type": "Extractor"} if random.random() < 0.5 else {})
            path.write_bytes(values.dumped(read(path) | own))
    if not configs(place):
        (place / "config.json").write_bytes(values.dumped({"auto_map": automatic}))
    return Harm(f"code of its own, {known}", KEPT if known in ("known type", "type of another") else FREE)


class _Runs:
    """Leaves a mark when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.marker,)


def pickled(random: Random, place: Path, name: str, marker: Path) -> Harm:
    """Store weights in a pickle, or something with that name."""
    import torch
    from safetensors.torch import load_file

    weights = random.choice(weight_files(place))
    state: dict[str, Any] = load_file(weights)
    path = weights.with_name("pytorch_model.bin")
    how = random.choice(
        ("sound", "hostile", "hostile and old", "a zip with a hostile pickle", "pointer", "cut", "text")
    )
    if how == "sound":
        torch.save(state, path)
    elif how == "hostile":
        torch.save(state | {"more": _Runs(marker)}, path)
    elif how == "hostile and old":
        path.write_bytes(pickle.dumps(_Runs(marker)))
    elif how == "a zip with a hostile pickle":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(_Runs(marker)))
            archive.writestr("archive/version", "3\n")
    elif how == "pointer":
        path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n")
    elif how == "cut":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.write_text("no weights\n")
    beside = random.random() < 0.3
    if not beside:
        weights.unlink()
    if random.random() < 0.2:
        for other in ("training_args.bin", "model.pkl", "model.joblib", "scaler.pt"):
            (weights.parent / other).write_bytes(pickle.dumps(_Runs(marker)))
    return Harm(f"pickle {how}{', beside safetensors' if beside else ''}", KEPT)


def tensors(random: Random, place: Path, name: str, marker: Path) -> Harm:
    """Make tensors missing, additional, renamed, of another shape or type, or not finite."""
    import torch
    from safetensors.torch import load_file, save_file

    path = random.choice(weight_files(place))
    state: dict[str, Any] = load_file(path)
    key = random.choice(sorted(state))
    tensor = state[key]
    how = random.choice(
        ("missing", "renamed", "more", "transposed", "longer", "shorter", "scalar", "empty", "nan", "inf", "huge",
         "half", "whole numbers", "double", "all missing", "flat", "complex", "truth values")
    )  # fmt: skip
    if how == "missing":
        del state[key]
    elif how == "renamed":
        state[f"{key}x"] = state.pop(key)
    elif how == "more":
        state["more.weight"] = torch.zeros(3)
    elif how == "transposed":
        state[key] = tensor.transpose(0, -1).contiguous() if tensor.dim() else tensor[None]
    elif how in ("longer", "shorter"):
        state[key] = (
            torch.cat([tensor, tensor])
            if how == "longer" and tensor.dim()
            else tensor[: len(tensor) // 2]
            if tensor.dim()
            else tensor[None]
        )
    elif how == "scalar":
        state[key] = torch.tensor(0.0)
    elif how == "empty":
        state[key] = torch.zeros(0)
    elif how in ("nan", "inf", "huge"):
        value = {"nan": float("nan"), "inf": float("inf"), "huge": 1e30}[how]
        state[key] = torch.full_like(tensor.float(), value) if random.random() < 0.5 else _one(tensor.float(), value)
    elif how in ("half", "double"):
        state = {each: value.half() if how == "half" else value.double() for each, value in state.items()}
    elif how in ("whole numbers", "complex", "truth values"):
        kind = {"whole numbers": torch.int64, "complex": torch.complex64, "truth values": torch.bool}[how]
        state[key] = tensor.to(kind)
    elif how == "flat":
        state[key] = tensor.reshape(-1)
    else:
        state = {}
    save_file(state, path, metadata={"format": "pt"})
    free = how in ("nan", "inf", "huge", "half", "double", "whole numbers", "truth values", "transposed")
    return Harm(f"tensor {how}: {key}", FREE if free else KEPT)


def _one(tensor: Any, value: float) -> Any:
    fresh = tensor.clone()
    fresh.reshape(-1)[:1] = value
    return fresh


def file_bytes(random: Random, place: Path, name: str, marker: Path) -> Harm:
    """Truncate, flip or replace the weight file."""
    path = random.choice(weight_files(place))
    data = bytearray(path.read_bytes())
    head = 8 + int.from_bytes(data[:8], "little")
    how = random.choice(
        ("cut", "empty", "random", "header size", "header flipped", "data flipped", "pointer", "longer")
    )
    if how == "cut":
        data = data[: random.choice((1, 7, 8, head // 2, head, len(data) - 1, random.randrange(len(data))))]
    elif how == "empty":
        data.clear()
    elif how == "random":
        data = bytearray(random.randbytes(1000))
    elif how == "header size":
        data[:8] = random.choice((0, 2**63, 2**64 - 1, len(data), len(data) * 2, 10**9)).to_bytes(8, "little")
    elif how in ("header flipped", "data flipped"):
        place_ = random.randrange(8, head) if how == "header flipped" else random.randrange(head, len(data))
        data[place_] ^= 1 << random.randrange(8)
    elif how == "pointer":
        data = bytearray(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n".encode())
    else:
        data += bytes(random.choice((1, 1000)))
    path.write_bytes(data)
    return Harm(f"weights {how}", FREE if "flipped" in how else KEPT if how == "longer" else REFUSED)


def other_weights(random: Random, place: Path, name: str, marker: Path) -> Harm:
    """Use the weights or the configuration of another model."""
    path = random.choice(weight_files(place))
    import torch
    from safetensors.torch import save_file

    save_file({"classifier.weight": torch.zeros(3, 16), "classifier.bias": torch.zeros(3)}, path, {"format": "pt"})
    return Harm("weights of another model", REFUSED)
