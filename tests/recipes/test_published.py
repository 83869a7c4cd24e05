"""Published results keep the identity of their recipe: its hash and its folder have not changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serlab.recipes import Recipe, identify, load_recipe, preset_names, recipe_from_signature

RESULTS = Path(__file__).parents[2] / "results"
# Finished models that were tested as they are have no recipe.
PUBLISHED = {
    path.parent: path for path in sorted(RESULTS.glob("*/*/*/fold*-seed*.json")) if path.parent.parent.name != "as-is"
}


def hash_of(recipe: Recipe, signature: dict[str, Any]) -> str:
    """The recipe's hash, with the weights and teacher of the published run, which need not be on this machine."""
    weights, teacher = signature["weights_sha256"], (signature.get("teacher") or {}).get("hash")
    return recipe.hash(weights, teacher=teacher) if weights or teacher else identify(recipe)[0]


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_a_published_signature_gives_its_hash_again(folder: Path) -> None:
    signature = json.loads(PUBLISHED[folder].read_text(encoding="utf-8"))
    assert hash_of(recipe_from_signature(signature), signature) == signature["recipe"]["hash"]


@pytest.mark.parametrize("name", sorted({folder.name for folder in PUBLISHED} & {*preset_names()}))
def test_a_preset_is_the_recipe_that_was_published_under_its_name(name: str) -> None:
    path = next(path for folder, path in PUBLISHED.items() if folder.name == name)
    signature = json.loads(path.read_text(encoding="utf-8"))
    recipe = load_recipe(name)
    assert hash_of(recipe, signature) == signature["recipe"]["hash"]
    assert recipe.folder(signature["recipe"]["hash"]) == name


def test_presets_that_were_replaced_keep_their_published_folders() -> None:
    replaced = [recipe for recipe in map(load_recipe, preset_names()) if not recipe.preset]
    assert len(replaced) == 2
    assert {recipe.folder(identify(recipe)[0]) for recipe in replaced} <= {folder.name for folder in PUBLISHED}
