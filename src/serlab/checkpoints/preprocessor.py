"""The input of a checkpoint: the configuration of its feature extractor, read as JSON and checked by field.

transformers 5 writes it into ``processor_config.json``, earlier versions into
``preprocessor_config.json``; if both exist, the first one is used, as in transformers. The
extractor is always a class of transformers.
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import (
    ASTFeatureExtractor,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)

from serlab.audio import SAMPLE_RATE
from serlab.checkpoints.checks import shown
from serlab.core import UserError
from serlab.core.files import read_json

_OWN, _PROCESSOR = "preprocessor_config.json", "processor_config.json"


@dataclass(frozen=True)
class Family:
    """A feature extractor, and the models that use it.

    Attributes:
        extractor: transformers' class.
        sizes: fields that are whole numbers, and their maximum.
        fitting: fields that must equal a field of the model's configuration.
    """

    extractor: Any
    sizes: Mapping[str, int] = field(default_factory=dict)
    fitting: Mapping[str, str] = field(default_factory=dict)


_WAVE = Family(Wav2Vec2FeatureExtractor)
FAMILIES: dict[str, Family] = {
    "audio-spectrogram-transformer": Family(
        ASTFeatureExtractor,
        {"num_mel_bins": 1024, "max_length": 100_000},
        {"num_mel_bins": "num_mel_bins", "max_length": "max_length"},
    ),
    "data2vec-audio": _WAVE,
    "hubert": _WAVE,
    "sew": _WAVE,
    "sew-d": _WAVE,
    "unispeech": _WAVE,
    "unispeech-sat": _WAVE,
    "wav2vec2": _WAVE,
    "wav2vec2-bert": Family(SeamlessM4TFeatureExtractor, {"num_mel_bins": 1024, "stride": 2}),
    "wav2vec2-conformer": _WAVE,
    "wavlm": _WAVE,
    "whisper": Family(
        WhisperFeatureExtractor,
        {"feature_size": 1024, "hop_length": 16_000, "n_fft": 16_000, "chunk_length": 300},
        {"feature_size": "num_mel_bins"},
    ),
}
"""transformers' audio classifiers by ``model_type``."""


def read(folder: Path, config: Mapping[str, Any], *, default: bool = False) -> dict[str, Any]:
    """Read the configuration of a checkpoint's feature extractor.

    Args:
        folder: the checkpoint's folder.
        config: its ``config.json``, checked.
        default: use the default of its ``model_type`` if there is none.

    Returns:
        The fields, as in the file.

    Raises:
        UserError: it is missing, cannot be read, or describes an input that serlab cannot compute.
    """
    data, where = _find(folder)
    if data is None:
        if not default:
            raise UserError(
                f"{folder} has neither {_OWN} nor {_PROCESSOR}, which describe the model's input; copy one from "
                "the model's source."
            )
        return standard(config["model_type"])
    _check(data, where, FAMILIES[config["model_type"]], config)
    return data


def standard(kind: str) -> dict[str, Any]:
    """The default feature extractor configuration of a ``model_type``."""
    fields: dict[str, Any] = extractor(kind, {}).to_dict()
    return fields


def extractor(kind: str, fields: dict[str, Any]) -> Any:
    """Build the feature extractor of a kind of model (``model_type``) from its fields."""
    with warnings.catch_warnings():
        # With AST's defaults, two mel bands are empty, and transformers warns about it each time.
        warnings.filterwarnings("ignore", message="At least one mel filter has all zero values")
        return FAMILIES[kind].extractor.from_dict(dict(fields))


def _find(folder: Path) -> tuple[dict[str, Any] | None, str]:
    path = folder / _PROCESSOR
    if os.path.lexists(path):
        processor = read_json(path)
        key = next((key for key in ("feature_extractor", "audio_processor") if key in processor), None)
        if key is not None:
            nested, where = processor[key], f"{path}: {key}"
            if not isinstance(nested, dict):
                raise UserError(f"{where} is not a section; restore it.")
            return nested, where
    path = folder / _OWN
    return (read_json(path), str(path)) if os.path.lexists(path) else (None, "")


def _check(data: Mapping[str, Any], where: str, family: Family, config: Mapping[str, Any]) -> None:
    name = family.extractor.__name__
    kind = data.get("feature_extractor_type")
    if kind is None and not data.get("auto_map"):
        kind = name
    if kind != name:
        if data.get("auto_map"):
            raise UserError(f"{where} asks to run its own code (auto_map), which serlab never does; expected {name}.")
        raise UserError(f"{where}: feature_extractor_type is {shown(kind)}; expected {name}.")
    rate = data.get("sampling_rate", SAMPLE_RATE)
    if isinstance(rate, bool) or rate != SAMPLE_RATE:
        raise UserError(
            f"{where}: sampling_rate is {shown(rate)}; serlab resamples audio to {SAMPLE_RATE:,} Hz; use a "
            "model that was trained at that rate."
        )
    usual = {name: item.default for name, item in inspect.signature(family.extractor.__init__).parameters.items()}
    for field_name, value in data.items():
        if field_name in usual:
            _check_type(where, field_name, value, usual[field_name])
    for field_name, most in {"feature_size": 4096, **family.sizes}.items():
        value = data.get(field_name, usual[field_name])
        if not 1 <= value <= most:
            raise UserError(f"{where}: {field_name} is {shown(value)}; expected 1 to {most:,}.")
    for field_name, other in family.fitting.items():
        value, wanted = data.get(field_name, usual[field_name]), config.get(other)
        if wanted is not None and value != wanted:
            raise UserError(f"{where}: {field_name} is {value}, and config.json has {other} {wanted}; one is damaged.")
    if "stride" in usual and data.get("stride", 2) != 2:
        raise UserError(f"{where}: stride is {data['stride']}; serlab takes 2.")
    if "dither" in usual and data.get("dither"):
        raise UserError(f"{where}: dither is {data['dither']}, which makes scores random; set it to 0.")
    if "std" in usual and data.get("std", 1) <= 0:
        raise UserError(f"{where}: std is {data['std']}; expected a deviation above 0.")
    if data.get("padding_side", "right") not in ("left", "right"):
        raise UserError(f"{where}: padding_side is {shown(data['padding_side'])}; expected left or right.")


def _check_type(where: str, name: str, value: Any, like: Any) -> None:
    """Refuse a value of another type than the extractor's default."""
    if isinstance(like, bool):
        fits, wanted = isinstance(value, bool), "true or false"
    elif isinstance(like, int):
        fits, wanted = type(value) is int or (type(value) is float and value.is_integer()), "a whole number"
    elif isinstance(like, float):
        fits, wanted = type(value) in (int, float) and abs(value) < 1e12, "a number"
    elif isinstance(like, str):
        fits, wanted = isinstance(value, str), "text"
    else:
        return
    if not fits:
        raise UserError(f"{where}: {name} is {shown(value)}; expected {wanted}.")
