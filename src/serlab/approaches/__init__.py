"""Approaches: ways to turn clips into logits, one package each.

A package in this folder is an approach, and its name is the recipe's ``model.kind``. It defines one
object, ``APPROACH``, with the interface of :class:`serlab.approaches.base.Approach`. Importing it
loads its settings, but no heavy libraries. Modules in this folder are shared by several approaches.
"""

from __future__ import annotations

import functools
import pkgutil
from importlib import import_module
from typing import Any

from serlab.approaches.base import Approach
from serlab.core import unknown


@functools.cache
def names() -> tuple[str, ...]:
    """Names of all approaches.

    >>> {"encoder", "svm"} <= set(names())
    True
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg))


def get(name: str) -> Approach[Any]:
    """The approach with a name.

    Raises:
        UserError: the name is unknown.

    >>> get("svm").supports.epochs
    False
    """
    if name not in names():
        raise unknown("kind of model", name, names())
    approach: Approach[Any] = import_module(f"{__name__}.{name}").APPROACH
    return approach
