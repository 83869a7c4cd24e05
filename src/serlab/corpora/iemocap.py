"""The part of IEMOCAP that its description cannot express: labels in files that are not tables."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pandas as pd

from serlab.core import UserError
from serlab.corpora.description import Description
from serlab.corpora.names import LEFT_OUT

_FOLDER = "EmoEvaluation"
# [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]
_LINE = re.compile(r"\[[\d.]+ - [\d.]+\]\s+(\w+)\s+(\w+)\s+\[")
_LABELS = {"ang": "angry", "hap": "happy", "exc": "happy", "neu": "neutral", "sad": "sad"}
_OTHERS = frozenset({"dis", "fea", "fru", "oth", "sur", "xxx"})


def list_clips(description: Description, folder: Path) -> pd.DataFrame:
    """List the turns with their majority label, with columns ``clip`` and ``label``.

    Excited counts as happy. Turns with other labels, or without a majority, have an empty label.

    Args:
        description: of the corpus.
        folder: the copy's folder, or the folder of some sessions.

    Raises:
        UserError: the folder has no evaluation files, or one has an unknown label.
    """
    files = sorted(
        Path(place) / name
        for place, _, names in os.walk(folder)
        if Path(place).name == _FOLDER
        for name in names
        if name.endswith(".txt") and not name.startswith(".")
    )
    if not files:
        raise UserError(
            f"{folder} holds no folder dialog/{_FOLDER}, which has the labels of IEMOCAP; give the folder with "
            f"Session1 to Session5, or get the corpus from {description.obtain}."
        )
    rows = []
    for file in files:
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if (found := _LINE.match(line)) is None:
                continue
            clip, code = found.groups()
            if code not in _LABELS and code not in _OTHERS:
                known = ", ".join(sorted({*_LABELS, *_OTHERS}))
                raise UserError(f"{file} has the label {code!r} for {clip}; expected one of {known}.")
            rows.append((clip, _LABELS.get(code, LEFT_OUT)))
    return pd.DataFrame(rows, columns=["clip", "label"]).drop_duplicates()
