"""Recipes by name or from a file, with changes, and from the signature of a run."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from serlab.approaches.base import REGULARISERS
from serlab.core import UserError, argument, setting, unknown
from serlab.core.files import absent
from serlab.core.progress import say
from serlab.core.settings import MOST_CHARACTERS, build, read_yaml
from serlab.recipes.changes import Change, apply, flat
from serlab.recipes.recipe import KINDS, NEEDS, SECTIONS, Recipe, TrainingPrecision


def preset_names() -> list[str]:
    """Names of the shipped presets."""
    folder = resources.files("serlab") / "presets"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_recipe(name: str, overrides: Sequence[str] = (), precision: str | None = None) -> Recipe:
    """Load a recipe.

    Args:
        name: a preset's name, or the path of a YAML file in the same form.
        overrides: ``section.key=value`` settings (value in YAML).
        precision: precision of training; counts as a change of the recipe, if it has an effect.

    Returns:
        The recipe; its ``preset`` is False if anything differs from the preset.

    Raises:
        UserError: the recipe, a key or a value does not exist or does not fit.

    >>> load_recipe("resnet18", ["training.epochs=3"]).training.epochs
    3
    """
    return load_variant(name, [*map(Change, overrides), *precision_change(precision)])


def with_changes(recipe: Recipe, changes: Sequence[Change]) -> Recipe:
    """Change a loaded recipe; see :func:`load_recipe`.

    Args:
        recipe: the recipe.
        changes: what to change.

    Raises:
        UserError: a key or a value does not exist or does not fit.
    """
    data: dict[str, Any] = {"title": recipe.title, **recipe.settings()}
    return _changed({"name": recipe.name, "preset": recipe.preset}, data, changes, recipe.name)


def precision_change(precision: str | None, option: str = "") -> list[Change]:
    """The change that an explicit precision makes, for recipes that it affects.

    Args:
        precision: of training.
        option: as the user wrote it, for errors.
    """
    if precision is None:
        return []
    known = get_args(TrainingPrecision)
    if precision not in known:
        raise UserError(f"{argument('precision', precision)} is not one of {', '.join(known)}.")
    return [Change(f"training.precision={precision}", shared=True, option=option)]


def load_variant(name: str, changes: Sequence[Change]) -> Recipe:
    """Load a recipe with changes; shared ones without effect are left out with a message. See :func:`load_recipe`."""
    if not name.strip():
        raise UserError(f"the name of a recipe is empty; the presets are {', '.join(preset_names())}.")
    try:
        there = Path(name).exists()
    except OSError as error:
        raise UserError(f"{name[:40]}… is not the name of a recipe ({error.strerror}).") from error
    if name in preset_names():
        text = (resources.files("serlab") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
        stem, shipped = name, True
    elif Path(name).is_dir() or (
        name.count("/") == 1 and not name.startswith((".", "~", "/")) and not Path(name).suffix and not there
    ):
        raise UserError(
            f"{name} is not a recipe, that is a preset or a YAML file; to use it as a checkpoint, give a recipe "
            f"{setting('model.checkpoint', name)}. The presets are {', '.join(preset_names())}."
        )
    elif Path(name).suffix or "/" in name:
        if not there:
            raise absent("recipe" if Path(name).suffix else "recipe (a YAML file) or model folder", name)
        if not name.endswith((".yaml", ".yml")):
            raise UserError(f"the recipe {name} must be a YAML file whose name ends in .yaml or .yml.")
        try:
            with Path(name).open(encoding="utf-8") as stream:
                text = stream.read(MOST_CHARACTERS + 1)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the recipe {name}: {getattr(error, 'strerror', None) or error}.") from error
        stem, shipped = Path(name).stem, False
    else:
        raise unknown("recipe", name, preset_names())
    data = read_yaml(text, f"the recipe {name}")
    if not isinstance(data, dict):
        raise UserError(f"{name} is not a recipe; expected the keys title, model, training and augmentation.")
    # A preset that was replaced by another one keeps the name of its results, as a variant of it.
    former = data.pop("formerly", None) if shipped else None
    identity = {"name": former or stem, "preset": shipped and not former}
    if not shipped:
        _say_unused(data, stem)
    # A section without content, as its key with all settings commented out, has the defaults.
    data = {key: {} if value is None and key in SECTIONS else value for key, value in data.items()}
    return _changed(identity, data, changes, stem)


def _changed(identity: Mapping[str, Any], data: Mapping[str, Any], changes: Sequence[Change], name: str) -> Recipe:
    """Build a recipe from its data with changes."""
    if not changes:
        return _built(identity, data, name)
    changed = copy.deepcopy(dict(data))
    apply(changed, changes, name, KINDS)
    _start_from_checkpoint(changed, name)
    recipe, plain_one = _built(identity, changed, name), _built(identity, data, name)
    idle = _idle(recipe, plain_one, changes)
    if idle:
        return _changed(identity, data, [change for change in changes if change not in idle], name)
    # A value equal to the preset's changes nothing, however it is written (0 and 0.0).
    return plain_one if recipe == plain_one else replace(recipe, preset=False)


def _start_from_checkpoint(data: dict[str, Any], name: str) -> None:
    """Let a checkpoint, e.g. from ``serlab pretrain``, replace the architecture and pretraining of a recipe."""
    model, training = data.get("model"), data.get("training")
    if not isinstance(model, dict) or not isinstance(training, dict) or not training.get("pretraining"):
        return
    if model.get("checkpoint") and model.pop("architecture", ""):
        if isinstance(model.get("config"), dict):
            model["config"] = {key: value for key, value in model["config"].items() if key in REGULARISERS}
        del training["pretraining"]
        say(f"{name} starts from {model['checkpoint']}, so model.architecture and training.pretraining are left out.")


def _idle(recipe: Recipe, plain_one: Recipe, changes: Sequence[Change]) -> list[Change]:
    """Changes without effect because another setting is missing: reported if shared, otherwise refused."""
    new, old = flat(recipe.settings()), flat(plain_one.settings())
    found = []
    for change in changes:
        path = ".".join(change.parsed()[0])
        for need in NEEDS:
            if need.path == path and new[path] != old[path] and not need.met(recipe):
                if not change.shared:
                    raise UserError(f"{change.shown}: {path} does nothing in {recipe.name} without {need.words}.")
                say(f"{change.shown} is left out for {recipe.name}: {path} does nothing without {need.words}.")
                found.append(change)
    return found


def _built(identity: Mapping[str, Any], data: Mapping[str, Any], stem: str) -> Recipe:
    for key in data:
        if key not in ("title", *SECTIONS):
            raise unknown(f"key in recipe {stem}", str(key), ("title", *SECTIONS))
    recipe = build(Recipe, {**identity, **KINDS.used(data)}, f"recipe {stem}")
    assert isinstance(recipe, Recipe)
    return recipe


def _say_unused(data: Mapping[str, Any], stem: str) -> None:
    """Report the settings of a user's file that have no effect on its kind of model."""
    kept, usual = flat(KINDS.used(data)), flat(KINDS.defaults("svm"))
    for path, value in flat(data).items():
        if path not in kept and usual.get(path) != value:
            kind = data["model"]["kind"]
            say(f"{path} of recipe {stem} is left out: {KINDS.why(stem, kind, path.split('.'))}.")


def recipe_from_signature(signature: Mapping[str, Any]) -> Recipe:
    """Rebuild the recipe that a run's signature describes."""
    data = signature["recipe"]
    content = {"name": data["name"], "title": data["title"], "preset": False, **KINDS.used(data["config"])}
    recipe = build(Recipe, content, f"recipe {data['name']}", recorded=True)
    assert isinstance(recipe, Recipe)
    return recipe
