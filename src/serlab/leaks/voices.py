"""Find speaker names that share a voice (SL010), if a speaker encoder is installed.

The encoder is a transformers checkpoint for speaker verification (x-vectors), by default
WavLM-base-plus-sv. A speaker is the mean of the unit vectors of a few clips. Two speakers are
reported if their cosine similarity reaches the threshold given in the checkpoint's model card.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serlab.audio import SAMPLE_RATE, Audio
from serlab.core import SerlabError
from serlab.corpora.base import Corpus
from serlab.leaks.findings import Finding

CHECKPOINT = "microsoft/wavlm-base-plus-sv"
ALIKE = 0.86
_CLIPS, _SHORTEST_S = 5, 1.0


def check_voices(corpus: Corpus, usable: set[str], checkpoint: str = CHECKPOINT, alike: float = ALIKE) -> list[Finding]:
    """Compare the voices of all speakers.

    Args:
        corpus: the corpus.
        usable: ids of clips that can be read.
        checkpoint: the speaker encoder. It is never downloaded.
        alike: minimum cosine similarity of two voices that count as one.
    """
    if not corpus.speakers_known:
        return [Finding("SL010", "not applicable", "The corpus does not name the speaker of each clip.")]
    try:
        encoder = _encoder(checkpoint)
    except SerlabError as error:
        return [Finding("SL010", "not applicable", f"The speaker encoder cannot be used: {error}")]
    if encoder is None:
        return [Finding("SL010", "not applicable", f"No speaker encoder is installed ({checkpoint}).")]
    long_enough = corpus.clips["clip"].isin(usable) & (corpus.clips["duration"] >= _SHORTEST_S)
    clips = corpus.clips[long_enough].groupby("speaker").head(_CLIPS)
    voices = {
        str(speaker): _unit(np.mean([_unit(encoder(Path(path))) for path in group["path"]], axis=0))
        for speaker, group in clips.groupby("speaker")
    }
    pairs = [pair for pair in combinations(sorted(voices), 2) if float(voices[pair[0]] @ voices[pair[1]]) >= alike]
    if not pairs:
        return []
    text = f"{len(pairs)} pairs of speakers sound like one person; the first is {pairs[0][0]} and {pairs[0][1]}."
    return [Finding("SL010", "note", text, pairs=tuple(pairs))]


def _encoder(checkpoint: str) -> Any:
    """A function from a file to its x-vector, or None if the checkpoint is not on this machine."""
    from serlab.checkpoints import weights

    try:
        folder = weights.find(checkpoint, fetch=False)
    except SerlabError:
        return None
    import torch
    from transformers import MODEL_FOR_AUDIO_XVECTOR_MAPPING

    from serlab.checkpoints import preprocessor, stored
    from serlab.checkpoints.building import build, read_config

    with weights.loading(folder):
        kinds = {kind.model_type for kind in MODEL_FOR_AUDIO_XVECTOR_MAPPING} & preprocessor.FAMILIES.keys()
        config = read_config(folder, kinds, "a speaker encoder")
        fields = preprocessor.read(folder, config)
        model = build(folder, config, MODEL_FOR_AUDIO_XVECTOR_MAPPING, stored.read(folder), fields={})
        extractor = preprocessor.extractor(config["model_type"], fields)

    def embed(path: Path) -> NDArray[np.float64]:
        inputs = extractor(Audio.from_file(path).samples, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        with torch.inference_mode():
            vector: NDArray[np.float64] = model(**inputs).embeddings[0].double().numpy()
        return vector

    return embed


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return unit
