"""Tables of runs whose teachers or pretrained weights have heard the speakers that they are judged on (SL012)."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from serlab.core import UserError
from serlab.tables.heard import overlaps


def check_unheard(path: Path, rows: pd.DataFrame | None, side: str) -> None:
    """Refuse a run's table by the signature beside it; other tables have none.

    Args:
        path: the table's file.
        rows: the judged rows with their speakers; None if speakers are unknown.
        side: the judged subset.

    Raises:
        UserError: there is a leak.
    """
    try:
        signature = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        records, corpus = signature["heard"], signature["corpus"]
        train = records[0]["train"]
    except (OSError, ValueError, LookupError, TypeError):
        return
    if side not in ("test", "dev") or rows is None or train is None:
        return
    sides: dict[str, list[str]] = {"train": train, "test": [], "dev": []}
    sides[side] = [str(speaker) for speaker in rows["speaker"].unique()]
    for found in overlaps(records, corpus=corpus["name"], fingerprint=corpus["fingerprint"], **sides):
        if not found.allowed:
            raise UserError(f"SL012 in {path}: {found.text[:-1]}, so the table cannot be evaluated on them.")
