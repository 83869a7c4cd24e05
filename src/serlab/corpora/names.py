"""What the file names of a known corpus say, by its description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import product

import pandas as pd

from serlab.corpora.description import Description, Every

LEFT_OUT = ""
"""Meaning of a label code whose clips the description leaves out."""


def clip_of(description: Description, path: str) -> str:
    """Find the clip that a file would be, in the official spelling.

    Args:
        description: of the corpus.
        path: the file's path without extension, absolute and with ``/``.

    Returns:
        Its name, or what ``respelled`` or the first fitting entry of ``paths`` makes of it.
    """
    files = description.files
    stem = path.rpartition("/")[2]
    if stem in files.respelled:
        return files.respelled[stem]
    for end, name in files.ends:
        if found := end.search(path):
            return found.expand(name)
    return stem


def read_name(description: Description, stem: str) -> dict[str, str] | None:
    """Read a file name.

    Args:
        description: of the corpus.
        stem: the name without extension.

    Returns:
        Column -> value, or None if this is not the name of a clip. The label is
        :data:`LEFT_OUT` if the description leaves out clips of this label.
    """
    found = description.files.whole_name.fullmatch(stem)
    if found is None:
        return None
    groups = found.groupdict(default="")
    values = groups | {column: text.format(**groups) for column, text in description.files.made.items()}
    for column, codes in description.files.codes.items():
        if groups[column] not in codes:
            return None
        values[column] = codes[groups[column]]
    return values


def unknown_code(description: Description, stem: str) -> str:
    """The label code of a file name that fits the pattern, if ``codes`` does not list it; else an empty string."""
    found = description.files.whole_name.fullmatch(stem)
    codes = description.files.codes.get("label")
    if found is None or codes is None or found["label"] in codes:
        return ""
    return str(found["label"])


def read_names(description: Description, ids: pd.Series) -> pd.DataFrame:
    """Read the names of clips.

    Returns:
        Column ``clip`` and one column per group of the pattern, in the order of ``ids``.
    """
    groups = ids.str.extract(description.files.whole_name).fillna("")
    columns = groups.copy()
    for column, text in description.files.made.items():
        columns[column] = [text.format_map(row) for row in groups.to_dict("records")]
    for column, codes in description.files.codes.items():
        columns[column] = groups[column].map(codes)
    return pd.concat([ids.rename("clip"), columns], axis=1)


def every_name(every: Every, codes: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Every name that a naming scheme implies."""
    values = [every.values[name].split() if name in every.values else list(codes[name]) for name in every.fields]
    for each in product(*values):
        name = every.name.format(**dict(zip(every.fields, each, strict=True)))
        if not any(fnmatchcase(name, pattern) for pattern in every.without):
            yield name
