"""The identity of a recipe on this machine: hash, pretrained weights, precision."""

from __future__ import annotations

from serlab import approaches
from serlab.recipes.recipe import Recipe


def identify(recipe: Recipe) -> tuple[str, str | None]:
    """The recipe's hash, and the SHA-256 of its pretrained weights (None without any).

    Raises:
        UserError, MachineError: the weights cannot be found.
    """
    identity = approaches.get(recipe.model.kind).identity(recipe.model)
    return recipe.hash(identity.weights_sha256, identity.fixed), identity.weights_sha256


def precision_of(recipe: Recipe) -> str:
    """The precision that the recipe runs in on this machine."""
    return approaches.get(recipe.model.kind).precision(recipe.training.precision)
