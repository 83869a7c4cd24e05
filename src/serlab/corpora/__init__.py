"""Corpora: tables of clips, known by name or read from the user's own folders.

A corpus is loaded by :func:`load_corpus`. Known corpora are described by YAML files in the folder
``known``, read by :mod:`serlab.corpora.description`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from serlab.core import UserError, argument, unknown
from serlab.core.files import absent
from serlab.corpora.base import Columns, Corpus
from serlab.corpora.description import Description
from serlab.corpora.reading import describe, descriptions, read_own

__all__ = ["Columns", "Corpus", "Folders", "describe", "descriptions", "load_any", "load_corpus"]

_DESCRIPTIONS = (".yaml", ".yml")


Folders = Path | str | Mapping[str, Path | str] | None
"""Folder of a known corpus, or folders by name."""


def load_corpus(name: str, *, data: Folders = None, columns: Columns | None = None) -> Corpus:
    """Load a corpus.

    Args:
        name: a name of :func:`descriptions`, or the path of a folder (``label/clip.wav``), of a
            CSV or Parquet table with the columns path, label and speaker, or of a description
            (YAML). Write ``./crema-d`` for a folder with the name of a known corpus.
        data: the folder of a known corpus, or folders by name, by default as in
            :mod:`serlab.corpora.locate`; or of a description, by default the folder that contains
            it.
        columns: the names of a table's columns.

    Returns:
        The corpus.

    Raises:
        UserError: there is no such corpus, or it cannot be used as one.
        MachineError: the synthetic corpus cannot be made.

    >>> load_corpus("ravdes")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    serlab.core.errors.UserError: unknown corpus 'ravdes'; did you mean 'ravdess'? Known: ased, ...
    """
    return _load(name, data, columns, fewest_labels=2)


def load_any(name: str, *, data: Folders = None, columns: Columns | None = None) -> Corpus:
    """Load a corpus, even one with a single label, which nothing can be trained on; see :func:`load_corpus`."""
    return _load(name, data, columns, fewest_labels=1)


def _load(name: str, data: Folders, columns: Columns | None, *, fewest_labels: int) -> Corpus:
    data = data.get(name) if isinstance(data, Mapping) else data
    known = descriptions().get(name)
    if known is not None:
        if columns is not None:
            raise UserError(f"{name} is a known corpus; only the columns of your own table can be named.")
        return _load_known(known, Path(data) if data else None)
    path = Path(name)
    if not _exists(path):
        if path.suffix or os.sep in name:
            raise absent("folder or table", name)
        error = unknown("corpus", name, descriptions())
        near = absent("corpus, folder or table", name)
        raise near if "nearest" in str(near) and "did you mean" not in str(error) else error
    if is_description(path):
        if columns is not None:
            raise UserError(f"{name} describes a corpus; only the columns of your own table can be named.")
        return _load_described(path, Path(data) if data else None, fewest_labels)
    if data is not None:
        option = argument("data")
        raise UserError(f"{option} is the folder of a known corpus, but {name} is a path itself; leave {option} out.")
    from serlab.corpora import own

    return _unlike_known(own.load(path, columns, fewest_labels=fewest_labels))


def is_description(path: Path) -> bool:
    """Whether this is a user's own description of a corpus."""
    return path.suffix.lower() in _DESCRIPTIONS and path.is_file()


def _load_described(path: Path, data: Path | None, fewest_labels: int) -> Corpus:
    from serlab.corpora import described, own

    description = read_own(path)
    corpus = described.load(replace(description, name=own.safe_name(path)), data or path.absolute().parent)
    if len(corpus.labels) < fewest_labels:
        raise UserError(f"{path} has only the label {corpus.labels[0]!r}; expected at least two.")
    return _unlike_known(corpus)


def _unlike_known(corpus: Corpus) -> Corpus:
    return replace(corpus, name=f"{corpus.name}-own") if corpus.name in descriptions() else corpus


def _load_known(known: Description, data: Path | None) -> Corpus:
    from serlab.corpora import described

    load = getattr(known.module, "load", described.load)
    corpus: Corpus = load(known, data)
    return corpus


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False  # Too long, or in a folder without permission.
