"""The rows: each gives the work done by serlab and the same work done by what a user would use instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

Work = Callable[[], object]
CLIPS = 60


def clips() -> list[np.ndarray]:
    """Samples of synthetic speech, 0.9 to 1.9 s each."""
    from serlab.audio import read
    from serlab.corpora import load_corpus

    paths = load_corpus("synthetic").clips["path"]
    return [read(Path(path)) for path in paths[:: len(paths) // CLIPS][:CLIPS]]


def log_mel() -> tuple[Work, Work, str]:
    """Log-mel of clips, against a loop over librosa."""
    import librosa

    from serlab.frontends.logmel import LogMel
    from serlab.recipes import LogMelSettings

    sounds, s = clips(), LogMelSettings()
    frontend = LogMel(s)

    def peer() -> object:
        options = {"n_fft": s.n_fft, "hop_length": s.hop, "n_mels": s.bands, "fmin": s.low, "fmax": s.high}
        return [
            librosa.power_to_db(librosa.feature.melspectrogram(y=x, sr=16000, **options), top_db=None) for x in sounds
        ]

    return lambda: [frontend(x) for x in sounds], peer, "librosa loop"


def bootstrap() -> tuple[Work, Work, str]:
    """10,000 replicates of three scores of 1,500 clips of 20 speakers, against 100 of scipy over clips."""
    from scipy.stats import bootstrap as resample
    from sklearn.metrics import recall_score

    from serlab.evaluation.bootstrap import intervals
    from serlab.evaluation.metrics import confusion

    random = np.random.default_rng(0)
    truth, said, speaker = (random.integers(0, n, 1500) for n in (6, 6, 20))

    def ours() -> object:
        return intervals(confusion(truth, said, 6, group=speaker, groups=20)[None], speakers_known=True)

    def peer() -> object:
        def uar(rows: np.ndarray) -> float:
            return float(recall_score(truth[rows], said[rows], average="macro"))

        rows = (np.arange(1500),)
        return resample(rows, uar, n_resamples=100, vectorized=False, method="percentile", random_state=0)

    return ours, peer, "scipy over clips, a hundredth of the replicates"


def predict() -> tuple[Work, Work, str]:
    """Scores of a small random wav2vec2 in fp32, against transformers' forward pass clip by clip."""
    import torch

    from serlab.models import encoder
    from serlab.models.network import score
    from serlab.recipes import EncoderModel, load_recipe

    model = load_recipe("wav2vec2-tiny").model
    assert isinstance(model, EncoderModel)
    network = encoder.from_scratch(model, tuple("abcdef")).eval()
    sounds = clips()

    def peer() -> object:
        with torch.no_grad():
            return [network.hf(torch.from_numpy(network.frontend(x))[None]).logits for x in sounds]

    return lambda: score(network, [network.frontend(x) for x in sounds], "fp32"), peer, "transformers, one by one"


ROWS = {"log-mel": log_mel, "bootstrap": bootstrap, "predict": predict}
