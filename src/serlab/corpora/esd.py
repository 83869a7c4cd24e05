"""The part of ESD that its description cannot express: a clip's number gives emotion and sentence."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from serlab.corpora.description import Description

_SPEAKERS, _FIRST_ENGLISH, _SENTENCES = 20, 11, 350
# In the order of the numbers: 1 to 350 are neutral, 351 to 700 angry, and so on.
_EMOTIONS = ("neutral", "angry", "happy", "sad", "surprise")


def list_clips(_description: Description, _folder: Path) -> pd.DataFrame:
    """List the 35,000 clips, with columns ``clip``, ``label`` and ``sentence``."""
    return pd.DataFrame(
        {
            "clip": f"{speaker:04d}_{place * _SENTENCES + sentence:06d}",
            "label": label,
            "sentence": f"{'en' if speaker >= _FIRST_ENGLISH else 'zh'}-{sentence:03d}",
        }
        for speaker in range(1, _SPEAKERS + 1)
        for place, label in enumerate(_EMOTIONS)
        for sentence in range(1, _SENTENCES + 1)
    )
