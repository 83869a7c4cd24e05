"""The contract of every approach: a loaded model scores like the saved one, and declared settings have an effect."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import single_thread

from serlab import approaches
from serlab.approaches.base import Fitted, Saved, Subset
from serlab.audio import Audio
from serlab.core import UserError
from serlab.corpora import load_corpus
from serlab.frontends.store import FeatureStores
from serlab.protocols import split
from serlab.recipes import KINDS, Recipe, identify, load_recipe, recipe_from_signature
from serlab.training.fit import FitTask, fit

ENCODER = {
    "architecture": "wav2vec2",
    "config": {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
        "conv_dim": [8, 8], "conv_kernel": [10, 8], "conv_stride": [40, 8], "num_feat_extract_layers": 2,
        "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
    },
}  # fmt: skip
TINY: dict[str, dict[str, Any]] = {
    "encoder": ENCODER,
    "resnet": {"stem": "small", "width": 8, "pooling": "mean+std", "window": 24},
    "svm": {"C": [1.0], "gamma": [0.01]},
}
"""Settings that fit in a second; an approach that is not named is tested with its defaults."""


@dataclass(frozen=True)
class Case:
    """An approach that has been fitted on the tiny corpus."""

    name: str
    task: FitTask
    fitted: Fitted

    def load(self, folder: Path, precision: str = "fp32") -> Fitted:
        recipe = self.task.recipe
        saved = Saved(folder, self.task.labels, precision, recipe.training.features, identify(recipe)[1] or "")
        loaded: Fitted = approaches.get(self.name).load(recipe.model, saved)
        return loaded


@pytest.fixture(scope="module")
def recipe_of(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recipe]:
    def make(name: str) -> Recipe:
        settings = {"kind": name, **({"checkpoint": str(tiny_checkpoint)} if name == "probe" else TINY.get(name, {}))}
        wanted = {"training.epochs": 1, "training.batch_size": 16, "training.precision": "fp32"}
        used = {path: value for path, value in wanted.items() if KINDS.uses(name, path.split("."))}
        training = {path.rpartition(".")[2]: value for path, value in used.items()}
        path = tmp_path_factory.mktemp(name) / f"tiny-{name}.yaml"
        path.write_text(json.dumps({"title": name, "model": settings, "training": training}))
        return load_recipe(str(path))

    return make


@pytest.fixture(scope="module", params=approaches.names())
def case(
    request: pytest.FixtureRequest,
    recipe_of: Callable[[str], Recipe],
    tiny_corpus: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Case:
    corpus = load_corpus(str(tiny_corpus))
    fold = split(corpus, "speaker-2").folds[0]
    train, dev = (Subset.of(corpus, clips) for clips in (fold.train, fold.dev))
    workspace = tmp_path_factory.mktemp("work")
    stores = FeatureStores(cached=False)
    task = FitTask(recipe_of(request.param), corpus.labels, train, dev, 0, stores, workspace, request.param)
    with single_thread():
        return Case(request.param, task, fit(task))


def logits(fitted: Fitted, subset: Subset) -> np.ndarray:
    return fitted.logits([fitted.frontend(Audio.from_file(file.path).samples) for file in subset.files])


def test_a_saved_model_is_loaded_with_the_same_logits(case: Case, tmp_path: Path, one_thread: None) -> None:
    dev = case.task.dev
    assert dev is not None
    expected = logits(case.fitted, dev)
    case.fitted.save(tmp_path)
    loaded = case.load(tmp_path)
    assert expected.shape == (len(dev.files), len(case.task.labels))
    np.testing.assert_allclose(logits(loaded, dev), expected, atol=1e-6)
    assert loaded.labels == case.fitted.labels == case.task.labels
    assert loaded.parameters[0] == case.fitted.parameters[0] > 0
    assert loaded.needs_serlab == case.fitted.needs_serlab
    assert loaded.frontend.config == case.fitted.frontend.config
    assert loaded.precision == case.fitted.precision
    assert {path.suffix for path in tmp_path.rglob("*.*")} <= {".json", ".safetensors"}


def test_its_history_says_how_it_was_fitted(case: Case) -> None:
    history = case.fitted.history
    assert history is not None
    assert history.selection
    assert len(history.epochs) == approaches.get(case.name).supports.epochs
    assert json.loads(json.dumps(history.data()))["best_epoch"] == (1 if history.epochs else None)


def test_its_identity_outlives_a_signature(case: Case) -> None:
    recipe = case.task.recipe
    told = {"recipe": {"name": recipe.name, "title": recipe.title, "config": recipe.settings()}}
    again = recipe_from_signature(json.loads(json.dumps(told)))
    assert identify(again) == identify(recipe)
    assert recipe.model.kind == case.name


@pytest.mark.skipif(torch.cuda.is_available(), reason="int8 is for processors")
@pytest.mark.parametrize("case", [n for n in approaches.names() if approaches.get(n).supports.int8], indirect=True)
def test_int8_is_for_those_that_support_it(case: Case, tmp_path: Path) -> None:
    case.fitted.save(tmp_path)
    assert case.load(tmp_path, "int8").precision == "int8"


def test_a_dev_subset_is_needed_by_those_that_say_so(case: Case, tmp_path: Path, one_thread: None) -> None:
    task = replace(case.task, dev=None, workspace=tmp_path, stores=FeatureStores(cached=False))
    if approaches.get(case.name).supports.dev:
        with pytest.raises(UserError, match="dev"):
            fit(task)
    else:
        assert fit(task).labels == case.task.labels


def test_the_same_seed_gives_the_same_model(case: Case, tmp_path: Path, one_thread: None) -> None:
    dev = case.task.dev
    assert dev is not None
    again = fit(replace(case.task, workspace=tmp_path, stores=FeatureStores(cached=False)))
    np.testing.assert_allclose(logits(again, dev), logits(case.fitted, dev), atol=1e-6)


@pytest.mark.parametrize("name", approaches.names())
def test_its_settings_exist(name: str) -> None:
    supports = approaches.get(name).supports
    known = {f"{section}.{each.name}" for section, kind in KINDS.sections.items() for each in fields(kind)}
    assert supports.ignored <= known
    assert supports.used is None or supports.used <= known
    assert all(isinstance(title, str) and title for title in approaches.get(name).titles)


def test_an_unknown_kind_is_named_with_those_that_exist() -> None:
    with pytest.raises(UserError, match=rf"'forest'.*{', '.join(approaches.names())}"):
        approaches.get("forest")


@pytest.fixture
def run_without_torch(tmp_path: Path) -> Callable[[str], str]:
    """Run code in a process in which importing torch fails; gives its output."""
    (tmp_path / "torch.py").write_text("raise ImportError('torch is blocked')")

    def run(code: str) -> str:
        blocked = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"
        return subprocess.run([sys.executable, "-c", blocked], check=True, stdout=subprocess.PIPE, text=True).stdout

    return run


def test_settings_are_read_without_torch(run_without_torch: Callable[[str], str]) -> None:
    code = "from serlab.recipes import load_recipe, preset_names; print(*(load_recipe(n).name for n in preset_names()))"
    assert "wav2vec2-tiny" in run_without_torch(code)


def test_a_support_vector_machine_predicts_without_torch(
    run_without_torch: Callable[[str], str], tiny_models: dict[str, Path], tiny_corpus: Path
) -> None:
    sound = next(tiny_corpus.parent.glob("*_happy_*.wav"))
    code = f"import serlab; print(serlab.predict({str(tiny_models['mfcc-svm'])!r}, {str(sound)!r}))"
    assert "label='happy'" in run_without_torch(code)
