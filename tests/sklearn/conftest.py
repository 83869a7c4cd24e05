from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile


@dataclass(frozen=True)
class Speech:
    """The tiny corpus as scikit-learn takes it: paths, the same clips as arrays at 16 kHz, labels, speakers."""

    paths: list[str]
    arrays: list[np.ndarray]
    y: np.ndarray
    groups: np.ndarray


@pytest.fixture(scope="session")
def speech(tiny_corpus: Path) -> Speech:
    table = pd.read_csv(tiny_corpus)
    paths = [str(tiny_corpus.parent / name) for name in table["path"]]
    arrays = [soundfile.read(path, dtype="float32")[0] for path in paths]
    return Speech(paths, arrays, table["label"].to_numpy(str), table["speaker"].to_numpy(str))
