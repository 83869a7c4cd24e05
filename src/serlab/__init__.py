"""serlab: train, compare and evaluate speech emotion recognition models on unseen speakers.

The public names are imported when they are first used, so importing serlab costs nothing. ``__init__.pyi`` gives type
checkers the same names with their real types.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "Comparison": "serlab.experiments.compare",
    "Crossing": "serlab.experiments.crossing",
    "Exploration": "serlab.experiments.exploring",
    "Model": "serlab.model.model",
    "Prediction": "serlab.model.prediction",
    "SerlabError": "serlab.core",
    "audit": "serlab.leaks",
    "build_report": "serlab.report",
    "compare": "serlab.experiments.compare",
    "compare_across": "serlab.experiments.crossing",
    "evaluate": "serlab.evaluation.judge",
    "explore": "serlab.experiments.exploring",
    "load_corpus": "serlab.corpora",
    "load_model": "serlab.model.model",
    "load_recipe": "serlab.recipes",
    "predict": "serlab.inference.files",
    "split": "serlab.protocols",
    "to_frame": "serlab.model.prediction",
    "train": "serlab.experiments.train",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'serlab' has no attribute {name!r}")
    attribute = "build" if name == "build_report" else name
    return getattr(importlib.import_module(_HOMES[name]), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
