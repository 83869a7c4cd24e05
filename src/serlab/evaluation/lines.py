"""What judging found, as lines of plain text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from serlab.evaluation.learning import NOT_SHOWN

_SEEDS_DIFFER = (
    "the seeds judge different clips, so that nobody can tell training again from other clips: the intervals speak of "
    "these trained models alone"
)
_TITLES = {"uar": "UAR", "wa": "WA", "macro_f1": "macro-F1"}


def evaluation_lines(result: dict[str, Any]) -> list[str]:
    """What :func:`evaluate` found, as lines of plain text for a terminal."""
    width = max(map(len, result["labels"]))
    of = f" of {result['corpus']['name']} ({result['corpus']['copy']})" if result["corpus"] else ""
    people = "speakers unknown" if result["speakers"] is None else _speakers(result["speakers"])
    lines = [f"{result['clips']} clips{of}, {people}"]
    for metric, title in _TITLES.items():
        score = result["scores"][metric]
        lines.append(f"{title:<9}{100 * score['value']:6.1f} %   {_interval(score)}")
    if result.get("learned") is not None:
        lines.append(f"UAR is {'above chance' if result['learned'] else NOT_SHOWN} ({_percent(result['chance'])})")
    if not result["seeds_comparable"]:
        lines.append(_SEEDS_DIFFER)
    lines += ["", f"{'':<{width}}  precision  recall      F1   clips"]
    for row in result["per_class"]:
        cells = "  ".join(f"{_percent(row[key]):>7}" for key in ("recall", "f1"))
        lines.append(f"{row['label']:<{width}}  {_percent(row['precision']):>9} {cells}  {row['clips']:>6}")
    if result["absent"]:
        lines.append(f"no clips of {', '.join(result['absent'])}: not part of UAR and macro-F1")
    if result["unpredicted"]:
        one = result["unpredicted"] == 1
        clips = "1 clip of the corpus has" if one else f"{result['unpredicted']:,} clips of the corpus have"
        lines.append(f"{clips} no prediction in the table")
    lines += ["", *_trust_lines(result["trust"])]
    lines += [f"left out: {exclusion['clip']} ({exclusion['reason']})" for exclusion in result["exclusions"]]
    return lines


def pair_lines(pair: dict[str, Any]) -> list[str]:
    """What :func:`evaluate_pair` found, as lines of plain text for a terminal."""
    first, second = pair["names"]
    people = "speakers unknown" if pair["speakers"] is None else _speakers(pair["speakers"])
    lines = [f"{first} less {second}, on the {pair['clips']} clips that both have, {people}"]
    if any(pair["only"]):
        lines.append(f"only one of them has {pair['only'][0]} and {pair['only'][1]} more clips: not compared")
    if not pair["seeds_comparable"]:
        lines.append(_SEEDS_DIFFER)
    for metric, title in _TITLES.items():
        difference = pair["differences"][metric]
        lines.append(f"{title:<9}{100 * difference['value']:+6.1f}     {_interval(difference)}")
    if pair["p"] is None:
        return lines
    margin = f"{100 * pair['margin']:g} points"
    lines.append(
        {
            "better": f"{first} is ahead in UAR",
            "worse": f"{second} is ahead in UAR",
            "equivalent": f"equivalent: the 90 % interval of UAR lies within {margin}",
            "not shown": f"neither a difference in UAR nor equivalence within {margin} is shown",
        }[pair["answer"]]
        + f"; p {pair['p']:.2g} (swaps within speakers), {pair['p_holm']:.2g} after Holm"
    )
    needed = "more than 2,000" if pair["speakers_needed"] is None else str(pair["speakers_needed"])
    lines.append(f"speakers needed to see {margin}: {needed}")
    return lines


def _trust_lines(trust: dict[str, Any]) -> Iterator[str]:
    """How far answers can be trusted: what a reader asks first; the rest is in the JSON."""
    if trust["calibration"]:
        yield from _calibration_lines(trust)
    else:
        yield "no probabilities: no calibration, no abstention and no sets"
    yield from _set_lines(trust["sets"] or ())
    yield from _beside_lines(trust)


def _calibration_lines(trust: dict[str, Any]) -> Iterator[str]:
    before, after = trust["calibration"]["before"], trust["calibration"]["after"]
    over = before["overconfidence"]
    surer = "surer" if over["value"] >= 0 else "less sure"
    yield f"{surer} than right by {abs(100 * over['value']):.1f} points ({_interval(over)})"
    yield f"calibration error: {_error(before)}"
    if after:
        values = [entry["value"] for entry in trust["calibration"]["temperatures"]]
        spread = f"{min(values):.2f}" if len(values) == 1 else f"{min(values):.2f} to {max(values):.2f}"
        yield f"with a temperature of {spread}, fitted on dev: {_error(after)}"
    else:
        yield f"no temperature and no sets: {trust['calibration']['without']}"
    for at in trust["abstention"]["at"]:
        right = at["accuracy"]
        yield (
            f"of the surest {100 * at['coverage']:.0f} % of answers, {_percent(right['value'])} are right "
            f"({_interval(right)})"
        )


def _beside_lines(trust: dict[str, Any]) -> Iterator[str]:
    """Groups of speakers, other labels, all votes and people."""
    for attribute, found in (trust["groups"] or {}).items():
        gap = found["gap"]
        if gap:
            yield (
                f"{attribute}: gap {100 * gap['value']:.1f} points ({gap['best']} over {gap['worst']}), "
                f"p {gap['p']:.2g}; "
                f"chance alone: median {100 * gap['null_median']:.1f}, 95th percentile {100 * gap['null_high']:.1f}"
            )
        else:
            yield f"{attribute}: no gap, {found['reason']}"
    for entry in trust["tracks"] or ():
        uar = entry["scores"]["uar"]
        yield f"UAR on {entry['name']}: {_percent(uar['value'])} ({_interval(uar)}; {entry['description']})"
    if soft := trust["soft"]:
        macro, apart, cross = soft["macro_f1"], soft["divergence"], soft["cross_entropy"]
        if macro:
            yield f"against all votes: multi-label macro-F1 {_percent(macro['value'])} ({_interval(macro)})"
        yield (
            f"against all votes: Jensen-Shannon divergence {apart['value']:.3f} bits, cross-entropy "
            f"{cross['value']:.3f} nats, of which {soft['entropy']:.3f} are the votes' own"
        )
    if trust["people"] and (alike := trust["people"]["pearson"]):
        yield f"errors correlate with people's by {alike['value']:.2f} ({_interval(alike, 1, 2)})"


def _set_lines(sets: Iterable[dict[str, Any]]) -> Iterator[str]:
    for entry in sets:
        asked, found = f"sets for {100 * entry['level']:.0f} %", entry["speakers"]
        if found:
            covered = found["by_speaker"]
            folds = ", ".join(found["folds"])
            among = f" (fold {folds} alone, of the others dev has too few speakers)" if found["unattained"] else ""
            yield (
                f"{asked}: {_percent(covered['value'])} covered ({_interval(covered)}), "
                f"{found['mean_size']:.2f} labels a set{among}"
            )
        else:
            yield f"{asked}: not attainable with fewer than {entry['fewest_speakers']} known speakers in dev"


def _error(found: dict[str, Any]) -> str:
    """Calibration error as it is usual, and freed of the noise that makes it look larger."""
    rms = found["rms_error"]
    return f"ECE {_percent(found['ece'])}; freed of noise, root mean square {_percent(rms['value'])} ({_interval(rms)})"


def _interval(score: dict[str, Any], unit: float = 100, digits: int = 1) -> str:
    if score["low"] is None:
        return f"no interval: {score['reason']}"
    return f"95 % interval {unit * score['low']:.{digits}f} to {unit * score['high']:.{digits}f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _speakers(count: int) -> str:
    return f"{count} speaker{'' if count == 1 else 's'}"
