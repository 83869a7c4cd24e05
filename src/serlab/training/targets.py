"""What a network learns of a clip: its label, how raters' votes are spread, or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.core import UserError
from serlab.evaluation.tracks import votes_of


def targets_of(
    clips: pd.DataFrame, labels: Sequence[str], kind: Literal["hard", "soft", "both"]
) -> NDArray[np.float32]:
    """The share of every label that a network is to give each clip.

    Args:
        clips: rows of the corpus's table.
        labels: the full label list.
        kind: ``hard``, all on the clip's label; ``soft``, the shares of the votes of those who heard the voice;
            ``both``, the mean of the two.

    Returns:
        Shape (clips, labels); rows sum to 1.

    Raises:
        UserError: votes are wanted that the corpus, or a clip of it, does not have.
    """
    hard: NDArray[np.float32] = (clips["label"].to_numpy()[:, None] == np.array(labels, dtype=object)).astype(
        np.float32
    )
    if kind == "hard":
        return hard
    votes = votes_of(clips, labels).to_numpy()
    total = votes.sum(axis=1, keepdims=True)
    if not total.all():
        clip = clips.loc[total[:, 0] == 0, "clip"].iloc[0]
        raise UserError(f"nobody voted on clip {clip}, so it has no soft target; use --set training.targets=hard.")
    soft: NDArray[np.float32] = (votes / total).astype(np.float32)
    return soft if kind == "soft" else np.asarray((hard + soft) / 2, np.float32)
