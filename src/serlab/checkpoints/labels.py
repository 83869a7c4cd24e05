"""Check labels and other values of files that may be damaged, and show them in errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from unicodedata import category

from serlab.core import UserError

_UNPRINTABLE = ("Cc", "Cs")


def check_labels(where: str, labels: Iterable[Any]) -> None:
    """Refuse labels that are not at least two different names.

    Args:
        where: the file and field, for errors.
        labels: the labels.
    """
    names = list(labels)
    for name in names:
        if not isinstance(name, str) or not name.strip() or any(category(mark) in _UNPRINTABLE for mark in name):
            raise UserError(f"{where} has the label {shown(name)}; expected a printable name.")
        if names.count(name) > 1:
            raise UserError(f"{where} has the label {name!r} twice; each label needs its own name.")
    if len(names) < 2:
        raise UserError(f"{where} has {len(names)} labels; expected at least 2.")


def shown(value: Any) -> str:
    """A value of a damaged file, shortened for an error."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
