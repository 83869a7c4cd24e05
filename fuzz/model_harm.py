"""Mutations of a model folder's configuration: fields, labels, input settings, and meaningful files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from fuzz import materials, values
from fuzz.cases import ALTERED, FREE, KEPT, REFUSED, WHOLE
from fuzz.model_files import WEIGHTS, Harm, configs, jsons, read, weight_files
from fuzz.weight_harm import code, file_bytes, other_weights, pickled, tensors


def _untouched(random: Random, place: Path, name: str, marker: Path) -> Harm:
    return Harm("untouched", WHOLE)


def _field(random: Random, place: Path, name: str, marker: Path) -> Harm:
    path = random.choice(jsons(place))
    how, where, data = values.spoil(random, read(path))
    path.write_bytes(values.dumped(data))
    # Another valid configuration may change scores; one of the wrong type must be an error.
    free = ("number", "flipped", "text") + (("deleted", "null") if path.name == "config.json" else ())
    return Harm(f"{path.name} {how}: {where}", FREE if how in free else KEPT)


def _signature_field(random: Random, place: Path, name: str, marker: Path) -> Harm:
    path = place / "serlab.json"
    if not path.is_file():
        return _field(random, place, name, marker)
    data = read(path)
    recipe = data["signature"]["recipe"]["config"]
    how, where, recipe = values.spoil(random, recipe)
    data["signature"]["recipe"]["config"] = recipe
    path.write_bytes(values.dumped(data))
    return Harm(f"recipe {how}: {where}", FREE if how in ("number", "flipped", "text", "deleted", "null") else KEPT)


def _text(random: Random, place: Path, name: str, marker: Path) -> Harm:
    path = random.choice(jsons(place))
    how, data = values.spoilt_text(random, path.read_text(encoding="utf-8"))
    path.write_bytes(data)
    return Harm(f"{path.name} is {how}", KEPT)


def _doubled(random: Random, place: Path, name: str, marker: Path) -> Harm:
    path = random.choice(jsons(place))
    data = read(path)
    key = random.choice(list(data))
    text = path.read_text(encoding="utf-8").rstrip()
    path.write_text(f"{text[:-1]}, {json.dumps(key)}: {json.dumps(data[key])}}}", encoding="utf-8")
    return Harm(f"{path.name} doubled: {key}", KEPT)


def _missing(random: Random, place: Path, name: str, marker: Path) -> Harm:
    path = random.choice(jsons(place) + weight_files(place))
    path.unlink()
    kind = random.choice(("missing", "folder", "dangling", "loop"))
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.symlink_to("absent" if kind == "dangling" else path.name)
    return Harm(f"{path.name} {kind}", FREE if path.name in ("preprocessor_config.json", "serlab.json") else KEPT)


def _labels(random: Random, place: Path, name: str, marker: Path) -> Harm:
    """Change labels: fewer, more, duplicate, renamed, reordered or not text."""
    labels: list[Any] = list(materials.LABELS)
    how = random.choice(("fewer", "more", "double", "no text", "one", "none", "reordered", "other keys", "line break"))
    if how == "fewer":
        labels = labels[:2]
    elif how == "more":
        labels = [*labels, "angry"]
    elif how == "double":
        labels[1] = labels[0]
    elif how == "no text":
        labels[1] = random.choice((None, 3, [], {}))
    elif how == "one":
        labels = labels[:1]
    elif how == "none":
        labels = []
    elif how == "reordered":
        labels.reverse()
    elif how == "line break":
        labels[1] = "a\nb\x1b[31m"
    path = place / "serlab.json"
    if path.is_file() and random.random() < 0.7:
        data = read(path)
        data["labels"] = labels
        if random.random() < 0.5:
            data["signature"]["corpus"]["labels"] = labels
        path.write_bytes(values.dumped(data))
        return Harm(f"labels of serlab.json {how}", FREE if how in ("reordered", "line break") else KEPT)
    for path in configs(place):
        data = read(path)
        keys = [str(index + (3 if how == "other keys" else 0)) for index in range(len(labels))]
        data["id2label"] = dict(zip(keys, labels, strict=True))
        if random.random() < 0.5:
            data["label2id"] = {str(label): index for index, label in enumerate(labels)}
        path.write_bytes(values.dumped(data))
    return Harm(f"labels of config.json {how}", FREE if how in ("reordered", "line break") else KEPT)


def _preprocessor(random: Random, place: Path, name: str, marker: Path) -> Harm:
    """Change the feature extractor's configuration."""
    found = [path for path in jsons(place) if path.name == "preprocessor_config.json"]
    if not found or name == "resnet":
        return _field(random, place, name, marker)
    path = found[0]
    data = read(path)
    field, value = random.choice(
        (("sampling_rate", 8000), ("sampling_rate", 44100), ("sampling_rate", 24000), ("sampling_rate", 0),
         ("sampling_rate", -16000), ("sampling_rate", "16000"), ("sampling_rate", 10**9), ("do_normalize", "flip"))
    )  # fmt: skip
    if value == "flip":
        value = not data.get(field, True)
    if random.random() < 0.3:
        # As transformers 5 saves a processor.
        path.unlink()
        whole = {"processor_class": "Wav2Vec2Processor", "feature_extractor": data | {field: value}}
        path.with_name("processor_config.json").write_bytes(values.dumped(whole))
        return Harm(
            f"processor_config {field}: {value}", FREE if field == "do_normalize" or value == "16000" else ALTERED
        )
    path.write_bytes(values.dumped(data | {field: value}))
    whisper_like = name in ("whisper", "probe", "wav2vec2-bert", "ast", "image", "text")
    return Harm(
        f"preprocessor {field}: {value}",
        FREE if value == "16000" or (field == "do_normalize" and whisper_like) else ALTERED,
    )


def _setting(random: Random, place: Path, name: str, marker: Path) -> Harm:
    """Change a setting of config.json that changes the meaning of the weights or is unsupported."""
    paths = configs(place)
    if not paths:
        return _field(random, place, name, marker)
    choices: list[tuple[dict[str, Any], str]] = [
        ({"problem_type": "regression"}, ALTERED),
        ({"problem_type": "multi_label_classification"}, ALTERED),
        ({"problem_type": "nonsense"}, KEPT),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, KEPT),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, KEPT),
        ({"quantization_config": []}, KEPT),
        ({"_attn_implementation": "kernels-community/flash-attn"}, KEPT),
        ({"attn_implementation": "flash_attention_2"}, KEPT),
        ({"attn_implementation": "nonsense"}, KEPT),
        ({"dtype": "float16"}, KEPT),
        ({"dtype": "nonsense"}, KEPT),
        ({"torch_dtype": "os.system"}, KEPT),
        ({"architectures": ["Wav2Vec2ForCTC"]}, FREE),
        ({"architectures": None}, FREE),
        ({"architectures": [{}]}, FREE),
        ({"model_type": "nonsense"}, KEPT),
        ({"model_type": None}, KEPT),
        ({"model_type": 3}, KEPT),
        ({"model_type": "bert"}, KEPT),
        ({"num_labels": 5}, KEPT),
        ({"num_labels": -1}, KEPT),
        ({"num_labels": "many"}, KEPT),
        ({"hidden_size": 2**40}, KEPT),
        ({"hidden_size": 100_000}, KEPT),
        ({"intermediate_size": 10**12}, KEPT),
        ({"num_hidden_layers": 10**6}, KEPT),
        ({"num_hidden_layers": 1}, FREE),
        ({"vocab_size": 10**12}, KEPT),
        ({"max_source_positions": 10**10}, KEPT),
        ({"d_model": 2**40}, KEPT),
        ({"conv_dim": [8] * 10_000}, KEPT),
        ({"conv_stride": [0, 0]}, KEPT),
        ({"num_attention_heads": 0}, KEPT),
        ({"num_attention_heads": 3}, KEPT),
        ({"gradient_checkpointing": True}, KEPT),
        ({"is_encoder_decoder": True}, FREE),
        ({"adapter_attn_dim": 4}, FREE),
        ({"use_weighted_layer_sum": True}, FREE),
        ({"pruned_heads": {"0": [0]}}, FREE),
        ({"_name_or_path": "../../x\n"}, KEPT),
        ({"transformers_version": {}}, KEPT),
        ({"tie_word_embeddings": "x"}, KEPT),
    ]
    chosen, expect = random.choice(choices)
    path = random.choice(paths)
    path.write_bytes(values.dumped(read(path) | chosen))
    # A probe never uses the encoder's own head; serlab's networks always use softmax.
    if expect == ALTERED and (place / "serlab.json").is_file():
        expect = FREE
    return Harm(f"setting {json.dumps(chosen)[:60]}", expect)


def _beside(random: Random, place: Path, name: str, marker: Path) -> Harm:
    """Add files that transformers or peft recognise."""
    where = random.choice([path.parent for path in weight_files(place)])
    how = random.choice(("adapter", "index", "index beside", "generation", "traversing index", "broken card"))
    if how == "adapter":
        own = {"peft_type": "LORA", "base_model_name_or_path": "unknown/unknown", "auto_mapping": None}
        (where / "adapter_config.json").write_bytes(values.dumped(own))
        return Harm("beside: adapter", KEPT)
    if how == "generation":
        (where / "generation_config.json").write_text("[[[")
        return Harm("beside: generation", KEPT)
    if how == "broken card":
        (where / "README.md").write_bytes(b"\xff\xfe---\n!!python/object/apply:os.system ['true']\n---")
        return Harm("beside: card", KEPT)
    shard = "../outside.safetensors" if how == "traversing index" else "model-00001-of-00002.safetensors"
    index: Any = random.choice(
        ({"metadata": {}, "weight_map": {"classifier.weight": shard}}, {"weight_map": []}, {}, [], {"weight_map": None})
    )
    (where / "model.safetensors.index.json").write_bytes(values.dumped(index))
    if how != "index beside":
        (where / WEIGHTS).unlink()
    return Harm(f"beside: {how}", KEPT if how == "index beside" else REFUSED)


def _format(random: Random, place: Path, name: str, marker: Path) -> Harm:
    """Change serlab.json."""
    path = place / "serlab.json"
    if not path.is_file():
        return _setting(random, place, name, marker)
    data = read(path)
    kinds: tuple[Any, ...] = ("svm", "resnet", "encoder", "probe", "transformer", "", None, 3, [])
    how = random.choice(("format", "needs_serlab", "kind", "signature", "more", "serlab"))
    if how == "kind":
        data["signature"]["recipe"]["config"]["model"]["kind"] = random.choice(kinds)
    elif how == "signature":
        data["signature"] = random.choice(({}, [], None, "x", {"recipe": {}}, {"corpus": {}, "recipe": []}))
    elif how == "more":
        data["more"] = {"a": [1, 2]}
    else:
        target = data["signature"] if how == "serlab" else data
        target[how] = random.choice((2, 999, -1, "1", None, [], "99.0", True))
    path.write_bytes(values.dumped(data))
    return Harm(f"serlab.json: {how}", KEPT)


HARMS: tuple[Callable[[Random, Path, str, Path], Harm], ...] = (
    _untouched, _field, _field, _field, _field, _field, _signature_field, _signature_field, _text, _text, _doubled,
    _missing, code, code, code, pickled, pickled, tensors, tensors, tensors, file_bytes, file_bytes, other_weights,
    _labels, _labels, _preprocessor, _preprocessor, _setting, _setting, _setting, _beside, _format,
)  # fmt: skip
