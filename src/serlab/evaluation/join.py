"""Two tables joined by clip: which rows a paired comparison is made of.

Clips are joined under the seeds that both tables name, or whatever the seed where each table has one model. A clip
counts if every seed of both judges it, so that how far seeds lie apart is due to training again and not to other
clips. Folds join nothing, because each model may have its own; runs of one protocol are joined by fold too.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from serlab.core import UserError
from serlab.evaluation.counts import LEAST_SHARED, comparable_rows
from serlab.evaluation.prepare import PreparedTable


@dataclass(frozen=True)
class Joined:
    """The rows of two tables on the clips that both have, in one order.

    Attributes:
        rows: of the first and the second.
        speakers_known: whether either names the speakers.
        seeds: that both have, as they are called; empty if neither names any, or each has one of another name.
        only: how many clips only the first, and only the second, has under one seed at least.
        uneven_clips: clips left out because not every seed judged them.
    """

    rows: tuple[pd.DataFrame, pd.DataFrame]
    speakers_known: bool
    seeds: tuple[int | str, ...]
    only: tuple[int, int]
    uneven_clips: int

    @property
    def clips(self) -> int:
        """How many clips both have."""
        return int(self.rows[0]["clip"].nunique())


def join(first: PreparedTable, second: PreparedTable, *, by_fold: bool = False) -> Joined:
    """Join two tables by clip; arguments and errors as of :func:`serlab.evaluation.judge.judge_pair`."""
    seeds, (one, other) = _with_shared_seeds(first, second)
    keys = ["clip", "fold", "seed"] if by_fold else ["clip", "seed"]
    both = one[keys].merge(other[keys], on=keys)
    if len(both) < LEAST_SHARED * max(len(one), len(other)):
        what = "clips" if one["seed"].nunique() == 1 else "predictions of clips"
        raise UserError(
            f"{first.name} and {second.name} share {len(both):,} {what} of {len(one):,} and {len(other):,}; too few "
            "for a comparison: let both models predict the same clips."
        )
    only = (_unshared(one, both, keys), _unshared(other, both, keys))
    kept, uneven = comparable_rows(both)
    one, other = (rows.merge(kept, on=keys).sort_values(keys, ignore_index=True) for rows in (one, other))
    if first.speakers_known and not second.speakers_known:
        other = other.assign(speaker=one["speaker"])
    if second.speakers_known and not first.speakers_known:
        one = one.assign(speaker=other["speaker"])
    for key in ("label", "speaker"):
        differs = one[key].to_numpy() != other[key].to_numpy()
        if differs.any():
            clip = one.loc[differs, "clip"].iloc[0]
            raise UserError(f"{first.name} and {second.name} give clip {clip} a different {key}; correct one of them.")
    return Joined(
        rows=(one, other),
        speakers_known=first.speakers_known or second.speakers_known,
        seeds=seeds,
        only=only,
        uneven_clips=uneven,
    )


def _with_shared_seeds(
    first: PreparedTable, second: PreparedTable
) -> tuple[tuple[int | str, ...], tuple[pd.DataFrame, pd.DataFrame]]:
    """The seeds that both name, and the rows of these; all rows where each table has one model."""
    one, other = ({each.seeds.get(seed, seed): seed for seed in each.rows["seed"].unique()} for each in (first, second))
    shared = [name for name in one if name in other and name is not None]
    if len(one) == len(other) == 1:
        return tuple(shared), (first.rows, second.rows.assign(seed=first.rows["seed"].iloc[0]))
    if not shared:
        raise UserError(f"{first.name} and {second.name} have different seeds; give both the same, or one seed each.")
    numbers = {other[name]: one[name] for name in shared}
    rows = second.rows[second.rows["seed"].isin(numbers)]
    return (
        tuple(sorted(shared)),
        (first.rows[first.rows["seed"].isin(numbers.values())], rows.assign(seed=rows["seed"].map(numbers))),
    )


def _unshared(rows: pd.DataFrame, both: pd.DataFrame, keys: list[str]) -> int:
    """How many clips have a row that is not shared."""
    marked = rows[keys].merge(both, on=keys, how="left", indicator=True)
    return int(marked.loc[marked["_merge"] == "left_only", "clip"].nunique())
