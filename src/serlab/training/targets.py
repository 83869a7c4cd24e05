"""Training targets of a clip: its label, the distribution of votes (soft labels), or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.core import UserError, setting
from serlab.evaluation.tracks import votes_of


def targets_of(
    clips: pd.DataFrame, labels: Sequence[str], kind: Literal["hard", "soft", "both"]
) -> NDArray[np.float32]:
    """Target probability of each label for each clip.

    Args:
        clips: rows of the corpus's table.
        labels: the full label list.
        kind: ``hard``, 1 for the clip's label; ``soft``, the shares of the raters' votes on the
            voice; ``both``, the mean of the two.

    Returns:
        Shape (clips, labels); rows sum to 1.

    Raises:
        UserError: the corpus, or one of its clips, has no votes.
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
        raise UserError(f"clip {clip} has no votes and so no soft label; use {setting('training.targets', 'hard')}.")
    soft: NDArray[np.float32] = (votes / total).astype(np.float32)
    return soft if kind == "soft" else np.asarray((hard + soft) / 2, np.float32)
