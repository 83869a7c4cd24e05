"""Corpora: tables of clips, known by name or read from the user's own folders.

A corpus is loaded by :func:`load_corpus`. A known one is an entry in the table below: its name, a line about it, and
the module whose ``load(folder)`` returns it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from serlab.core import UserError, unknown
from serlab.core.files import absent
from serlab.corpora.base import Columns, Corpus

__all__ = ["Columns", "Corpus", "corpus_names", "load_corpus"]


@dataclass(frozen=True)
class _Known:
    description: str
    module: str


_KNOWN = {
    "crema-d": _Known("7,442 clips of 91 actors, 12 sentences, 6 emotions (Cao et al. 2014)", "serlab.corpora.cremad"),
    "synthetic": _Known(
        "1,728 clips of 24 synthetic voices, made on the spot by espeak-ng; no human speaks", "serlab.corpora.synthetic"
    ),
}


def corpus_names() -> dict[str, str]:
    """List the corpora known by name, each with a line about it."""
    return {name: known.description for name, known in _KNOWN.items()}


def load_corpus(name: str, *, data: Path | str | None = None, columns: Columns | None = None) -> Corpus:
    """Load a corpus.

    Args:
        name: a name of :func:`corpus_names`, or else the path of a folder (``label/clip.wav``) or of a CSV or Parquet
            table with the columns path, label and speaker. A folder that is called like a known corpus is reached as
            ``./crema-d``.
        data: where a known corpus lies, if not where it is looked for by itself.
        columns: what a table's columns are called.

    Returns:
        The corpus.

    Raises:
        UserError: there is no such corpus, or it cannot be used as one.
        MachineError: the synthetic corpus cannot be made.

    >>> load_corpus("cremad")
    Traceback (most recent call last):
    serlab.core.errors.UserError: unknown corpus 'cremad'; did you mean 'crema-d'? Known: crema-d, synthetic.
    """
    if name in _KNOWN:
        if columns is not None:
            raise UserError(f"{name} is a known corpus; columns can be named only for a table of one's own.")
        known: Corpus = import_module(_KNOWN[name].module).load(Path(data) if data else None)
        return known
    path = Path(name)
    if not _exists(path):
        if path.suffix or os.sep in name:
            raise absent("folder or table", name)
        error = unknown("corpus", name, _KNOWN)
        near = absent("corpus, folder or table", name)
        raise near if "nearest" in str(near) and "did you mean" not in str(error) else error
    if data is not None:
        raise UserError(f"--data says where a known corpus lies, but {name} is a path itself; leave --data out.")
    from serlab.corpora import own

    corpus = own.load(path, columns)
    return replace(corpus, name=f"{corpus.name}-own") if corpus.name in _KNOWN else corpus


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False  # Too long, or behind a folder that nobody may enter.
