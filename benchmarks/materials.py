"""What both sides work on: the same real clips, and models of real size whose weights are random where speed is all."""

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
    """Some clips of the corpus: as files, and the index of each one's label."""

    files: tuple[ClipFile, ...]
    targets: NDArray[np.intp]

    @property
    def paths(self) -> list[Path]:
        """Where they lie."""
        return [Path(file.path) for file in self.files]

    def samples(self) -> list[NDArray[np.float32]]:
        """Their samples at 16 kHz."""
        return [Audio.from_file(path).samples for path in self.paths]

    def first(self, count: int) -> Clips:
        """The first ``count`` of them."""
        return Clips(self.files[:count], self.targets[:count])

    def __len__(self) -> int:
        return len(self.files)


@functools.cache
def corpus() -> Corpus:
    """CREMA-D where it is found (``SERLAB_DATA`` or the usual places), else the synthetic corpus."""
    try:
        return load_corpus("crema-d")
    except SerlabError as error:
        say(f"{error} The synthetic corpus stands in for it, and the results say so.")
        return load_corpus("synthetic")


def described() -> dict[str, str]:
    """The corpus in a result's settings."""
    return {"corpus": corpus().name, "copy": corpus().copy}


def notes() -> list[str]:
    """What has to be said where the clips are not real speech."""
    return ["Synthetic speech: CREMA-D was not found."] if corpus().synthetic else []


@functools.cache
def _shuffled() -> pd.DataFrame:
    whole = corpus()
    table = whole.clips
    usable = table[(table["path"] != "") & (table["duration"] > 0) & ~table["clip"].isin(list(whole.faults))]
    return usable.sample(frac=1, random_state=0).reset_index(drop=True)


def clips(count: int, part: int = 0) -> Clips:
    """The ``part``-th ``count`` clips of the corpus in a fixed random order; beyond its end it begins again."""
    table = _shuffled()
    rows = table.iloc[np.arange(part * count, (part + 1) * count) % len(table)]
    files = tuple(map(ClipFile, rows["clip"], rows["path"], rows["duration"].astype(float), rows["sha256"]))
    index = {label: number for number, label in enumerate(corpus().labels)}
    return Clips(files, np.asarray(rows["label"].map(index), np.intp))


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the cache's disk that is gone afterwards."""
    home = cache_folder() / "benchmarks"
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix="work-") as folder:
        yield Path(folder)


@contextmanager
def empty_cache() -> Iterator[None]:
    """Let serlab find an empty cache, and leave nothing in the user's."""
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
    """A folder in the format of facebook/wav2vec2-base with a six-label head; its weights are random."""
    hf = transformers()

    def make(folder: Path) -> None:
        # transformers' defaults are wav2vec2-base; the published checkpoint drops no layers.
        config = hf.Wav2Vec2Config(layerdrop=0.0, **(W2V2_TOY if size.tiny else {}), **_labels())
        hf.Wav2Vec2ForSequenceClassification(config).save_pretrained(folder)
        hf.Wav2Vec2FeatureExtractor(return_attention_mask=False, do_normalize=True).save_pretrained(folder)

    return _made("wav2vec2-base-toy" if size.tiny else "wav2vec2-base-random", make)


def whisper_base(size: Size) -> tuple[Path, str]:
    """Folder of Whisper-base, and what it is: the real one where ``SERLAB_MODELS`` has it, else a random one."""
    from serlab.approaches.weights import VARIABLE, find

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
    """A folder of the preset wav2vec2-tiny with random weights, which plain transformers can read too."""
    from serlab.approaches import encoder
    from serlab.recipes import EncoderModel, load_recipe

    def make(folder: Path) -> None:
        model = load_recipe("wav2vec2-tiny").model
        assert isinstance(model, EncoderModel)
        folder.mkdir(parents=True, exist_ok=True)
        encoder.from_scratch(model, LABELS).save_weights(folder)

    return _made("wav2vec2-tiny-random", make)


def transformers() -> Any:
    """The package, whose annotations do not hold."""
    import transformers

    return transformers


def _labels() -> dict[str, Any]:
    return {"id2label": dict(enumerate(LABELS)), "label2id": {label: i for i, label in enumerate(LABELS)}}


def _made(name: str, make: Callable[[Path], None]) -> Path:
    """The folder ``name`` of the cache, made by ``make`` if it is not there; whole or not at all."""
    import torch

    from serlab.approaches.weights import quiet
    from serlab.training.trainer import own_randomness

    folder = cache_folder() / "benchmarks" / name
    if not (folder / "config.json").is_file():
        say(f"making {name} with random weights, once")
        with scratch() as place, own_randomness(0), quiet(), torch.device("cpu"):
            make(place / name)
            shutil.rmtree(folder, ignore_errors=True)
            (place / name).replace(folder)
    return folder
