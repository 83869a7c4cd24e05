"""The models of a server, and what it says about their answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serlab.audio import SAMPLE_RATE, speech
from serlab.core import UserError
from serlab.model.box import BOX
from serlab.model.inputs import NO_SPEECH, InputWarning, in_general
from serlab.model.segments import SegmentOptions, watcher
from serlab.model.sounds import NATURAL_SECONDS
from serlab.serve.batching import Batcher
from serlab.serve.faults import RefusedError, busy
from serlab.serve.limits import LANES, LEAST_HOP, Limits

if TYPE_CHECKING:
    from serlab.audio import Audio
    from serlab.model.model import Model
    from serlab.model.prediction import Prediction
    from serlab.serve.decoders import Decoded

_SHARES = (0.05, 0.1, 0.2, 0.3)
_NOISE = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE)


class _GivenUpError(Exception):
    """No request waits for the answer any more."""


class Served:
    """One model, ready to answer.

    Attributes:
        name: in requests and answers.
        model: the model.
        abstains: shares of wrong labels that it can be asked for; empty if it labels every clip.
        calibrates: whether it has a temperature.
        knows_clips: whether it knows what its training clips were like.
        about: what ``/v1/models`` says.
    """

    def __init__(self, name: str, model: Model, limits: Limits, scored: Callable[[int], None]) -> None:
        self.name, self.model = name, model
        self.abstains = _abstains(model)
        self.calibrates = model.info.temperature is not None
        self.knows_clips = model.info.clip_seconds is not None
        self.about = _about(name, model, self.abstains)
        # The first prediction loads what later ones need.
        model.predict(_NOISE, SAMPLE_RATE)
        self._batcher = Batcher(model, most=limits.batch, queue=limits.queue, scored=scored)
        self._lanes = ThreadPoolExecutor(LANES, thread_name_prefix="serlab-recordings")
        self._long, self._most_long = 0, max(LANES, limits.queue // 8)

    @property
    def waiting(self) -> int:
        """Clips that wait."""
        return self._batcher.waiting

    def stop(self) -> None:
        """End the threads."""
        self._lanes.shutdown(cancel_futures=True)
        self._batcher.stop()

    def check(self, abstain: float | None, how: SegmentOptions, *, calibrated: bool) -> None:
        """Refuse what the model or the server cannot do, in words without a path.

        Raises:
            RefusedError: the model has no thresholds or no temperature, the server has no such speech detector, or
                an option is out of range.
        """
        if abstain is not None and not self.abstains:
            raise RefusedError(400, f"the model {self.name} has no thresholds for abstaining; omit abstain.")
        if calibrated and not self.calibrates:
            raise RefusedError(400, f"the model {self.name} has no temperature; omit calibrated.")
        hop = how.get("hop")
        if hop is not None and hop < LEAST_HOP:
            raise RefusedError(400, f"hop={hop:g} is below {LEAST_HOP:g} seconds, the least that a server takes.")
        try:
            self.model.segmenting(how)
        except UserError as error:
            raise RefusedError(400, str(error)) from error
        if how.get("vad") == "silero" and not speech.has_silero():
            raise RefusedError(400, "this server has no speech detector silero; omit vad, or use energy.")

    def divides(self, decoded: Decoded, how: SegmentOptions) -> bool:
        """Whether a recording is divided: if it is long, or ``how`` says so."""
        return bool(how) or decoded.seconds > NATURAL_SECONDS

    async def predict(
        self, decoded: Decoded, abstain: float | None, how: SegmentOptions, *, calibrated: bool = False
    ) -> Prediction:
        """Predict a recording, divided if it is long or ``how`` says so.

        Raises:
            RefusedError: too much waits, or an option is out of range.
        """
        self.check(abstain, how, calibrated=calibrated)
        try:
            if self.divides(decoded, how):
                return await self._divided(decoded.audio, abstain, how, calibrated=calibrated)
            return await self._batcher.predict(decoded.audio, abstain, calibrated=calibrated)
        except UserError as error:
            raise RefusedError(400, _sentence(error)) from error

    async def _divided(
        self, audio: Audio, abstain: float | None, how: SegmentOptions, *, calibrated: bool
    ) -> Prediction:
        if self._long >= self._most_long:
            raise busy(503, "the queue of the model is full")
        given_up = threading.Event()

        def watch(_: float) -> None:
            if given_up.is_set():
                raise _GivenUpError

        def work() -> Prediction:
            watching = watcher.set(watch)
            try:
                return self.model.predict(audio, abstain=abstain, calibrated=calibrated, **how)
            finally:
                watcher.reset(watching)

        self._long += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._lanes, work)
        finally:
            given_up.set()
            self._long -= 1


def load(folders: Sequence[str], precision: str, limits: Limits, scored: Callable[[int], None]) -> dict[str, Served]:
    """Load models.

    Args:
        folders: model folders; empty for the model that serlab ships.
        precision: of their predictions.
        limits: see there.
        scored: told the size of each batch.

    Returns:
        The models by name, in the order of ``folders``. A name is ``box`` for the shipped model, else
        that of the recipe or of the folder.

    Raises:
        SerlabError: a folder is not a model, or is damaged.
    """
    from serlab.model.model import load_model

    found: dict[str, Served] = {}
    for folder in folders or (BOX,):
        model = load_model(folder, precision=precision)
        plain = BOX if folder == BOX else model.info.recipe or Path(folder).resolve().name
        number = 1
        while (name := plain if number == 1 else f"{plain}-{number}") in found:
            number += 1
        found[name] = Served(name, model, limits, scored)
    return found


def _abstains(model: Model) -> list[float]:
    found = []
    for share in _SHARES:
        with suppress(UserError):
            model.check_reliance(share)
            found.append(share)
    return found


def _about(name: str, model: Model, abstains: list[float]) -> dict[str, Any]:
    info = model.info
    uar = None if info.uar is None else asdict(info.uar)
    return {
        "name": name,
        "labels": list(model.labels),
        "recipe": info.recipe,
        "corpus": info.corpus,
        "protocol": info.protocol,
        "precision": model.precision,
        "uar": uar,
        "licence": info.licence,
        "citation": info.citation,
        "limits": info.limits,
        "abstains": abstains,
        "temperature": info.temperature,
    }


def warnings_of(decoded: Decoded, prediction: Prediction, *, known: bool) -> list[InputWarning]:
    """What makes a recording unlike the training clips; in general terms if the model does not know these.

    Args:
        decoded: the recording.
        prediction: of it.
        known: whether the model knows what its training clips were like.
    """
    found = [*prediction.warnings] if known else in_general(decoded.audio, decoded.rate, decoded.channels)
    return [*found, NO_SPEECH] if prediction.segments and not prediction.probabilities else found


def _sentence(error: UserError) -> str:
    """The error in words that contain no path: those of a request concern its options."""
    reason = getattr(error, "reason", None)
    return f"the recording cannot be used: {reason}." if reason else str(error)
