"""What judging found, as lines of plain text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from serlab.core.progress import clock
from serlab.evaluation.calibration import Calibration
from serlab.evaluation.claims import (
    alone_clause,
    calibration_text,
    needed_text,
    scope_text,
    sentences_text,
    sets_text,
    ties_text,
)
from serlab.evaluation.confidence import SetLevel
from serlab.evaluation.diarization import DiarizationEvaluation
from serlab.evaluation.judge import Evaluation, PairEvaluation
from serlab.evaluation.learning import NOT_SHOWN
from serlab.evaluation.metrics import METRICS, PERCENT, Format
from serlab.evaluation.resampling import Interval
from serlab.evaluation.trust import Trust

_TITLES = max(len(metric.title) for metric in METRICS.values()) + 1


def evaluation_lines(result: Evaluation) -> list[str]:
    """What :func:`serlab.evaluation.judge.evaluate` found, as lines of plain text for a terminal."""
    width = max(map(len, result.labels))
    of = f" of {result.corpus['name']} ({result.corpus['copy']})" if result.corpus else ""
    lines = [f"{result.clips} clips{of}, {_speakers(result.speakers)}"]
    for key, metric in METRICS.items():
        score, form = result.scores[key], metric.format
        lines.append(f"{metric.title:<{_TITLES}}{form(score.value):>6} {form.unit:<1}   {_interval(score, form)}")
    if result.learned is not None:
        lines.append(f"UAR is {'above chance' if result.learned else NOT_SHOWN} ({_percent(result.chance)})")
    lines += _scope_lines(result, result.scores["uar"])
    lines += [f"caution: {caution.text} {caution.meaning}".rstrip() for caution in result.cautions]
    lines += ["", f"{'':<{width}}  precision  recall      F1   clips"]
    for row in result.per_class:
        values = f"{_percent(row.precision):>9} {_percent(row.recall):>7}  {_percent(row.f1):>7}"
        lines.append(f"{row.label:<{width}}  {values}  {row.clips:>6}")
    if result.ties:
        lines.append(ties_text(result.ties))
    if result.absent:
        lines.append(f"no clips of {', '.join(result.absent)}: not part of UAR and macro-F1")
    if result.partly_absent:
        lines.append(
            f"no clips of {', '.join(result.partly_absent)} under some seeds: not part of their UAR and macro-F1"
        )
    if result.unpredicted:
        one = result.unpredicted == 1
        clips = "1 clip of the corpus has" if one else f"{result.unpredicted:,} clips of the corpus have"
        lines.append(f"{clips} no prediction in the table")
    lines += ["", *_trust_lines(result.trust)]
    lines += [f"left out: {exclusion['clip']} ({exclusion['reason']})" for exclusion in result.exclusions]
    return lines


def pair_lines(pair: PairEvaluation) -> list[str]:
    """What :func:`serlab.evaluation.judge.evaluate_pair` found, as lines of plain text for a terminal."""
    (first, second), found = pair.names, pair.comparison
    lines = [f"{first} less {second}, on the {pair.clips} clips that both have, {_speakers(pair.speakers)}"]
    if any(pair.only):
        lines.append(f"only one of them has {pair.only[0]} and {pair.only[1]} more clips: not compared")
    lines += _scope_lines(pair, found.differences["uar"])
    for key, metric in METRICS.items():
        difference, form = found.differences[key], metric.format
        lines.append(f"{metric.title:<{_TITLES}}{form(difference.value, '+'):>6}     {_interval(difference, form)}")
    if found.p is None:
        return lines
    margin = f"{100 * found.margin:g} points"
    ahead = "better" if pair.scope == "recipes" else "ahead"
    answer = {
        "better": f"{first} is {ahead} in UAR",
        "worse": f"{second} is {ahead} in UAR",
        "equivalent": f"equivalent: the 90 % interval of UAR lies within {margin}",
        "not shown": f"neither a difference in UAR nor equivalence within {margin} is shown",
    }[found.answer]
    holm = "" if found.family == 1 else f", {found.p_holm:.2g} after Holm over {found.family} pairs"
    lines.append(f"{answer}{alone_clause(found, first, second)}; p {found.p:.2g}{holm}")
    lines.append(f"speakers needed to see {margin}: {needed_text(found)}")
    return lines


def diarization_lines(found: DiarizationEvaluation) -> list[str]:
    """Lines about spans of emotion."""
    errors = found.errors
    parts = (("missed", errors.missed), ("false alarms", errors.false_alarm), ("confusion", errors.confusion))
    return [
        f"EDER {_percent(found.eder.value)} ({_interval(found.eder)})",
        ", ".join(f"{name} {_percent(seconds / errors.total)}" for name, seconds in parts),
        f"{len(found.recordings)} recordings, {clock(errors.total)}",
    ]


def _scope_lines(found: Evaluation | PairEvaluation, score: Interval) -> Iterator[str]:
    """Clips that seeds do not share, and what the intervals are about."""
    if found.uneven_clips:
        clips = "1 clip" if found.uneven_clips == 1 else f"{found.uneven_clips:,} clips"
        yield f"{clips} left out, because not every seed judged {'it' if found.uneven_clips == 1 else 'them'}"
    if score.low is not None:
        yield scope_text(found.scope)


def _trust_lines(trust: Trust) -> Iterator[str]:
    """How far answers can be trusted: what a reader asks first; the rest is in the JSON."""
    if trust.calibration:
        yield from _calibration_lines(trust)
    else:
        yield "no probabilities: no calibration, no abstention and no sets"
    yield from _set_lines(trust.sets or ())
    yield from _beside_lines(trust)


def _calibration_lines(trust: Trust) -> Iterator[str]:
    calibration, abstention = trust.calibration, trust.abstention
    if calibration is None or abstention is None:
        return
    after = calibration.after
    yield calibration_text(calibration.before)
    yield f"calibration error: {_error(calibration.before)}"
    if after:
        values = [entry.value for entry in calibration.temperatures or ()]
        spread = f"{min(values):.2f}" if len(values) == 1 else f"{min(values):.2f} to {max(values):.2f}"
        yield f"with a temperature of {spread}, fitted on dev: {calibration_text(after)}; {_error(after)}"
    else:
        yield f"no temperature and no sets: {calibration.without}"
    for at in abstention.at:
        yield (
            f"of the surest {100 * at.coverage:.0f} % of answers, {_percent(at.accuracy.value)} are right "
            f"({_interval(at.accuracy)})"
        )


def _beside_lines(trust: Trust) -> Iterator[str]:
    """Groups of speakers, other labels, all votes and human raters."""
    for attribute, found in (trust.groups or {}).items():
        if gap := found.gap:
            yield (
                f"{attribute}: gap {100 * gap.value:.1f} points ({gap.best} over {gap.worst}), "
                f"p {gap.p:.2g}; "
                f"chance alone: median {100 * gap.null_median:.1f}, 95th percentile {100 * gap.null_high:.1f}"
            )
        else:
            yield f"{attribute}: no gap, {found.reason}"
    for entry in trust.tracks or ():
        uar = entry.scores["uar"]
        yield f"UAR on {entry.name}: {_percent(uar.value)} ({_interval(uar)}; {entry.description})"
    if trust.sentences:
        yield sentences_text(trust.sentences)
    if soft := trust.soft:
        if macro := soft.macro_f1:
            yield f"against all votes: multi-label macro-F1 {_percent(macro.value)} ({_interval(macro)})"
        yield (
            f"against all votes: Jensen-Shannon divergence {soft.divergence.value:.3f} bits, cross-entropy "
            f"{soft.cross_entropy.value:.3f} nats, including {soft.entropy:.3f} of the votes themselves"
        )
    if trust.people and (alike := trust.people.pearson):
        form = Format(1, 2)
        yield f"errors correlate with the raters' by {form(alike.value)} ({_interval(alike, form)})"


def _set_lines(sets: Iterable[SetLevel]) -> Iterator[str]:
    for entry in sets:
        asked, found = f"sets for {100 * entry.level:.0f} %", entry.speakers
        if found:
            folds = ", ".join(found.folds)
            among = f" (only fold {folds}; in the others dev has too few speakers)" if found.unattained else ""
            yield (
                f"{asked}: {_percent(found.by_speaker.value)} covered ({_interval(found.by_speaker)}), "
                f"{found.mean_size:.2f} labels per set{among}" + (f"; {few}" if (few := sets_text(entry)) else "")
            )
        else:
            yield f"{asked}: not attainable with fewer than {entry.fewest_speakers} known speakers in dev"


def _error(found: Calibration) -> str:
    """Calibration error as usual, and without the noise that makes it look larger."""
    rms = found.rms_error
    return f"ECE {_percent(found.ece)}; debiased RMS {_percent(rms.value)} ({_interval(rms)})"


def _interval(score: Interval, form: Format = PERCENT) -> str:
    if score.low is None or score.high is None:
        return f"no interval: {score.reason}"
    return f"95 % interval {form(score.low)} to {form(score.high)}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _speakers(count: int | None) -> str:
    return "speakers unknown" if count is None else f"{count} speaker{'' if count == 1 else 's'}"
