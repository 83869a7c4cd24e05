"""Pooling heads, one file each: ``mean_std.py`` is the pooling ``mean+std`` and contains its class, ``Head``.

Listing the poolings does not import them.
"""

from __future__ import annotations

import functools
import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serlab.approaches.encoder.pooled import PooledHead


@functools.cache
def names() -> tuple[str, ...]:
    """Names of all poolings.

    >>> {"attentive", "mean+std"} <= set(names())
    True
    """
    return tuple(sorted(module.name.replace("_", "+") for module in pkgutil.iter_modules(__path__)))


def get(name: str) -> type[PooledHead]:
    """The head of a pooling in :func:`names`."""
    head: type[PooledHead] = import_module(f"{__name__}.{name.replace('+', '_')}").Head
    return head
