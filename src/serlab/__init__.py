"""serlab: train, compare and judge speech emotion recognition models on speakers they have never heard.

The names below are imported when they are first used, so that importing serlab costs nothing.
"""

from __future__ import annotations

import importlib

# As typing's, whose import takes longer than all else here.
TYPE_CHECKING = False

__version__ = "0.1.0"

if TYPE_CHECKING:
    from typing import Any

    from serlab.core import SerlabError
    from serlab.corpora import load_corpus
    from serlab.evaluation.judge import evaluate
    from serlab.experiments.compare import Comparison, compare
    from serlab.inference.files import predict
    from serlab.model.folder import load as load_model
    from serlab.protocols import split
    from serlab.recipes import load_recipe
    from serlab.report import build as build_report

_HOMES = {
    "Comparison": ("serlab.experiments.compare", "Comparison"),
    "SerlabError": ("serlab.core", "SerlabError"),
    "audit": ("serlab.leaks", "audit"),
    "build_report": ("serlab.report", "build"),
    "compare": ("serlab.experiments.compare", "compare"),
    "evaluate": ("serlab.evaluation.judge", "evaluate"),
    "load_corpus": ("serlab.corpora", "load_corpus"),
    "load_model": ("serlab.model.folder", "load"),
    "load_recipe": ("serlab.recipes", "load_recipe"),
    "predict": ("serlab.inference.files", "predict"),
    "split": ("serlab.protocols", "split"),
}

__all__ = [
    "Comparison",
    "SerlabError",
    "__version__",
    "audit",
    "build_report",
    "compare",
    "evaluate",
    "load_corpus",
    "load_model",
    "load_recipe",
    "predict",
    "split",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'serlab' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
