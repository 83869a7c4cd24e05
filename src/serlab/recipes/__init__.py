"""Recipes: one approach, fully configured, as frozen dataclasses with shipped YAML presets.

A recipe contains everything that can change a result except the data, the fold and the seed, so its
hash identifies it. The hash covers the SHA-256 of pretrained weights, not their path.
"""

from serlab.recipes.identity import identify, precision_of, teacher_of
from serlab.recipes.loading import (
    load_recipe,
    load_variant,
    precision_change,
    preset_names,
    recipe_from_signature,
    with_changes,
)
from serlab.recipes.pretraining import Pretraining
from serlab.recipes.recipe import KINDS, Augmentation, Recipe, Teacher, Training

__all__ = [
    "KINDS",
    "Augmentation",
    "Pretraining",
    "Recipe",
    "Teacher",
    "Training",
    "identify",
    "load_recipe",
    "load_variant",
    "precision_change",
    "precision_of",
    "preset_names",
    "recipe_from_signature",
    "teacher_of",
    "with_changes",
]
