from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import pytest
import soundfile
from fuzz.materials import RECIPES

if TYPE_CHECKING:
    from serlab.experiments.compare import Comparison

MakeTone = Callable[..., Path]

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad")
TINY_LABELS = ("calm", "happy", "sad")
TINY_SPEAKERS = 6
TINY_TAKES = 3
TINY_RECIPES = {"tiny-resnet": RECIPES["resnet"], "tiny-wav2vec2": RECIPES["encoder"]}


def pytest_configure() -> None:
    """Disable hypothesis deadlines, and keep commands interruptible in background scripts."""
    hypothesis.settings.register_profile("untimed", deadline=None)
    hypothesis.settings.load_profile("untimed")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def figures_as_svg_alone() -> Iterator[None]:
    """Skip PDFs and PNGs, whose fonts take seconds, in reports that tests don't look at."""
    from serlab.report import render, svg

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "exports", lambda drawing: {"svg": svg.export_svg(drawing)})
        yield


@pytest.fixture(autouse=True, scope="session")
def shown() -> None:
    """Print serlab's messages like the command line, so that tests can read them."""
    from serlab.core import progress

    progress.show()


@dataclass(frozen=True)
class Ended:
    """The result of a command: exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The error, a single line."""
        lines = [line for line in self.err.splitlines() if line.startswith("serlab: ")]
        assert len(lines) == 1, self.err
        assert self.err.splitlines()[-1] == lines[0], self.err
        assert "Traceback" not in self.err
        assert lines[0].endswith("."), lines[0]
        return lines[0].removeprefix("serlab: ")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Use an empty cache folder for the tests and the commands that they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERLAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@contextmanager
def single_thread() -> Iterator[None]:
    """Compute on one thread, which is faster for networks this small."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Like ``single_thread``, for one test."""
    with single_thread():
        yield


@pytest.fixture
def serlab(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a command line in this process like the installed script."""
    from serlab.cli import main

    def call(*arguments: object) -> Ended:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["serlab", *map(str, arguments)])
        for module, name in ((sys, "excepthook"), (sys, "unraisablehook"), (warnings, "showwarning")):
            # Settings that the command makes for its process are undone after the test.
            monkeypatch.setattr(module, name, getattr(module, name))
        handler = signal.getsignal(signal.SIGINT)
        with pytest.raises(SystemExit) as ended:
            main()
        signal.signal(signal.SIGINT, handler)
        out, err = capfd.readouterr()
        return Ended(int(ended.value.code or 0), out, err)

    return call


@pytest.fixture
def start_serlab() -> Callable[..., subprocess.Popen[str]]:
    """Start a command line in a separate process, on one thread."""

    def start(*arguments: object, env: dict[str, str] | None = None, **how: Any) -> subprocess.Popen[str]:
        line = [sys.executable, "-c", "from serlab.cli import main; main()", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
        return subprocess.Popen(line, text=True, env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}, **pipes)

    return start


@pytest.fixture
def serlab_process(start_serlab: Callable[..., subprocess.Popen[str]]) -> Callable[..., Ended]:
    """Run a command line in a separate process to its end."""

    def call(*arguments: object, **how: Any) -> Ended:
        process = start_serlab(*arguments, **how)
        out, err = process.communicate(timeout=300)
        return Ended(process.returncode, out or "", err)

    return call


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Table of a corpus of noisy tones whose pitch determines the label: 3 labels x 6 speakers x 3 takes."""
    return write_tiny_corpus(tmp_path_factory.mktemp("tiny"))


def write_tiny_corpus(folder: Path) -> Path:
    """Write the tiny corpus into ``folder``; return the path of its table, ``tiny.csv``."""
    random = np.random.default_rng(0)
    rows = []
    for hertz, label in zip((150, 500, 1500), TINY_LABELS, strict=True):
        for speaker in range(TINY_SPEAKERS):
            for take in range(TINY_TAKES):
                time = np.arange(round((0.3 + 0.1 * take) * 16000)) / 16000
                wave = 0.3 * np.sin(2 * np.pi * hertz * (1 + 0.04 * speaker) * time)
                name = f"s{speaker}_{label}_{take}.wav"
                soundfile.write(folder / name, wave + 0.02 * random.standard_normal(len(time)), 16000)
                rows.append({"path": name, "label": label, "speaker": f"s{speaker}"})
    table = folder / "tiny.csv"
    write_csv(table, rows)
    return table


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    """Write rows as CSV."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="session")
def tiny_recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Recipes that train in seconds: paths of ``tiny-resnet`` and ``tiny-wav2vec2`` by name."""
    folder = tmp_path_factory.mktemp("recipes")
    paths = {name: folder / f"{name}.yaml" for name in TINY_RECIPES}
    for name, path in paths.items():
        path.write_text(TINY_RECIPES[name], encoding="utf-8")
    return {name: str(path) for name, path in paths.items()}


@pytest.fixture(scope="session")
def tiny_comparison(
    tiny_corpus: Path, tiny_recipes: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Comparison:
    """A comparison of both tiny networks and an SVM on fold 1 of ``speaker-2`` with kept models; read-only."""
    from serlab.experiments.compare import compare

    recipes = [*tiny_recipes.values(), "mfcc-svm"]
    out = tmp_path_factory.mktemp("runs")
    with single_thread():
        return compare(str(tiny_corpus), recipes, protocol="speaker-2", folds=[1], out=out, keep_models=True)


@pytest.fixture
def compare(tiny_corpus: Path, tmp_path: Path, one_thread: None) -> Callable[..., Comparison]:
    """Compare quickly on the tiny corpus: by default an SVM on fold 1 of two."""

    from serlab.experiments.compare import compare as run

    def call(*recipes: Any, corpus: Path = tiny_corpus, out: Path = tmp_path / "out", **how: Any) -> Comparison:
        how = {"protocol": "speaker-2", "folds": [1], **how}
        return run(str(corpus), recipes or ["mfcc-svm"], out=out, **how)

    return call


@pytest.fixture(scope="session")
def tiny_models(tiny_comparison: Comparison) -> dict[str, Path]:
    """Model folders of ``tiny_comparison`` by recipe; read-only."""
    return dict(zip(("tiny-resnet", "tiny-wav2vec2", "mfcc-svm"), tiny_comparison.models, strict=True))


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random, tiny encoder in the format of facebook/wav2vec2-base: group norm, no head."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForPreTraining

    torch.manual_seed(0)
    config = Wav2Vec2Config(
        conv_dim=[8, 8], conv_kernel=[10, 8], conv_stride=[40, 8], num_feat_extract_layers=2,
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
        codevector_dim=8, proj_codevector_dim=8, num_codevectors_per_group=4,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("checkpoints") / "wav2vec2-tiny-random"
    Wav2Vec2ForPreTraining(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Whisper of 3 encoder layers, with positions for 2 s."""
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForAudioClassification

    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=16, encoder_layers=3, encoder_attention_heads=2, encoder_ffn_dim=32, decoder_layers=1,
        decoder_attention_heads=2, decoder_ffn_dim=32, num_mel_bins=80, max_source_positions=100, init_std=0.2,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("checkpoints") / "whisper-random"
    WhisperForAudioClassification(config).save_pretrained(folder)
    WhisperFeatureExtractor(chunk_length=2).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 20 sounds of 0.5 to 1.5 s, and one of silence."""
    folder = tmp_path_factory.mktemp("sounds") / "speech"
    random = np.random.default_rng(0)
    for number in range(20):
        time = np.arange(8000 + 800 * number) / 16000
        pitch = 100 * 1.2**number * (1 + 0.2 * np.sin(2 * np.pi * 3 * time))
        wave = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / 16000) + 0.02 * random.standard_normal(len(time))
        path = folder / f"s{number % 4}" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave, 16000)
    soundfile.write(folder / "silence.wav", np.zeros(16000), 16000)
    return folder


@pytest.fixture(scope="session")
def cremad_root() -> Path:
    """Folder of the development copy of CREMA-D beside the repository."""
    root = Path(__file__).resolve().parents[2] / "shared" / "data" / "crema-d"
    if not root.is_dir():
        pytest.skip("the development copy of CREMA-D is not beside the repository")
    return root


@pytest.fixture
def make_tone() -> MakeTone:
    """Write a tone to a file, by default 0.5 s at 16 kHz, mono."""

    def make(
        path: Path, *, seconds: float = 0.5, rate: int = 16000, channels: int = 1, hz: float = 220.0, **how
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = 0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)
        # Write in blocks: libsndfile overflows its stack on a long Vorbis stream.
        with soundfile.SoundFile(path, "w", rate, channels, **how) as sound:
            for start in range(0, len(wave), 16384):
                sound.write(np.repeat(wave[start : start + 16384, None], channels, axis=1))
        return path

    return make
