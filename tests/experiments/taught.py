"""What a comparison left behind of fold 1."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file


def signature_of(comparison, name: str = "tiny-resnet") -> dict[str, Any]:
    (path,) = comparison.folder.glob(f"{name}*/fold1-seed0.json")
    return json.loads(path.read_text())


def logits_of(comparison, name: str = "tiny-resnet") -> np.ndarray:
    (path,) = comparison.folder.glob(f"{name}*/fold1-seed0.parquet")
    return pd.read_parquet(path).filter(like="logit_").to_numpy()


def weights_of(comparison, name: str = "tiny-resnet") -> dict[str, np.ndarray]:
    (path,) = comparison.folder.glob(f"{name}*/fold1-seed0/model.safetensors")
    return load_file(path)


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
