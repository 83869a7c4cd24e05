"""What identifies a recipe: its settings, its weights, its teacher and the speech that it hears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from serlab import approaches
from serlab.approaches.base import Identity
from serlab.core import UserError
from serlab.core.files import sha256_json
from serlab.recipes import pretraining
from serlab.recipes.loading import load_recipe
from serlab.recipes.recipe import SELF, Recipe

_MOST_TEACHERS = 8


def identify(recipe: Recipe) -> tuple[str, str | None]:
    """The recipe's hash, and the SHA-256 of its pretrained weights (None without any).

    Raises:
        UserError, MachineError: the weights cannot be found.
    """
    identity = approaches.get(recipe.model.kind).identity(recipe.model)
    teacher = recipe.training.teacher
    taught_by = teacher_of(recipe)
    by = identify(taught_by)[0] if taught_by else Identity.of(teacher.checkpoint).weights_sha256 if teacher else None
    fixed = dict(identity.fixed or {})
    if recipe.training.pretraining:
        fixed["pretraining"] = pretraining.identity(recipe.training.pretraining)
    speech = _digest(recipe.training.unlabelled) if recipe.training.unlabelled else None
    return recipe.hash(identity.weights_sha256, fixed, by, speech), identity.weights_sha256


def _digest(names: Sequence[str]) -> str:
    """SHA-256 of speech, by the content of its files."""
    from serlab.corpora.unlabelled import find_speech

    return sha256_json(sorted({sha256 for name in names for sha256 in find_speech(name).clips["sha256"]}))


def teacher_of(recipe: Recipe) -> Recipe | None:
    """The recipe of a recipe's teacher, None if it has none or its teacher is a checkpoint.

    Raises:
        UserError: there is no such recipe, or teachers have teachers without end.
    """
    chain = [recipe]
    while (teacher := chain[-1].training.teacher) and teacher.recipe:
        alone = replace(chain[-1].training, teacher=None, unlabelled=())
        own = replace(chain[-1], training=alone, preset=False)
        chain.append(own if teacher.recipe == SELF else load_recipe(teacher.recipe))
        if len(chain) > _MOST_TEACHERS:
            raise UserError(f"the teacher of {recipe.name} has a teacher in turn, and so on; remove one of them.")
    return chain[1] if len(chain) > 1 else None


def precision_of(recipe: Recipe) -> str:
    """The precision that the recipe runs in on this machine."""
    return approaches.get(recipe.model.kind).precision(recipe.training.precision)
