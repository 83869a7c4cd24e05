"""What every harm to a model folder needs: its files, and what is expected of its reader."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Harm:
    """What was done to a folder, and what is expected of its reader."""

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
