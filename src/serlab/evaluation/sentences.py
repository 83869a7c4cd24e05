"""Sentences as a second random factor: what other sentences would change, beside what other speakers would.

In many corpora every speaker says the same few sentences. Resampling speakers treats these as all
the sentences there are; a claim about emotional speech in general must draw them too. The variance
that is robust to both clusterings is that of speakers, plus that of sentences, less that of the
clips of one speaker and sentence, which both contain (Cameron, Gelbach and Miller 2011, Journal of
Business & Economic Statistics 29(2)); here it is never less than that of speakers. Each part comes
from the same linearised scores (:mod:`serlab.evaluation.influence`), and Student's distribution has
one degree of freedom less than the smaller number of clusters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from serlab.evaluation.counts import SpeakerCounts, count_by_speaker
from serlab.evaluation.influence import standard_error, training_variances
from serlab.evaluation.metrics import UAR, Metric
from serlab.evaluation.resampling import FEWEST_SPEAKERS, LEVEL


@dataclass(frozen=True)
class TwoWay:
    """A score, or a difference of two, over other speakers and other sentences.

    Attributes:
        value: the estimate.
        low: lower end of the 95 % interval.
        high: upper end.
        sentences: number of sentences.
        speaker_error: standard error over speakers alone.
        sentence_error: standard error over sentences alone.
        error: standard error over both.
    """

    value: float
    low: float
    high: float
    sentences: int
    speaker_error: float
    sentence_error: float
    error: float


def two_way(
    tables: Sequence[pd.DataFrame], sentence: Mapping[str, str], labels: Sequence[str], *, metric: Metric = UAR
) -> TwoWay | None:
    """Judge a score, or the difference of two, over speakers and sentences.

    Args:
        tables: rows of one model, or of two on the same clips, as for
            :func:`serlab.evaluation.counts.count_by_speaker`.
        sentence: of each clip; clips without one are one sentence each.
        labels: the full label list.
        metric: the score.

    Returns:
        None for fewer than 10 speakers or 10 sentences, or if a label has one of them alone.
    """
    said = [rows["clip"].map(lambda clip: sentence.get(clip, clip)).astype(str) for rows in tables]
    by_speaker = [count_by_speaker(rows, labels) for rows in tables]
    by_sentence = [count_by_speaker(rows.assign(speaker=of), labels) for rows, of in zip(tables, said, strict=True)]
    if min(len(by_speaker[0].speakers), len(by_sentence[0].speakers)) < FEWEST_SPEAKERS:
        return None
    by_both = [
        count_by_speaker(rows.assign(speaker=rows["speaker"].astype(str) + "\n" + of), labels)
        for rows, of in zip(tables, said, strict=True)
    ]
    errors = [standard_error(each, metric) for each in (by_speaker, by_sentence, by_both)]
    of_speakers, of_sentences, of_both = errors
    if of_speakers is None or of_sentences is None or of_both is None:
        return None
    variance = of_speakers.error**2 + max(0.0, of_sentences.error**2 - of_both.error**2)
    trainings = sum(float(training_variances(term, metric).sum()) for term in by_speaker)
    freedom = min(len(by_speaker[0].speakers), len(by_sentence[0].speakers)) - 1
    half = float(-stdtrit(freedom, (1 - LEVEL) / 2) * np.sqrt(variance + trainings))
    value = _value(by_speaker, metric)
    low, high = metric.range if len(tables) == 1 else (-metric.width, metric.width)
    return TwoWay(
        value=value,
        low=max(low, value - half),
        high=min(high, value + half),
        sentences=len(by_sentence[0].speakers),
        speaker_error=of_speakers.error,
        sentence_error=of_sentences.error,
        error=float(np.sqrt(variance)),
    )


def _value(terms: Sequence[SpeakerCounts], metric: Metric) -> float:
    """The first term's score, less the second's if there is one; means over seeds."""
    scores = [float(term.scores(metric).mean()) for term in terms]
    return scores[0] - sum(scores[1:])
