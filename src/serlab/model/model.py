"""The class of trained models: from paths, arrays or lists of them to predictions."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from serlab.checkpoints.checks import trial_sound
from serlab.checkpoints.hub import located
from serlab.core import UserError
from serlab.model import folder as folders
from serlab.model.box import BOX, folder_of
from serlab.model.certainty import Certainty
from serlab.model.info import ModelInfo, card
from serlab.model.loaded import LoadedModels
from serlab.model.prediction import Prediction
from serlab.model.scoring import Scorer, gathered
from serlab.model.segments import Segment, Segmenting, SegmentOptions, Summary
from serlab.model.sounds import Sound
from serlab.model.stream import Segments, Stream


class Model:
    """A trained model; returned by :func:`load_model` and :func:`serlab.train`.

    A prediction only depends on its clip, not on the form of the input. Several threads may use one
    model; they compute in turns. A pickle holds the folder's path, and other processes load it from there.

    Attributes:
        folder: the model folder.
        labels: names of the emotions, in the order of the probabilities.
        precision: of predictions, unless a call sets another one.
    """

    def __init__(self, folder: Path | str, *, precision: str = "auto", device: str | None = None) -> None:
        self.folder = folder_of(folder)
        self._certainty = Certainty(self.folder)
        self._loaded = LoadedModels(self.folder, precision, device)
        self.labels, self.precision = self._loaded.default.labels, self._loaded.default.precision
        self._inputs = folders.load_inputs(self.folder)

    @cached_property
    def info(self) -> ModelInfo:
        """What the model was trained on, how well it was tested, and its limits.

        Raises:
            UserError: the folder is damaged.
        """
        return ModelInfo.read(self.folder) or ModelInfo(labels=self.labels)

    def __reduce__(self) -> tuple[Any, ...]:
        again = partial(type(self), precision=self._loaded.precision, device=self._loaded.device)
        return again, (self.folder.resolve(),)

    def __repr__(self) -> str:
        return f"Model({str(self.folder)!r}, labels={', '.join(self.labels)}, precision={self.precision})"

    def _repr_html_(self) -> str:
        """A card for notebooks."""
        return card(self.folder.name, self.labels, self.precision, self.info)

    @overload
    def predict(
        self,
        x: list[Any] | tuple[Any, ...],
        sample_rate: int | None = None,
        *,
        abstain: float | None = None,
        calibrated: bool = False,
        precision: str | None = None,
        device: str | None = None,
        progress: bool = False,
        **how: Unpack[SegmentOptions],
    ) -> list[Prediction]: ...

    @overload
    def predict(
        self,
        x: Sound,
        sample_rate: int | None = None,
        *,
        abstain: float | None = None,
        calibrated: bool = False,
        precision: str | None = None,
        device: str | None = None,
        progress: bool = False,
        **how: Unpack[SegmentOptions],
    ) -> Prediction: ...

    def predict(
        self,
        x: Any,
        sample_rate: int | None = None,
        *,
        abstain: float | None = None,
        calibrated: bool = False,
        precision: str | None = None,
        device: str | None = None,
        progress: bool = False,
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
            calibrated: divide the scores by the temperature that was fitted on the model's dev
                subset, so that probabilities are nearer to the share of right labels. A clip's
                label stays the same.
            precision: ``auto``, ``fp32``, ``bf16`` or ``int8``; the model's own if None. The first
                call with another precision or device loads the model once more.
            device: ``cpu``, ``cuda`` or ``cuda:N``; the model's own if None. Classical models
                always use the processor.
            progress: show a progress bar on standard error, or in the notebook.
            how: ``window``, ``hop``, ``vad``, ``smoothing`` and ``stay`` as for :meth:`segments`; any
                of them divides short clips too.

        Returns:
            One prediction per clip, in a list if ``x`` is a list. A silent clip, or a recording
            without speech, has no label and no probabilities. ``warnings`` says in which ways the
            sound is unlike the training clips, and ``temperature`` whether it was calibrated.

        Raises:
            SerlabError: a clip cannot be used (the error names an item of a list), or the model has
                no such precision, device, abstention threshold or temperature, or an option is out
                of range.
        """
        several = isinstance(x, (list, tuple))
        scorer = self._scorer(abstain, precision, device, how, calibrated=calibrated)
        found = gathered(scorer.results, x, sample_rate, "predicting" if progress else "")
        return found if several else found[0]

    def predict_proba(
        self,
        x: Any,
        sample_rate: int | None = None,
        *,
        calibrated: bool = False,
        precision: str | None = None,
        device: str | None = None,
        progress: bool = False,
    ) -> NDArray[np.float64]:
        """Probabilities of one clip, or of each clip in a list.

        Args:
            x: as for :meth:`predict`.
            sample_rate: of arrays, in Hz.
            calibrated: as for :meth:`predict`.
            precision: the model's own if None.
            device: the model's own if None.
            progress: as for :meth:`predict`.

        Returns:
            Array of shape (labels,), or (clips, labels) if ``x`` is a list, in the order of
            ``labels``. The row of a silent clip is NaN; that of a recording over 30 seconds is the
            mean over its segments with speech.

        Raises:
            SerlabError: as for :meth:`predict`.
        """
        options: dict[str, Any] = {"precision": precision, "device": device, "progress": progress}
        found = self.predict(x, sample_rate, calibrated=calibrated, **options)
        rows = [
            list(one.probabilities.values()) or [np.nan] * len(self.labels)
            for one in (found if isinstance(found, list) else [found])
        ]
        values = np.array(rows, np.float64).reshape(len(rows), len(self.labels))
        return values if isinstance(found, list) else values[0]

    def embed(
        self,
        x: Any,
        sample_rate: int | None = None,
        *,
        precision: str | None = None,
        device: str | None = None,
        progress: bool = False,
    ) -> NDArray[np.float32]:
        """Embeddings: the pooled features that the model's classifier reads.

        They are hidden states of a speech encoder, averaged over time or as its head pools them; the
        vector before the last layer of a ResNet; what a probe reads of its encoder's chosen layer; the
        functionals of a support vector machine.

        Args:
            x: as for :meth:`predict`.
            sample_rate: of arrays, in Hz.
            precision: the model's own if None.
            device: the model's own if None.
            progress: as for :meth:`predict`.

        Returns:
            Array of shape (dims,), or (clips, dims) if ``x`` is a list. The row of a silent clip is
            NaN; that of a recording over 30 seconds is the mean over its segments with speech.

        Raises:
            SerlabError: as for :meth:`predict`, or the model has no embeddings.
        """
        scorer = self._scorer(None, precision, device, {})
        dims = scorer.dims(trial_sound())
        if dims is None:
            raise UserError(f"{self.folder} has no embeddings: nothing pools its features before the classifier.")
        found = gathered(scorer.embeddings, x, sample_rate, "embedding" if progress else "")
        nothing = np.full(dims, np.nan, np.float32)
        rows = np.array([nothing if row is None else row for row in found], np.float32).reshape(len(found), dims)
        return rows if isinstance(x, (list, tuple)) else rows[0]

    def results(
        self,
        sounds: Sequence[Sound],
        sample_rate: int | None = None,
        *,
        abstain: float | None = None,
        calibrated: bool = False,
        precision: str | None = None,
        device: str | None = None,
        **how: Unpack[SegmentOptions],
    ) -> Generator[list[Prediction | UserError], None, None]:
        """Predict clips lazily, in chunks; for more clips than fit in memory.

        Args:
            sounds: the clips.
            sample_rate: of arrays, in Hz.
            abstain: as for :meth:`predict`.
            calibrated: as for :meth:`predict`.
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
        return self._scorer(abstain, precision, device, how, calibrated=calibrated).results(sounds, sample_rate)

    def segments(
        self,
        x: Sound | Iterator[NDArray[Any]],
        sample_rate: int | None = None,
        *,
        abstain: float | None = None,
        calibrated: bool = False,
        precision: str | None = None,
        device: str | None = None,
        **how: Unpack[SegmentOptions],
    ) -> Segments:
        """Predict the emotion over time in a recording of any length, in memory that does not grow with it.

        Args:
            x: the path of a file, a :class:`serlab.audio.Audio`, an array, or a generator of arrays
                of shape (samples,) or (samples, channels) that follow each other.
            sample_rate: of arrays, in Hz.
            abstain: as for :meth:`predict`; segments that the model is too unsure of have no label.
            calibrated: as for :meth:`predict`.
            precision: the model's own if None.
            device: the model's own if None.
            how: ``window``: length of a segment in seconds, 0.1 to 60; by default the median
                length of the training clips, from 1 to 10 (3 if unknown). ``hop``: from the start
                of a segment to the next, at most the window; by default a third of the default
                window, or 1. ``vad``: how to
                tell speech, ``silero``, ``energy``, ``none`` (all that is not silent) or ``auto``
                (default; silero if installed, else energy). ``smoothing``: the median over this
                many segments, odd (default 1: off), or ``hmm``, a hidden Markov model in which the
                emotion lasts from a segment to the next with probability ``stay`` (default 0.9 per
                second of ``hop``).

        Returns:
            A generator of segments in the order of time. The last one ends where the recording
            does, and a recording shorter than the window is one segment. A segment without speech
            has no label and no probabilities. After the last one, its ``warnings`` say in which
            ways the recording is unlike the training clips, as those of :meth:`predict`.

        Raises:
            SerlabError: the recording cannot be used, which a damaged file may only show at its
                end; the model has no such precision, device or abstention threshold; or an option
                is out of range.
        """
        return self._scorer(abstain, precision, device, how, calibrated=calibrated).segments(x, sample_rate)

    def stream(
        self,
        sample_rate: int,
        *,
        abstain: float | None = None,
        calibrated: bool = False,
        precision: str | None = None,
        device: str | None = None,
        **how: Unpack[SegmentOptions],
    ) -> Stream:
        """Predict sound while it arrives.

        Args:
            sample_rate: of the pieces, in Hz, 8,000 to 192,000.
            abstain: as for :meth:`predict`.
            calibrated: as for :meth:`predict`.
            precision: the model's own if None.
            device: the model's own if None.
            how: as for :meth:`segments`.

        Returns:
            A stream whose segments and ``warnings`` are those of :meth:`segments`, whatever the
            size of the pieces.

        Raises:
            SerlabError: the sample rate is not possible, the model has no such precision, device or
                abstention threshold, or an option is out of range.
        """
        scorer = self._scorer(abstain, precision, device, how, calibrated=calibrated)
        return scorer.stream(sample_rate)

    def summarise(
        self, segments: Iterable[Segment], *, abstain: float | None = None, calibrated: bool = False
    ) -> Prediction:
        """The prediction for a whole recording, from its segments, as :meth:`predict` makes it, but without warnings.

        Args:
            segments: of one recording.
            abstain: as for :meth:`predict`.
            calibrated: whether the segments are calibrated.

        Raises:
            UserError: the model has no such abstention threshold or no temperature.
        """
        summary, found = Summary(), tuple(segments)
        for segment in found:
            summary.add(segment)
        label, probabilities = summary.of(self.labels, self._certainty.answered(abstain, calibrated=calibrated))
        temperature = self._certainty.temperature(calibrated=calibrated and bool(probabilities))
        return Prediction(label, probabilities, None, found, temperature)

    def check_reliance(self, abstain: float | None, *, calibrated: bool = False) -> None:
        """Raise a UserError if :meth:`predict` cannot abstain at this level, or has no temperature."""
        self._certainty.answered(abstain, calibrated=calibrated)
        self._certainty.temperature(calibrated=calibrated)

    def segmenting(self, how: SegmentOptions) -> Segmenting:
        """How recordings are divided, with the model's own window and hop where ``how`` has none.

        Args:
            how: as for :meth:`segments`.

        Raises:
            UserError: there is no such option, or it is out of range.
        """
        return Segmenting.of(how, None if self._inputs is None else self._inputs.window)

    def _scorer(
        self,
        abstain: float | None,
        precision: str | None,
        device: str | None,
        how: SegmentOptions,
        *,
        calibrated: bool = False,
    ) -> Scorer:
        fitted, device = self._loaded.of(precision, device)
        return Scorer(
            fitted=fitted,
            device=device,
            answered=self._certainty.answered(abstain, calibrated=calibrated),
            segmenting=self.segmenting(how),
            divide=bool(how),
            temperature=self._certainty.temperature(calibrated=calibrated),
            inputs=self._inputs,
        )


def load_model(folder: Path | str = BOX, *, precision: str = "auto", device: str | None = None) -> Model:
    """Load a model folder, or the model that serlab ships.

    Args:
        folder: a folder that ``serlab train`` or :func:`serlab.train` wrote, or one with an audio
            classification checkpoint of transformers; or ``owner/name`` or ``owner/name@revision``
            on the Hugging Face hub, if there is no local folder ``owner``. The text ``box`` is the
            shipped model; a folder of that name is ``./box``.
        precision: ``auto`` (bf16 if it is faster), ``fp32``, ``bf16`` or (speech encoders)
            ``int8``.
        device: ``cpu``, ``cuda`` or ``cuda:N``; None means CUDA if available, else ``cpu``.

    Raises:
        SerlabError: the folder is not a model or is damaged, the hub does not have it or cannot be
            reached, the precision or device is not available, or this installation ships no model.
    """
    return Model(folder if folder == BOX else located(folder), precision=precision, device=device)
