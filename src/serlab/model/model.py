"""The class of trained models: from paths, arrays or lists of them to predictions."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from serlab.approaches.base import Fitted
from serlab.audio import AudioStream
from serlab.checkpoints.hub import located
from serlab.core import UserError
from serlab.core.precision import on_device
from serlab.evaluation.reliance import Reliance
from serlab.model import folder as folders
from serlab.model.card import LIMITS
from serlab.model.prediction import Prediction
from serlab.model.schema import FILE, Content
from serlab.model.scoring import Scorer
from serlab.model.segments import Answered, Segment, Segmenting, SegmentOptions, Summary
from serlab.model.sounds import Sound
from serlab.model.stream import Stream


@dataclass(frozen=True)
class QuotedUar:
    """Unweighted average recall of models with the same recipe, each tested on clips that it was not trained on.

    Attributes:
        value: the UAR, 0 to 1.
        low, high: 95 % interval; None if there are too few speakers.
        clips, speakers: what it was measured on; speakers are None if unknown.
        protocol: how the corpus was split.
        speaker_disjoint: whether the speakers of the test clips were unseen in training; None if
            unknown.
    """

    value: float
    low: float | None
    high: float | None
    clips: int
    speakers: int | None
    protocol: str
    speaker_disjoint: bool | None

    @classmethod
    def of(cls, quoted: dict[str, Any]) -> QuotedUar:
        """Create it from the quotation in a signature."""
        others = ("low", "high", "clips", "speakers", "protocol", "speaker_disjoint")
        return cls(value=quoted["uar"], **{name: quoted[name] for name in others})


@dataclass(frozen=True)
class ModelInfo:
    """Information about a model; only ``limits`` for a checkpoint that serlab did not train.

    Attributes:
        recipe, recipe_hash: the recipe.
        corpus: the corpus it was trained on.
        protocol: how the corpus was split; ``everyone`` if the model was trained on all clips.
        fold, seed: of the training run; no fold for ``everyone``.
        trained_in: precision of training.
        uar: tested UAR, if the folder quotes one.
        licence, citation: of the corpus.
        limits: what the model must not be used for.
        serlab: version that trained the model.
    """

    recipe: str | None = None
    recipe_hash: str | None = None
    corpus: str | None = None
    protocol: str | None = None
    fold: int | None = None
    seed: int | None = None
    trained_in: str | None = None
    uar: QuotedUar | None = None
    licence: str | None = None
    citation: str | None = None
    limits: str = LIMITS
    serlab: str | None = None

    @classmethod
    def of(cls, signature: dict[str, Any]) -> ModelInfo:
        """Gather it from the signature of the training run."""
        recipe, corpus, protocol = signature["recipe"], signature["corpus"], signature["protocol"]["name"]
        quoted = signature["identity"].get("quoted")
        return cls(
            recipe=recipe["name"],
            recipe_hash=recipe["hash"],
            corpus=corpus["name"],
            protocol=protocol,
            fold=None if "fixed" in signature["identity"] else signature["fold"],
            seed=signature["seed"],
            trained_in=signature["precision"],
            uar=None if quoted is None else QuotedUar.of(quoted),
            licence=corpus["licence"],
            citation=corpus["citation"],
            serlab=signature["serlab"],
        )


class Model:
    """A trained model; returned by :func:`load_model` and :func:`serlab.train`.

    A prediction only depends on its clip, not on the form of the input. Several threads may use one
    model; they compute in turns.

    Attributes:
        folder: the model folder.
        labels: names of the emotions, in the order of the probabilities.
        precision: of predictions, unless a call sets another one.
    """

    def __init__(self, folder: Path | str, *, precision: str = "auto", device: str | None = None) -> None:
        self.folder = Path(folder)
        self._precision, self._device = precision, device
        self._loading = threading.Lock()
        self._loaded: dict[tuple[str, str | None], Fitted] = {}
        fitted = self._fitted(precision, device)
        self.labels, self.precision = fitted.labels, fitted.precision

    @cached_property
    def info(self) -> ModelInfo:
        """What the model was trained on, how well it was tested, and its limits.

        Raises:
            UserError: the folder is damaged.
        """
        if not (self.folder / FILE).is_file():
            return ModelInfo()
        try:
            return ModelInfo.of(Content.read(self.folder).signature)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{self.folder} is damaged: its {FILE} is incomplete.") from error

    def __repr__(self) -> str:
        return f"Model({str(self.folder)!r}, labels={', '.join(self.labels)}, precision={self.precision})"

    @overload
    def predict(
        self,
        x: list[Any] | tuple[Any, ...],
        sample_rate: int | None = None,
        *,
        abstain: float | None = None,
        precision: str | None = None,
        device: str | None = None,
        **how: Unpack[SegmentOptions],
    ) -> list[Prediction]: ...

    @overload
    def predict(
        self,
        x: Sound,
        sample_rate: int | None = None,
        *,
        abstain: float | None = None,
        precision: str | None = None,
        device: str | None = None,
        **how: Unpack[SegmentOptions],
    ) -> Prediction: ...

    def predict(
        self,
        x: Any,
        sample_rate: int | None = None,
        *,
        abstain: float | None = None,
        precision: str | None = None,
        device: str | None = None,
        **how: Unpack[SegmentOptions],
    ) -> Prediction | list[Prediction]:
        """Predict the emotion of one clip, or of each clip in a list.

        A recording longer than 30 seconds is divided into segments; the prediction has them beside
        the mean over those with speech. Memory then grows by about a kilobyte per segment;
        :meth:`segments` needs none.

        Args:
            x: the path of a file, a :class:`serlab.audio.Audio`, an array, or a list or tuple of
                these. Arrays hold floats within -1 to 1 or integers, and have the shape (samples,),
                (samples, channels) or (channels, samples) with at most 8 channels.
            sample_rate: of arrays, in Hz. Required for them, and not allowed for files and
                ``Audio``.
            abstain: the maximum share of wrong labels, .01 to .5. Clips whose probability is below
                the threshold that met this share on the model's dev subset get no label. On new
                speakers, more labels may be wrong. None labels every clip.
            precision: ``auto``, ``fp32``, ``bf16`` or ``int8``; the model's own if None. The first
                call with another precision or device loads the model once more.
            device: ``cpu``, ``cuda`` or ``cuda:N``; the model's own if None. Classical models
                always use the processor.
            how: ``window``, ``hop``, ``vad``, ``smoothing`` and ``stay`` as for :meth:`segments`; any
                of them divides short clips too.

        Returns:
            One prediction per clip, in a list if ``x`` is a list. A silent clip, or a recording
            without speech, has no label and no probabilities.

        Raises:
            SerlabError: a clip cannot be used (the error names an item of a list), or the model has
                no such precision, device or abstention threshold, or an option is out of range.
        """
        several = isinstance(x, (list, tuple))
        found: list[Prediction] = []
        listed = x if several else [x]
        chunks = self.results(listed, sample_rate, abstain=abstain, precision=precision, device=device, **how)
        with closing(chunks):
            for result in chain.from_iterable(chunks):
                if isinstance(result, UserError):
                    raise UserError(f"x[{len(found)}]: {result}") if several else result
                found.append(result)
        return found if several else found[0]

    def predict_proba(
        self, x: Any, sample_rate: int | None = None, *, precision: str | None = None, device: str | None = None
    ) -> NDArray[np.float64]:
        """Probabilities of one clip, or of each clip in a list.

        Args:
            x: as for :meth:`predict`.
            sample_rate: of arrays, in Hz.
            precision: the model's own if None.
            device: the model's own if None.

        Returns:
            Array of shape (labels,), or (clips, labels) if ``x`` is a list, in the order of
            ``labels``. The row of a silent clip is NaN; that of a recording over 30 seconds is the
            mean over its segments with speech.

        Raises:
            SerlabError: as for :meth:`predict`.
        """
        found = self.predict(x, sample_rate, precision=precision, device=device)
        rows = [
            list(one.probabilities.values()) or [np.nan] * len(self.labels)
            for one in (found if isinstance(found, list) else [found])
        ]
        values = np.array(rows, np.float64).reshape(len(rows), len(self.labels))
        return values if isinstance(found, list) else values[0]

    def results(
        self,
        sounds: Sequence[Sound],
        sample_rate: int | None = None,
        *,
        abstain: float | None = None,
        precision: str | None = None,
        device: str | None = None,
        **how: Unpack[SegmentOptions],
    ) -> Generator[list[Prediction | UserError], None, None]:
        """Predict clips lazily, in chunks; for more clips than fit in memory.

        Args:
            sounds: the clips.
            sample_rate: of arrays, in Hz.
            abstain: as for :meth:`predict`.
            precision: the model's own if None.
            device: the model's own if None.
            how: as for :meth:`predict`.

        Returns:
            A generator of chunks. For a clip that cannot be used, it yields the error instead of a
            prediction.

        Raises:
            SerlabError: the model has no such precision, device or abstention threshold, or an
                option is out of range.
        """
        return self._scorer(abstain, precision, device, how).results(sounds, sample_rate)

    def segments(
        self,
        x: Sound | Iterator[NDArray[Any]],
        sample_rate: int | None = None,
        *,
        abstain: float | None = None,
        precision: str | None = None,
        device: str | None = None,
        **how: Unpack[SegmentOptions],
    ) -> Generator[Segment, None, None]:
        """Predict the emotion over time in a recording of any length, in memory that does not grow with it.

        Args:
            x: the path of a file, a :class:`serlab.audio.Audio`, an array, or a generator of arrays
                of shape (samples,) or (samples, channels) that follow each other.
            sample_rate: of arrays, in Hz.
            abstain: as for :meth:`predict`; segments that the model is too unsure of have no label.
            precision: the model's own if None.
            device: the model's own if None.
            how: ``window``: length of a segment in seconds, 0.1 to 60 (default 3). ``hop``: from
                the start of a segment to the next, at most the window (default 1). ``vad``: how to
                tell speech, ``silero``, ``energy``, ``none`` (all that is not silent) or ``auto``
                (default; silero if installed, else energy). ``smoothing``: the median over this
                many segments, odd (default 1: off), or ``hmm``, a hidden Markov model in which the
                emotion lasts from a segment to the next with probability ``stay`` (default 0.9 per
                second of ``hop``).

        Returns:
            A generator of segments in the order of time. The last one ends where the recording
            does, and a recording shorter than the window is one segment. A segment without speech
            has no label and no probabilities.

        Raises:
            SerlabError: the recording cannot be used, which a damaged file may only show at its
                end; the model has no such precision, device or abstention threshold; or an option
                is out of range.
        """
        return self._scorer(abstain, precision, device, how).segments(x, sample_rate)

    def stream(
        self,
        sample_rate: int,
        *,
        abstain: float | None = None,
        precision: str | None = None,
        device: str | None = None,
        **how: Unpack[SegmentOptions],
    ) -> Stream:
        """Predict sound while it arrives.

        Args:
            sample_rate: of the pieces, in Hz, 8,000 to 192,000.
            abstain: as for :meth:`predict`.
            precision: the model's own if None.
            device: the model's own if None.
            how: as for :meth:`segments`.

        Returns:
            A stream whose segments are those of :meth:`segments`, whatever the size of the pieces.

        Raises:
            SerlabError: the sample rate is not possible, the model has no such precision, device or
                abstention threshold, or an option is out of range.
        """
        return Stream(AudioStream(sample_rate), self._scorer(abstain, precision, device, how).segmenter())

    def summarise(self, segments: Iterable[Segment], *, abstain: float | None = None) -> Prediction:
        """The prediction for a whole recording, from its segments, as :meth:`predict` makes it.

        Args:
            segments: of one recording.
            abstain: as for :meth:`predict`.
        """
        summary, found = Summary(), tuple(segments)
        for segment in found:
            summary.add(segment)
        return Prediction(*summary.of(self.labels, self._answered(abstain)), segments=found)

    def check_abstain(self, abstain: float | None) -> None:
        """Raise a UserError if :meth:`predict` cannot abstain at this level."""
        self._answered(abstain)

    def _scorer(self, abstain: float | None, precision: str | None, device: str | None, how: SegmentOptions) -> Scorer:
        answered, segmenting = self._answered(abstain), Segmenting.of(how) if how else None
        precision = self._precision if precision in (None, self.precision) else precision
        device = self._device if device is None else device
        return Scorer(self._fitted(precision, device), device, answered, segmenting)

    def _fitted(self, precision: str, device: str | None) -> Fitted:
        key = (precision, device)
        with self._loading, on_device(device):
            if key not in self._loaded:
                self._loaded[key] = folders.load(self.folder, precision)
            return self._loaded[key]

    def _answered(self, abstain: float | None) -> Answered:
        if abstain is None:
            return lambda _: True
        return partial(self._reliance.answers, threshold=self._reliance.threshold(abstain))

    @cached_property
    def _reliance(self) -> Reliance:
        return folders.load_reliance(self.folder)


def load_model(folder: Path | str, *, precision: str = "auto", device: str | None = None) -> Model:
    """Load a model folder.

    Args:
        folder: a folder that ``serlab train`` or :func:`serlab.train` wrote, or one with an audio
            classification checkpoint of transformers; or ``owner/name`` or ``owner/name@revision``
            on the Hugging Face hub, if there is no local folder ``owner``.
        precision: ``auto`` (bf16 if it is faster), ``fp32``, ``bf16`` or (speech encoders)
            ``int8``.
        device: ``cpu``, ``cuda`` or ``cuda:N``; None means CUDA if available, else ``cpu``.

    Raises:
        SerlabError: the folder is not a model or is damaged, the hub does not have it or cannot be
            reached, or the precision or device is not available.
    """
    return Model(located(folder), precision=precision, device=device)
