import numpy as np
import pytest

from serlab.evaluation.counts import SpeakerCounts


def counts_of(matrices, folds: int = 1) -> SpeakerCounts:
    """SpeakerCounts from matrices of shape (seeds, speakers, K, K), the speakers in blocks of folds."""
    matrices = np.asarray(matrices, np.int64)
    seeds, speakers, classes, _ = matrices.shape
    return SpeakerCounts(
        labels=tuple("abcdefgh"[:classes]),
        speakers=tuple(f"s{number:03d}" for number in range(speakers)),
        folds=tuple(range(1, folds + 1)),
        seeds=tuple(range(seeds)),
        matrices=matrices,
        speaker=np.arange(speakers),
        fold=np.arange(speakers) * folds // speakers,
    )


@pytest.fixture(name="counts_of")
def _counts_of():
    return counts_of
