"""Segments: windows of one length over a recording of any length, computed while its samples arrive.

Window ``i`` begins at ``i * hop``. Offline and live use share :class:`Segmenter`, so both give the
same segments for any size of pieces. It holds one window and one batch, not the recording.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from serlab.audio import DEFAULT_LIMITS, SAMPLE_RATE, AudioError
from serlab.audio.gate import is_silent
from serlab.audio.speech import DETECTORS, FRAME, detector
from serlab.core import UserError, argument, unknown
from serlab.model.smoothing import AHEAD, HMM, Average, HiddenMarkov, Median, default_stay

DEFAULT_WINDOW, DEFAULT_HOP = 3.0, 1.0
_MOST_SMOOTHED = 99
# Minimum share of speech frames in a window with speech.
_SPEECH_SHARE = 0.2
_PIECE = 10 * SAMPLE_RATE
_BATCH_SECONDS = 120.0

Score = Callable[[Sequence[NDArray[np.float32]]], list[NDArray[np.float64] | None]]
"""From windows at 16 kHz to their probabilities, shape (labels,); None for a window without finite scores."""

Answered = Callable[[NDArray[np.float64]], bool]
"""Whether a clip with these logits, shape (labels,), gets a label."""


watcher: ContextVar[Callable[[float], None] | None] = ContextVar("watcher", default=None)
"""Called with the seconds of a recording that have been divided so far; set by a caller that shows progress."""


class SegmentOptions(TypedDict, total=False):
    """How to divide a recording; :class:`Segmenting` explains the options."""

    window: float | None
    hop: float | None
    vad: str
    smoothing: int | str
    stay: float | None


@dataclass(frozen=True)
class Segment:
    """The prediction for a section of a recording.

    Attributes:
        start, end: in seconds.
        label: the most probable label; None without speech, or if the model abstains.
        probabilities: of each label, in the model's order; empty without speech.
        speech: whether there is speech.
    """

    start: float
    end: float
    label: str | None
    probabilities: dict[str, float]
    speech: bool


@dataclass(frozen=True, kw_only=True)
class Segmenting:
    """How to divide a recording.

    Attributes:
        window: length of a segment in seconds, 0.1 to 60; 3 if None.
        hop: from the start of a segment to the start of the next in seconds, at most ``window``; 1
            or, if that is shorter, ``window`` if None.
        vad: which segments are speech: ``silero``, ``energy``, ``none`` (all that are not silent),
            or ``auto`` (silero if it is installed, else energy).
        smoothing: each probability becomes the median over this many segments, of those with
            speech; odd, 1 for none. Or ``hmm``: a hidden Markov model (:mod:`serlab.model.smoothing`).
        stay: for ``hmm``, the probability that the next segment has the same emotion; 0.9 per
            second of ``hop`` if None.

    Raises:
        UserError: an option is out of range.
    """

    window: float | None = None
    hop: float | None = None
    vad: str = "auto"
    smoothing: int | str = 1
    stay: float | None = None

    def __post_init__(self) -> None:
        low, high = DEFAULT_LIMITS.min_seconds, DEFAULT_LIMITS.max_seconds
        if self.window is not None and not low <= self.window <= high:
            raise UserError(f"{argument('window', self.window)} is not between {low:g} and {high:g} seconds.")
        if self.hop is not None and not 1 / SAMPLE_RATE <= self.hop <= self.seconds:
            raise UserError(f"{argument('hop', self.hop)} is not above 0 and at most the window of {self.seconds:g} s.")
        if self.vad not in DETECTORS:
            raise unknown("speech detector", self.vad, DETECTORS)
        if self.smoothing != HMM and self.smoothing not in range(1, _MOST_SMOOTHED + 1, 2):
            size = f"an odd number from 1 to {_MOST_SMOOTHED}"
            raise UserError(f"{argument('smoothing', self.smoothing)} is neither {size} nor {HMM}.")
        if self.stay is not None and self.smoothing != HMM:
            raise UserError(f"{argument('stay', self.stay)} is for {argument('smoothing', HMM)}; add that, or omit it.")
        if self.stay is not None and not 0 < self.stay < 1:
            raise UserError(f"{argument('stay', self.stay)} is not a probability between 0 and 1.")

    @classmethod
    def of(cls, options: SegmentOptions, usual: float | None = None) -> Segmenting:
        """From the options of a call.

        Args:
            options: of the call.
            usual: the window if the call has none; the hop is then a third of it.

        Raises:
            UserError: there is no such option, or it is out of range.
        """
        extra = options.keys() - {field.name for field in fields(cls)}
        if extra:
            raise UserError(
                f"there is no option {', '.join(sorted(extra))}; expected window, hop, vad, smoothing or stay."
            )
        if usual is None or options.get("window") is not None:
            return cls(**options)
        hop = options.get("hop")
        filled: SegmentOptions = {**options, "window": usual, "hop": round(usual / 3, 2) if hop is None else hop}
        return cls(**filled)

    @property
    def seconds(self) -> float:
        """Length of a segment."""
        return DEFAULT_WINDOW if self.window is None else self.window

    @property
    def hop_seconds(self) -> float:
        """From segment to segment."""
        return min(DEFAULT_HOP, self.seconds) if self.hop is None else self.hop

    @property
    def delay(self) -> float:
        """Seconds by which smoothing delays a segment of live sound."""
        return self.hop_seconds * (AHEAD if isinstance(self.smoothing, str) else self.smoothing // 2)

    def average(self, labels: int) -> Average:
        """The smoothing, for one recording and this number of labels."""
        if not isinstance(self.smoothing, str):
            return Median(self.smoothing)
        stay = default_stay(self.hop_seconds, labels) if self.stay is None else self.stay
        return HiddenMarkov(stay, self.hop_seconds / self.seconds)


class Segmenter:
    """Divides one recording.

    Args:
        how: how to divide it.
        labels: of the model.
        score: the model.
        answered: which segments get a label.
    """

    def __init__(self, how: Segmenting, labels: Sequence[str], score: Score, answered: Answered) -> None:
        self._window, self._hop = round(how.seconds * SAMPLE_RATE), round(how.hop_seconds * SAMPLE_RATE)
        self._labels, self._score = labels, score
        self._smoother = _Smoother(how.average(len(labels)), labels, answered)
        self._detector = detector(how.vad)
        self._samples = np.zeros(0, np.float32)  # from self._begin on
        self._waiting: list[NDArray[np.float32]] = []
        self._frames: list[bool] = []  # from frame self._first_frame on
        self._begin = self._first_frame = self._received = self._next = 0

    def feed(self, samples: NDArray[np.float32]) -> list[Segment]:
        """Add any number of samples at 16 kHz, shape (samples,); return the segments that are now final."""
        found: list[Segment] = []
        for start in range(0, len(samples), _PIECE):
            piece = samples[start : start + _PIECE]
            self._waiting.append(piece.copy())
            self._received += len(piece)
            if self._received >= self._next + self._window:
                found += self._smoother.feed(self._ready())
            if (watch := watcher.get()) is not None:
                watch(self._received / SAMPLE_RATE)
        return found

    def flush(self) -> list[Segment]:
        """Return the remaining segments; the last one ends with the recording.

        Raises:
            AudioError: the recording has no samples or is shorter than 0.1 s.
        """
        if self._received < DEFAULT_LIMITS.min_seconds * SAMPLE_RATE:
            short = f"shorter than {DEFAULT_LIMITS.min_seconds:g} s" if self._received else "no samples"
            raise AudioError(None, short)
        found: list[_Scored] = []
        if self._received > self._next - self._hop + self._window or not self._next:
            self._gather()
            found = self._scored([max(0, self._received - self._window)])
        return [*self._smoother.feed(found), *self._smoother.flush()]

    def _ready(self) -> list[_Scored]:
        """Score complete windows, and drop samples that later windows do not need."""
        self._gather()
        found: list[_Scored] = []
        most = max(1, int(_BATCH_SECONDS * SAMPLE_RATE) // self._window)
        starts = range(self._next, self._received - self._window + 1, self._hop)
        for batch in range(0, len(starts), most):
            found += self._scored(starts[batch : batch + most])
        self._next = starts[-1] + self._hop
        keep = min(self._next, self._received - self._window)
        del self._frames[: keep // FRAME - self._first_frame]
        self._first_frame = keep // FRAME
        keep = min(keep, self._frame_end)
        self._samples, self._begin = self._samples[keep - self._begin :].copy(), keep
        return found

    @property
    def _frame_end(self) -> int:
        return (self._first_frame + len(self._frames)) * FRAME

    def _gather(self) -> None:
        """Concatenate new samples, and detect speech in them."""
        self._samples = np.concatenate([self._samples, *self._waiting])
        self._waiting = []
        new = self._samples[self._frame_end - self._begin :]
        whole = len(new) // FRAME * FRAME
        self._frames.extend((self._detector.feed(new[:whole].reshape(-1, FRAME)) >= 0.5).tolist())

    def _scored(self, starts: Sequence[int]) -> list[_Scored]:
        ends = [min(start + self._window, self._received) for start in starts]
        windows = [self._samples[a - self._begin : b - self._begin] for a, b in zip(starts, ends, strict=True)]
        speech = [
            self._is_speech(a, b) and not is_silent(samples)
            for a, b, samples in zip(starts, ends, windows, strict=True)
        ]
        spoken = [samples for samples, heard in zip(windows, speech, strict=True) if heard]
        rows = iter(self._score(spoken) if spoken else ())
        return [
            _Scored(start / SAMPLE_RATE, end / SAMPLE_RATE, heard, next(rows) if heard else None)
            for start, end, heard in zip(starts, ends, speech, strict=True)
        ]

    def _is_speech(self, start: int, end: int) -> bool:
        """Whether enough of the frames inside a window are speech."""
        first, last = -(-start // FRAME) - self._first_frame, end // FRAME - self._first_frame
        return sum(self._frames[first:last]) >= _SPEECH_SHARE * (last - first)


@dataclass(frozen=True)
class _Scored:
    """A segment before it gets a label."""

    start: float
    end: float
    speech: bool
    probabilities: NDArray[np.float64] | None


class _Smoother:
    """Holds segments until those after them that smoothing needs have arrived."""

    def __init__(self, average: Average, labels: Sequence[str], answered: Answered) -> None:
        self._average, self._labels, self._answered = average, labels, answered
        self._held: deque[_Scored] = deque()

    def feed(self, segments: Sequence[_Scored]) -> list[Segment]:
        found = []
        for segment in segments:
            self._held.append(segment)
            if len(self._held) > self._average.ahead:
                found.append(self._final())
        return found

    def flush(self) -> list[Segment]:
        return [self._final() for _ in range(len(self._held))]

    def _final(self) -> Segment:
        shares = self._average([one.probabilities for one in self._held])
        own = self._held.popleft()
        if shares is None:
            return Segment(own.start, own.end, None, {}, own.speech)
        label, probabilities = labelled(shares, self._labels, self._answered)
        return Segment(own.start, own.end, label, probabilities, own.speech)


def labelled(
    shares: NDArray[np.float64], labels: Sequence[str], answered: Answered
) -> tuple[str | None, dict[str, float]]:
    """The label of probabilities of shape (labels,), None if the model abstains, and the probabilities by label."""
    label = labels[int(shares.argmax())] if answered(np.log(np.maximum(shares, np.finfo(float).tiny))) else None
    return label, dict(zip(labels, map(float, shares), strict=True))


class Summary:
    """The prediction for a whole recording: the mean probabilities of its segments with speech."""

    def __init__(self) -> None:
        self._sum: NDArray[np.float64] | None = None
        self._count = 0

    def add(self, segment: Segment) -> None:
        """Count a segment."""
        if segment.probabilities:
            row = np.array(list(segment.probabilities.values()))
            self._sum = row if self._sum is None else self._sum + row
            self._count += 1

    def of(self, labels: Sequence[str], answered: Answered) -> tuple[str | None, dict[str, float]]:
        """Label and probabilities; None and empty without speech."""
        return (None, {}) if self._sum is None else labelled(self._sum / self._count, labels, answered)
