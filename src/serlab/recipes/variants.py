"""Differences of a recipe from its preset, for reports and model cards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from serlab.core import UserError
from serlab.recipes import KINDS, Recipe, Teacher, load_recipe, preset_names, recipe_from_signature
from serlab.recipes.changes import defaults_of, flat

_FREE = "model.config"
"""The section with transformers' own keys: a key that is missing there was removed."""

_TEACHER = "training.teacher"


def changed_settings(recipe: Mapping[str, Any]) -> dict[str, Any] | None:
    """Settings by which a run's recipe differs from the preset that it is a variant of.

    Args:
        recipe: of a run's signature.

    Returns:
        Value by dotted name; for a recipe that is not a variant of a preset, what differs from the
        defaults. A field of ``model.config`` that was removed is None. None if the settings are
        unknown: the model is not serlab's.
    """
    if "model" not in recipe["config"]:
        return None
    try:
        here = recipe_from_signature({"recipe": recipe}).settings()
    except UserError:  # from a version with other settings
        here = recipe["config"]
    kind = here["model"]["kind"]
    base = base_of(recipe["name"])
    usual = KINDS.defaults(kind)
    if base is not None:
        preset = load_recipe(base).settings()
        same = preset["model"]["kind"] == kind
        usual = preset if same else preset | {"model": usual["model"] | {"kind": preset["model"]["kind"]}}
    old, new = _dotted(usual), _dotted(here)
    if old.get(_TEACHER, _TEACHER) is None:
        old |= flat(defaults_of(Teacher), f"{_TEACHER}.")
    # Older signatures only contain the last part of a hub name.
    if new.get("model.checkpoint") == str(old.get("model.checkpoint")).rpartition("/")[2]:
        del new["model.checkpoint"]
    gone = {name: None for name in old if name.startswith(f"{_FREE}.") and name not in new}
    return {name: value for name, value in new.items() if name not in old or old[name] != value} | gone


def replaced(recipe: Mapping[str, Any]) -> Recipe | None:
    """The original preset of a run's recipe, if another preset has since replaced it.

    Args:
        recipe: of a run's signature.
    """
    if "model" not in recipe["config"]:
        return None
    former = [preset for preset in map(load_recipe, preset_names()) if not preset.preset]
    near = [preset for preset in former if preset.name == recipe["name"]]
    settings = recipe_from_signature({"recipe": recipe}).settings() if near else None
    return next((preset for preset in near if preset.settings() == settings), None)


def base_of(name: str) -> str | None:
    """The preset that a recipe's folder is named after, None if it is named after a file.

    >>> base_of("resnet18-small-1a2b3c"), base_of("resnet18-small"), base_of("mine-1a2b3c")
    ('resnet18-small', 'resnet18-small', None)
    """
    presets = preset_names()
    return next((each for each in (name, name.rpartition("-")[0]) if each in presets), None)


def changes_text(changed: Mapping[str, Any]) -> str:
    """Changed settings as text.

    >>> changes_text({"training.epochs": 3, "model.config.layerdrop": None, "training.targets": "soft"})
    'training.epochs=3, model.config.layerdrop unset, training.targets=soft'
    """
    return ", ".join(f"{name} unset" if value is None else f"{name}={_value(value)}" for name, value in changed.items())


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _dotted(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flat(settings).items() if name != _FREE}
