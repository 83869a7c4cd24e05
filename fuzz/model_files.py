"""Common parts of all mutations of a model folder: its files and the expected result."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Harm:
    """A description of the mutations of a folder, and the expected result of loading it."""

    how: str
    expect: str


def jsons(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*.json") if path.is_file())


def weight_files(place: Path) -> list[Path]:
    return sorted(place.rglob(WEIGHTS))


def configs(place: Path) -> list[Path]:
    return [path for path in jsons(place) if path.name == "config.json"]


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
