"""Inputs for both sides: the same real clips, and models of real size with random weights."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.harness import Size
from serlab.audio import Audio
from serlab.core import SerlabError
from serlab.core.files import CACHE_VARIABLE, cache_folder
from serlab.core.progress import say
from serlab.corpora import Corpus, descriptions, load_corpus
from serlab.frontends.store import ClipFile

LABELS = descriptions()["synthetic"].labels
W2V2_TOY = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "classifier_proj_size": 16,
}
WHISPER_BASE = {"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048}
WHISPER_TOY = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}


@dataclass(frozen=True)
class Clips:
    """Clips of the corpus: files and label indices."""

    files: tuple[ClipFile, ...]
    targets: NDArray[np.intp]

    @property
    def paths(self) -> list[Path]:
        """Paths of the clips."""
        return [Path(file.path) for file in self.files]

    def samples(self) -> list[NDArray[np.float32]]:
        """Samples of the clips at 16 kHz."""
        return [Audio.from_file(path).samples for path in self.paths]

    def first(self, count: int) -> Clips:
        """Return the first ``count`` clips."""
        return Clips(self.files[:count], self.targets[:count])

    def __len__(self) -> int:
        return len(self.files)


@functools.cache
def corpus() -> Corpus:
    """Load CREMA-D if available (``SERLAB_DATA`` or the usual places), else the synthetic corpus."""
    try:
        return load_corpus("crema-d")
    except SerlabError as error:
        say(f"{error} The synthetic corpus stands in for it, and the results say so.")
        return load_corpus("synthetic")


def described() -> dict[str, str]:
    """Return the corpus for a result's settings."""
    return {"corpus": corpus().name, "copy": corpus().copy}


def notes() -> list[str]:
    """Return a note if the clips are not real speech."""
    return ["Synthetic speech: CREMA-D was not found."] if corpus().synthetic else []


@functools.cache
def _shuffled() -> pd.DataFrame:
    whole = corpus()
    table = whole.clips
    usable = table[(table["path"] != "") & (table["duration"] > 0) & ~table["clip"].isin(list(whole.faults))]
    return usable.sample(frac=1, random_state=0).reset_index(drop=True)


def clips(count: int, part: int = 0) -> Clips:
    """Return the ``part``-th block of ``count`` clips in a fixed random order, cyclically."""
    table = _shuffled()
    rows = table.iloc[np.arange(part * count, (part + 1) * count) % len(table)]
    files = tuple(map(ClipFile, rows["clip"], rows["path"], rows["duration"].astype(float), rows["sha256"]))
    index = {label: number for number, label in enumerate(corpus().labels)}
    return Clips(files, np.asarray(rows["label"].map(index), np.intp))


@contextmanager
def scratch() -> Iterator[Path]:
    """Create a temporary folder on the cache's disk."""
    home = cache_folder() / "benchmarks"
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix="work-") as folder:
        yield Path(folder)


@contextmanager
def empty_cache() -> Iterator[None]:
    """Give serlab an empty temporary cache."""
    before = os.environ.get(CACHE_VARIABLE)
    with scratch() as folder:
        os.environ[CACHE_VARIABLE] = str(folder)
        try:
            yield
        finally:
            if before is None:
                del os.environ[CACHE_VARIABLE]
            else:
                os.environ[CACHE_VARIABLE] = before


def wav2vec2_base(size: Size) -> Path:
    """Return a folder in the format of facebook/wav2vec2-base with random weights and a six-label head."""
    hf = transformers()

    def make(folder: Path) -> None:
        # transformers' defaults are those of wav2vec2-base, but the published checkpoint has no
        # LayerDrop.
        config = hf.Wav2Vec2Config(layerdrop=0.0, **(W2V2_TOY if size.tiny else {}), **_labels())
        hf.Wav2Vec2ForSequenceClassification(config).save_pretrained(folder)
        hf.Wav2Vec2FeatureExtractor(return_attention_mask=False, do_normalize=True).save_pretrained(folder)

    return _made("wav2vec2-base-toy" if size.tiny else "wav2vec2-base-random", make)


def whisper_base(size: Size) -> tuple[Path, str]:
    """Return a folder of Whisper-base and its description: the real one from ``SERLAB_MODELS``, else a random one."""
    from serlab.checkpoints.weights import VARIABLE, find

    hf = transformers()
    if not size.tiny and os.environ.get(VARIABLE):
        try:
            return find("openai/whisper-base"), "openai/whisper-base, real weights"
        except SerlabError as error:
            say(f"{error} Random weights of the same size stand in for it, and the result says so.")

    def make(folder: Path) -> None:
        config = hf.WhisperConfig(
            **(WHISPER_TOY if size.tiny else WHISPER_BASE), use_weighted_layer_sum=True, decoder_layers=1, **_labels()
        )
        hf.WhisperForAudioClassification(config).save_pretrained(folder)
        hf.WhisperFeatureExtractor().save_pretrained(folder)

    name = "whisper-base-toy" if size.tiny else "whisper-base-random"
    return _made(name, make), f"{name}: whisper-base's configuration, random weights"


def small_model() -> Path:
    """Return a folder of the preset wav2vec2-tiny with random weights that plain transformers can read."""
    from serlab.approaches.encoder import Settings
    from serlab.approaches.encoder.network import from_scratch
    from serlab.recipes import load_recipe

    def make(folder: Path) -> None:
        model = load_recipe("wav2vec2-tiny").model
        assert isinstance(model, Settings)
        folder.mkdir(parents=True, exist_ok=True)
        from_scratch(model, LABELS).save_weights(folder)

    return _made("wav2vec2-tiny-random", make)


def transformers() -> Any:
    """Import transformers without its incorrect annotations."""
    import transformers

    return transformers


def _labels() -> dict[str, Any]:
    return {"id2label": dict(enumerate(LABELS)), "label2id": {label: i for i, label in enumerate(LABELS)}}


def _made(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder ``name`` of the cache; ``make`` creates it atomically if needed."""
    import torch

    from serlab.checkpoints.weights import quiet
    from serlab.training.loop import own_randomness

    folder = cache_folder() / "benchmarks" / name
    if not (folder / "config.json").is_file():
        say(f"making {name} with random weights, once")
        with scratch() as place, own_randomness(0), quiet(), torch.device("cpu"):
            make(place / name)
            shutil.rmtree(folder, ignore_errors=True)
            (place / name).replace(folder)
    return folder
