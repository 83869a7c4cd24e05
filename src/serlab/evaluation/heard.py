"""Tables of models that have heard the speakers that they are judged on.

For a table of a run, a leak through teachers or pretrained weights is an error (SL012). For a table
that ``serlab predict --out`` wrote, training on the judged speakers gives a message.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from serlab.core import UserError
from serlab.core.progress import say
from serlab.tables.heard import ITSELF, behind, fold_of, overlaps

if TYPE_CHECKING:
    from serlab.corpora.base import Corpus


def say_heard(path: Path, rows: pd.DataFrame, corpus: Corpus) -> None:
    """Say if ``serlab predict --out`` wrote a table with a model that was trained on the judged speakers.

    Args:
        path: the table's file.
        rows: the judged rows with their speakers.
        corpus: the corpus of the speakers.
    """
    try:
        folder = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))["model"]
        signature = json.loads((Path(folder) / "serlab.json").read_text(encoding="utf-8"))["signature"]
        records = behind("the model", signature["heard"])
    except (OSError, ValueError, LookupError, TypeError):
        return
    speakers = {str(speaker) for speaker in rows["speaker"].unique()}
    found = overlaps(records, corpus=corpus.name, fingerprint=corpus.fingerprint, train=(), dev=(), test=speakers)
    for each in found:
        if each.chose:
            continue
        known = f"{len(each.speakers):,} of the {len(speakers):,} speakers" if each.speakers else "this corpus"
        say(
            f"caution: {each.what} of {path} was trained on {known}, so these scores say nothing about speakers that "
            "it does not know."
        )


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
        # The model's own record; one that was trained on other corpora has none of this.
        own = [each for each in records if each["what"] == ITSELF and each["corpus"] == corpus["name"]]
        train = own[0]["train"] if own else []
        fold = fold_of(signature["identity"])
    except (OSError, ValueError, LookupError, TypeError):
        return
    known = rows is not None
    if side not in ("test", "dev") or (known and train is None):
        return
    sides: dict[str, list[str]] = {"train": train or [], "test": [], "dev": []}
    sides[side] = [""] if rows is None else [str(speaker) for speaker in rows["speaker"].unique()]
    name, fingerprint = corpus["name"], corpus["fingerprint"]
    for found in overlaps(records, corpus=name, fingerprint=fingerprint, fold=fold, known=known, **sides):
        if not found.allowed:
            raise UserError(f"SL012 in {path}: {found.text[:-1]}, so the table cannot be evaluated on them.")
