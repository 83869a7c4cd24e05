"""The rows of the table: work, alternative and goals. Goals are never asserted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Figure = Literal["ratio", "ratio_bf16", "seconds", "share", "memory"]
"""Kinds of goals: speedup over the peer, and over the peer in bf16, seconds of the work, share of the machine's peak,
ratio of peaks."""

AT_LEAST: dict[Figure, bool] = {"ratio": True, "ratio_bf16": True, "seconds": False, "share": True, "memory": False}
UNITS: dict[Figure, str] = {
    "ratio": "x",
    "ratio_bf16": "x the peer in bf16",
    "seconds": " s",
    "share": " %",
    "memory": "x",
}


@dataclass(frozen=True)
class Goal:
    """Goal and stretch goal of a value."""

    figure: Figure
    goal: float
    stretch: float | None = None

    def met(self, value: float, mark: float | None = None) -> bool:
        """Return whether ``value`` reaches ``mark`` (the goal by default)."""
        target = self.goal if mark is None else mark
        return value >= target if AT_LEAST[self.figure] else value <= target


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: name in ``make bench ROW=name``.
        work: serlab's work.
        peer: the alternative.
        measure: ``module:function`` that measures this row and others with the same peer.
        goals: goals; empty for a row without any.
        with_amx: goals on processors with AMX, where they differ.
        needs: rows that this one is computed from.
        extrapolated: whether it is computed from measured seconds.
        full_only: whether it takes too long for a quick pass.
    """

    name: str
    work: str
    peer: str
    measure: str
    goals: tuple[Goal, ...] = ()
    with_amx: tuple[Goal, ...] = ()
    needs: tuple[str, ...] = ()
    extrapolated: bool = False
    full_only: bool = False

    def goals_on(self, kind: str) -> tuple[Goal, ...]:
        """Goals on a kind of processor, as :func:`benchmarks.harness.kind_of` names it."""
        return self.with_amx if self.with_amx and "amx" in kind else self.goals


_LOOP = "example-style loop: random batches, padded to the longest, fp32, encoder computed again"
_PIPELINE = "transformers' pipeline in fp32, its best batch size"
_TRAIN, _PREDICT, _SCAN = "benchmarks.encoders:measure", "benchmarks.prediction:measure", "benchmarks.scanning:measure"
_DESCRIBED, _EPOCHS = "benchmarks.scanning:measure_described", "benchmarks.encoders:extrapolate"


def _speed(goal: float, stretch: float | None = None, bf16: tuple[float, float] | None = None) -> tuple[Goal, ...]:
    beside = (Goal("ratio_bf16", *bf16),) if bf16 else ()
    return (Goal("ratio", goal, stretch), *beside)


_ROWS = (
    Row("w2v2-train-all", "wav2vec2-base training, all layers", _LOOP, _TRAIN, _speed(2.1), _speed(4.5, 6)),
    Row(
        "w2v2-train-top4",
        "wav2vec2-base training, top 4 layers on cached lower ones",
        _LOOP,
        _TRAIN,
        _speed(6.8),
        _speed(10, 15),
    ),
    Row(
        "w2v2-train-convolutions",
        "wav2vec2-base training, all layers and the convolutional encoder",
        "the same loop, convolutions trained",
        "benchmarks.encoders:convolutions",
        _speed(1),
        _speed(3),
    ),
    Row(
        "w2v2-five-epochs-all",
        "five epochs with filling the cache, all layers",
        _LOOP,
        _EPOCHS,
        _speed(2.3, 3),
        needs=("w2v2-train-all",),
        extrapolated=True,
    ),
    Row(
        "w2v2-five-epochs-top4",
        "five epochs with filling the cache, top 4 layers",
        _LOOP,
        _EPOCHS,
        _speed(4.5, 6),
        needs=("w2v2-train-top4",),
        extrapolated=True,
    ),
    Row(
        "whisper-train",
        "whisper-base fine-tuning, all layers, on the clip's own length",
        "transformers' 30 s path, fp32",
        "benchmarks.whisper:measure",
        _speed(23),
        _speed(50, 70),
    ),
    Row(
        "whisper-probe-cold",
        "features of whisper-base-probe from files, empty cache",
        "transformers' extractor and encoder on 30 s, clip by clip, fp32",
        "benchmarks.whisper:probe",
        _speed(15),
        _speed(40),
    ),
    Row(
        "w2v2-predict-fp32",
        "prediction of files, wav2vec2-base, fp32",
        _PIPELINE,
        _PREDICT,
        _speed(1.1),
        _speed(1.1, 1.2),
    ),
    Row(
        "w2v2-predict-bf16",
        "prediction of files, wav2vec2-base, bf16",
        _PIPELINE,
        _PREDICT,
        _speed(1.1),
        _speed(3.5, 4.5, bf16=(1.6, 2)),
    ),
    Row("w2v2-predict-int8", "prediction of files, wav2vec2-base, int8", _PIPELINE, _PREDICT, _speed(2), _speed(4, 6)),
    Row(
        "matrix-peak",
        "share of the bf16 matrix peak reached by the prediction of files in bf16",
        "torch.mm of large squares",
        _PREDICT,
        (Goal("share", 57, 65),),
    ),
    Row(
        "resnet18-train",
        "resnet18 training",
        "fp32 loop, librosa's log-mel computed again",
        "benchmarks.resnet:measure",
        _speed(1.34),
        _speed(3, 4),
    ),
    Row("log-mel", "log-mel of clips", "librosa loop", "benchmarks.features:measure", _speed(3, 6)),
    Row(
        "bootstrap",
        "10,000 replicates of the speaker bootstrap, 3 recipes, 3 seeds",
        "scipy.stats.bootstrap over clips of one seed, scikit-learn's recall",
        "benchmarks.resampling:measure",
        (Goal("seconds", 1), Goal("ratio", 100)),
    ),
    Row("corpus-scan-first", "scan of the corpus, first", "pandas + soundfile loop", _SCAN, (Goal("seconds", 2),)),
    Row("corpus-scan-again", "scan of the corpus, again", "pandas + soundfile loop", _SCAN, (Goal("seconds", 0.3),)),
    Row(
        "described-first",
        "10,000 clips of one second by a description, first",
        "pandas + soundfile loop",
        _DESCRIBED,
        (Goal("seconds", 6),),
    ),
    Row(
        "described-again",
        "10,000 clips of one second by a description, again",
        "pandas + soundfile loop",
        _DESCRIBED,
        (Goal("seconds", 0.3),),
    ),
    Row(
        "predict-memory",
        "peak memory of serlab predict over 100,000 short clips",
        "the same over 10,000",
        "benchmarks.memory:measure",
        (Goal("memory", 1.1),),
        full_only=True,
    ),
    Row(
        "predict-array",
        "prediction of one clip in memory after the other, wav2vec2-base, fp32",
        "transformers' pipeline in fp32, one clip at a time",
        "benchmarks.using:arrays",
        _speed(1.0),
    ),
    Row(
        "predict-long",
        "segments of a long recording, wav2vec2-base, Silero VAD",
        "real time",
        "benchmarks.using:recording",
        _speed(1.0),
    ),
    Row(
        "stream",
        "live sound, from a segment's last sample to the segment, wav2vec2-base, Silero VAD",
        "none",
        "benchmarks.using:live",
        (Goal("seconds", 1),),
    ),
    Row(
        "long-memory",
        "peak memory of serlab predict on one hour",
        "the same on one minute",
        "benchmarks.using:memory",
        (Goal("memory", 1.1),),
    ),
    Row("growth", "cost a clip as clips get more and longer", "itself", "benchmarks.growth:measure"),
)

ROWS = {row.name: row for row in _ROWS}
