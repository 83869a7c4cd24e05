from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tiny_bench(tmp_path: Path, tiny_corpus: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Iterator[Path]:
    """Run the rows on the tiny corpus with a separate cache; yield a folder for results."""
    from benchmarks import materials
    from serlab.corpora import load_corpus

    monkeypatch.setenv("SERLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(materials, "load_corpus", lambda name: load_corpus(str(tiny_corpus)))
    caches = (materials.corpus, materials._shuffled)
    for function in caches:
        function.cache_clear()
    yield tmp_path / "results"
    for function in caches:
        function.cache_clear()
