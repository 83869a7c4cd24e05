import numpy as np
import pytest

from serlab.corpora import load_corpus
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


@pytest.fixture(scope="session")
def cremad_clips(cremad_root, tmp_path_factory):
    """The corpus's table from a copy with a single clip: the list of clips and the votes are whole all the same."""
    root = tmp_path_factory.mktemp("crema-d")
    for name in ("AudioWAV/1001_DFA_ANG_XX.flac", "processedResults/tabulatedVotes.csv"):
        (root / name).parent.mkdir()
        (root / name).symlink_to(cremad_root / name)
    return load_corpus("crema-d", data=root).clips
