"""Caching does not change results: training with and without it, and on cached lower layers, is equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from serlab.experiments.compare import compare
from serlab.recipes import Recipe, load_recipe

VIEWS = "augmentation.views=[{speed: 0.9}, {}, {noise: 0.01}]"


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, one_thread: None) -> None:
    monkeypatch.setenv("SERLAB_CACHE", str(tmp_path / "cache"))


def logits(corpus: Path, recipe: Recipe, out: Path, *, cache: bool) -> np.ndarray:
    result = compare(str(corpus), [recipe], protocol="speaker-2", folds=[1], out=out, cache=cache)
    table = pd.read_parquet(next(result.folder.glob("*/fold1-seed0.parquet")))
    return table[[name for name in table.columns if name.startswith("logit_")]].to_numpy()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("tiny-resnet", [VIEWS]),
        ("tiny-wav2vec2", [VIEWS, "model.freeze_conv=true"]),
        ("tiny-wav2vec2", [VIEWS, "model.freeze_layers=1"]),
        ("tiny-wav2vec2", ["model.freeze_layers=1", "training.features=bf16"]),
    ],
)
def test_cached_training_equals_uncached(
    name: str, changes: list[str], tiny_corpus: Path, tiny_recipes: dict[str, str], tmp_path: Path
) -> None:
    recipe = load_recipe(tiny_recipes[name], ["training.epochs=2", *changes])
    plain = logits(tiny_corpus, recipe, tmp_path / "plain", cache=False)
    filling = logits(tiny_corpus, recipe, tmp_path / "filling", cache=True)
    reading = logits(tiny_corpus, recipe, tmp_path / "reading", cache=True)
    np.testing.assert_allclose(filling, plain, atol=1e-5)
    np.testing.assert_allclose(reading, plain, atol=1e-5)


@pytest.mark.slow
def test_a_broken_cache_costs_time_and_nothing_else(
    tiny_corpus: Path, tiny_recipes: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = load_recipe(tiny_recipes["tiny-resnet"], [VIEWS])
    plain = logits(tiny_corpus, recipe, tmp_path / "first", cache=True)
    for shard in (tmp_path / "cache").glob("features/*/*.safetensors"):
        content = bytearray(shard.read_bytes())
        content[-9] ^= 1
        shard.write_bytes(content)
    capsys.readouterr()
    np.testing.assert_allclose(logits(tiny_corpus, recipe, tmp_path / "second", cache=True), plain, atol=1e-5)
    assert "is dropped (an entry is damaged)" in capsys.readouterr().err
