"""Calibration: whether what a model is 70 % sure of is right 70 % of the time.

The confidence of a clip is its highest probability; the clip is right where the label of that
probability (the first, if several tie) is the true one. Rows are clips; those of several seeds may
be stacked, because speakers are what is resampled.

Bins hold about the same number of clips ("equal mass"), at most 15 and at least 20 clips each as
far as ties allow: equal values (to ten digits) lie in one bin, so that the order of rows never matters. Bins are
those of the data at hand, in every replicate.

Two errors are reported. The **expected calibration error** (Naeini et al. 2015; Guo et al. 2017,
eq. 3) is the mean over clips of the bins' |mean confidence - accuracy|. It is what others publish;
noise alone makes it positive, especially with few clips. The **debiased root mean square** of the
same gaps (Kumar, Liang and Ma 2019, "Verified uncertainty calibration", section 5) takes each bin's
sampling variance away from its squared gap, and so is zero half the time for a calibrated model.
Here that variance is taken between speakers, since a speaker's clips are not independent; with one
clip a speaker, and one confidence a bin, it is Kumar's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from serlab.core import UserError
from serlab.evaluation.resampling import STANDARD, Interval, Resampling

BINS = 15
FEWEST_IN_BIN = 20
TEMPERATURES = (0.05, 20.0)
"""The range in which a temperature is sought."""

_SMALLEST_PROBABILITY = 1e-12
# The floor of a table's probabilities moves the others by 1e-12 for each label; saturated models differ by little more.
_DIGITS = 10

Floats = NDArray[np.float64]
Places = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Decomposition:
    """The Brier score as ``reliability - resolution + uncertainty + remainder``; see :func:`decompose`.

    Attributes:
        reliability: mean squared gap between probability and frequency; 0 is best.
        resolution: how far the frequencies of the bins lie from those of all clips; more is better.
        uncertainty: the score of a model that always gives the labels' frequencies.
        remainder: what the spread of probabilities within a bin adds.
    """

    reliability: float
    resolution: float
    uncertainty: float
    remainder: float


Shown = Literal["overconfident", "underconfident", "miscalibrated", "not shown"]


@dataclass(frozen=True)
class Calibration:
    """How far probabilities match frequencies.

    Attributes:
        overconfidence: mean confidence less accuracy; above 0 the model is surer than it should be.
        ece: expected calibration error. No interval: noise inflates it, and resampling inflates it
            again.
        rms_error: debiased root mean square calibration error.
        brier: Brier score, from 0 to 2.
        decomposition: of the Brier score; no intervals for the same reason.
        nll: negative log-likelihood in nats.
        bins: number of bins of ``ece`` and ``rms_error``.
        clips: number of clips.
        shown: the one statement of both: the direction that the interval of ``overconfidence`` shows;
            ``miscalibrated`` if only that of ``rms_error`` lies above 0 (too sure in some bins, not
            sure enough in others); else ``not shown``. None without intervals.
        reliability: points of the reliability diagram, from the least sure bin to the surest. Each
            interval is that of its bin alone: a calibrated model has about one of 15 bins outside.
    """

    overconfidence: Interval
    ece: float
    rms_error: Interval
    brier: Interval
    decomposition: Decomposition
    nll: Interval
    bins: int
    clips: int
    shown: Shown | None
    reliability: tuple[ReliabilityPoint, ...]


@dataclass(frozen=True)
class ReliabilityPoint:
    """One bin of the reliability diagram.

    Attributes:
        confidence: mean confidence of its clips.
        accuracy: share of them that is right.
        clips: their number.
    """

    confidence: float
    accuracy: Interval
    clips: int


def levels_of(values: Floats) -> Floats:
    """Probabilities without the noise of normalising them, so that those that were written alike are equal."""
    levels: Floats = np.round(values, _DIGITS)
    return levels


def fit_temperature(logits: Floats, truth: Places) -> float:
    """Find the temperature T for which softmax(logits / T) has the least NLL (Guo et al. 2017, section 4.2).

    T lies between 0.05 and 20; it is at an end if dev predictions are all right or worse than
    guessing, and 1 if nothing is better than 1, as for equal logits.

    Args:
        logits: of the dev subset, shape (clips, K).
        truth: index of each clip's true label, shape (clips,).

    Raises:
        UserError: there is no clip, or a logit is not finite.
    """
    # Imported late, here and below: scipy costs more than a prediction, which imports this module.
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    if not len(truth):
        raise UserError("there is no dev clip to fit a temperature to; the fold needs a dev subset.")
    if not np.isfinite(logits).all():
        raise UserError("a dev logit is not finite; no temperature can be fitted to it.")

    def loss(log_temperature: float) -> float:
        scores = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-scores[np.arange(len(truth)), truth].mean())

    low, high = (float(np.log(end)) for end in TEMPERATURES)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    # The bounded search never tries its ends, and wanders where the loss is flat; the first of equals wins.
    return float(np.exp(min((0.0, float(found.x), low, high), key=loss)))


def at_temperature(logits: Floats, temperature: float) -> Floats:
    """Probabilities softmax(logits / temperature), shape (clips, K)."""
    from scipy.special import softmax

    probabilities: Floats = softmax(logits / temperature, axis=1)
    return probabilities


def nll(probabilities: Floats, truth: Places) -> float:
    """Mean negative natural logarithm of the true label's probability, which is floored at 1e-12."""
    return float(_nll_of_clips(probabilities, truth).mean())


def brier(probabilities: Floats, truth: Places) -> float:
    """Mean over clips of the squared differences between probabilities and the true label's 1 (Brier 1950), 0 to 2."""
    return float(_brier_of_clips(probabilities, truth).mean())


def ece(probabilities: Floats, truth: Places, *, bins: int = BINS) -> float:
    """Expected calibration error: mean over clips of their bins' |mean confidence - accuracy|; not debiased.

    Args:
        probabilities: shape (clips, K).
        truth: index of each clip's true label, shape (clips,).
        bins: maximum number of bins of equal mass; fewer if they would hold fewer than 20 clips.
    """
    gap, index = _gaps(probabilities, truth, bins)
    return _ece(gap, index)


def rms_error(probabilities: Floats, truth: Places, speaker: Places | None = None, *, bins: int = BINS) -> float:
    """Debiased root mean square calibration error; 0 where the bins' gaps are no larger than noise.

    The root of the mean over clips of g^2 - v, where g is the gap of a clip's bin and v its
    sampling variance over n units, n / (n - 1) sum_k (G_k - g m_k)^2 / (sum_k m_k)^2, with m_k
    clips and the sum G_k of gaps of unit k.

    Args:
        probabilities: shape (clips, K).
        truth: index of each clip's true label, shape (clips,).
        speaker: index of each clip's speaker, the units; if not given, each clip is its own.
        bins: as in :func:`ece`.
    """
    gap, index = _gaps(probabilities, truth, bins)
    unit = np.arange(len(truth)) if speaker is None else speaker
    sums, clips = _sums(gap, index, unit)
    return float(_rms(sums.sum(axis=0), clips.sum(axis=0), _noise(sums, clips)))


def decompose(probabilities: Floats, truth: Places, *, bins: int = BINS) -> Decomposition:
    """Split the Brier score (Murphy 1973), each label's probability in bins of its own, summed over labels.

    With n_b clips, mean probability p_b and frequency o_b in bin b, and frequency o of all n clips:
    reliability is sum_b n_b (p_b - o_b)^2 / n, resolution sum_b n_b (o_b - o)^2 / n, uncertainty o
    (1 - o). The remainder is the within-bin variance of the probabilities less twice their
    covariance with the truth (Stephenson, Coelho and Jolliffe 2008, Weather and Forecasting 23).
    The parts add up to the score exactly.

    Args:
        probabilities: shape (clips, K).
        truth: index of each clip's true label, shape (clips,).
        bins: as in :func:`ece`.
    """
    hits = np.eye(probabilities.shape[1])[truth]
    frequency = hits.mean(axis=0)
    reliability = resolution = 0.0
    for label, share in enumerate(frequency):
        index = _bin(probabilities[:, label], bins)
        clips = np.bincount(index)
        mean = np.bincount(index, probabilities[:, label]) / clips
        observed = np.bincount(index, hits[:, label]) / clips
        reliability += float(clips @ (mean - observed) ** 2) / len(truth)
        resolution += float(clips @ (observed - share) ** 2) / len(truth)
    uncertainty = float((frequency * (1 - frequency)).sum())
    remainder = brier(probabilities, truth) - (reliability - resolution + uncertainty)
    return Decomposition(reliability, resolution, uncertainty, remainder)


def judge_calibration(
    probabilities: Floats,
    truth: Places,
    speaker: Places,
    *,
    bins: int = BINS,
    resampling: Resampling = STANDARD,
) -> Calibration:
    """Judge probabilities, with intervals over speakers.

    Args:
        probabilities: shape (clips, K).
        truth: index of each clip's true label, shape (clips,).
        speaker: index of each clip's speaker from 0 on, every index in use, shape (clips,).
        bins: as in :func:`ece`.
        resampling: how speakers are resampled.
    """
    speakers = int(speaker.max()) + 1
    counts = np.bincount(speaker).astype(np.float64)

    def mean(values: Floats) -> Interval:
        sums = np.bincount(speaker, values)
        return resampling.interval(
            float(values.mean()), lambda weights: (weights @ sums) / (weights @ counts), speakers
        )

    gap, index = _gaps(probabilities, truth, bins)
    sums, clips = _sums(gap, index, speaker)
    noise = _noise(sums, clips)
    rms = resampling.interval(
        rms_error(probabilities, truth, speaker if resampling.known and speakers > 1 else None, bins=bins),
        # A replicate is as noisy as the data are, once more: its squared gaps are too large by twice the variance.
        lambda weights: _rms(weights @ sums, weights @ clips, 2 * noise),
        speakers,
    )
    over = mean(gap)
    return Calibration(
        overconfidence=over,
        ece=_ece(gap, index),
        rms_error=rms,
        brier=mean(_brier_of_clips(probabilities, truth)),
        decomposition=decompose(probabilities, truth, bins=bins),
        nll=mean(_nll_of_clips(probabilities, truth)),
        bins=clips.shape[1],
        clips=len(truth),
        shown=_shown(over, rms),
        reliability=_reliability(probabilities, truth, speaker, bins, resampling),
    )


def _shown(overconfidence: Interval, rms: Interval) -> Shown | None:
    if overconfidence.low is None or overconfidence.high is None or rms.low is None:
        return None
    if overconfidence.low > 0:
        return "overconfident"
    if overconfidence.high < 0:
        return "underconfident"
    return "miscalibrated" if rms.low > 0 else "not shown"


def _reliability(
    probabilities: Floats, truth: Places, speaker: Places, bins: int, resampling: Resampling
) -> tuple[ReliabilityPoint, ...]:
    confidence = probabilities.max(axis=1)
    index = _bin(confidence, bins)
    right = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    hits, clips = _sums(right, index, speaker)

    def accuracy(place: int) -> Interval:
        def of_replicates(weights: Floats) -> Floats:
            with np.errstate(invalid="ignore"):
                share: Floats = (weights @ hits[:, place]) / (weights @ clips[:, place])
            return share

        value = float(hits[:, place].sum() / clips[:, place].sum())
        return resampling.interval(value, of_replicates, len(hits))

    return tuple(
        ReliabilityPoint(float(confidence[index == place].mean()), accuracy(place), int(clips[:, place].sum()))
        for place in range(clips.shape[1])
    )


def _brier_of_clips(probabilities: Floats, truth: Places) -> Floats:
    squared: Floats = ((probabilities - np.eye(probabilities.shape[1])[truth]) ** 2).sum(axis=1)
    return squared


def _nll_of_clips(probabilities: Floats, truth: Places) -> Floats:
    of_truth = probabilities[np.arange(len(truth)), truth]
    loss: Floats = -np.log(np.maximum(of_truth, _SMALLEST_PROBABILITY))
    return loss


def _gaps(probabilities: Floats, truth: Places, bins: int) -> tuple[Floats, Places]:
    """Each clip's confidence less whether it is right, and the place of its bin, shape (clips,)."""
    confidence = probabilities.max(axis=1)
    return confidence - (probabilities.argmax(axis=1) == truth), _bin(confidence, bins)


def _bin(values: Floats, bins: int) -> Places:
    """Place of each value's bin, from 0 on without gaps; edges as scikit-learn's ``calibration_curve`` has them."""
    values = levels_of(values)
    count = max(1, min(bins, len(values) // FEWEST_IN_BIN))
    edges = np.quantile(values, np.linspace(0, 1, count + 1)[1:-1])
    index: Places = np.unique(np.searchsorted(edges, values), return_inverse=True)[1]
    return index


def _sums(values: Floats, index: Places, unit: Places) -> tuple[Floats, Floats]:
    """Sum of the values and number of clips of each unit and bin, shape (units, bins)."""
    units, bins = int(unit.max()) + 1, int(index.max()) + 1
    cell = unit * bins + index
    both = (np.bincount(cell, weights, units * bins).astype(np.float64) for weights in (values, np.ones_like(values)))
    sums, clips = (each.reshape(units, bins) for each in both)
    return sums, clips


def _ece(gap: Floats, index: Places) -> float:
    return float(np.abs(np.bincount(index, gap)).sum()) / len(gap)


def _noise(sums: Floats, clips: Floats) -> Floats:
    """Sampling variance over units of each bin's mean gap, a ratio of sums, shape (bins,)."""
    total = clips.sum(axis=0)
    residual = sums - clips * (sums.sum(axis=0) / total)
    units = (clips > 0).sum(axis=0)
    variance: Floats = units / np.maximum(units - 1, 1) * (residual**2).sum(axis=0) / total**2
    return variance


def _rms(sums: Floats, clips: Floats, noise: Floats) -> Floats:
    """Root of the bins' mean squared gap less noise, shape (...) from sums of shape (..., bins)."""
    squared = np.divide(sums**2, clips, out=np.zeros_like(clips), where=clips > 0) - noise * clips
    root: Floats = np.sqrt(np.maximum(squared.sum(axis=-1) / clips.sum(axis=-1), 0))
    return root
