"""How the report writes numbers, folds and speakers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from serlab.corpora import describe, descriptions
from serlab.evaluation.breakdown import Breakdown
from serlab.evaluation.metrics import PERCENT, Format
from serlab.evaluation.resampling import Interval

MINUS = "\u2212"
CORRELATION = EFFECT_SIZE = Format(1, 2, "", "")
DECIBEL = Format(1, 1, "", "")
_SEARCH_SCORES = {"inner_uar": "UAR in the search", "dev_uar": "UAR on dev"}


def corpus_title(name: str) -> str:
    """The corpus's name in a sentence."""
    known = descriptions().get(name)
    return known.title if known else name


def people(name: str) -> str:
    """What the corpus calls its speakers, in the plural."""
    known = describe(name)
    return known.people if known else "speakers"


def percent(value: float | None, digits: int = 1) -> str:
    """A share in per cent without the sign; an en dash if it is missing.

    >>> percent(0.6123), percent(None)
    ('61.2', '–')
    """
    return "–" if value is None else _signed(f"{100 * value:.{digits}f}")


def points(value: float) -> str:
    """A difference of two shares in points, with a true minus sign.

    >>> points(-0.0421)
    '−4.2'
    """
    return written(value)


def written(value: float, form: Format = PERCENT) -> str:
    """A score or a difference in its metric's format, without the unit, with a true minus sign.

    >>> written(-0.0421), written(0.5, Format(1, 2))
    ('−4.2', '0.50')
    """
    return _signed(form(value))


def p_value(value: float | None) -> str:
    """A p-value with its significant digits.

    >>> p_value(0.0314), p_value(0.00002), p_value(None)
    ('.031', '< .001', '–')
    """
    if value is None:
        return "–"
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def interval_text(interval: Interval, form: Format = PERCENT) -> str:
    """An interval's ends, or why there is none.

    >>> interval_text(Interval(0.5, 0.45, 0.551))
    '45.0 to 55.1'
    """
    if interval.low is None or interval.high is None:
        return f"no interval: {interval.reason}"
    return f"{written(interval.low, form)} to {written(interval.high, form)}"


def wins_text(found: Breakdown) -> str:
    """For how many speakers the first of a pair is ahead, and the effect size.

    >>> wins_text(Breakdown({"a": 0.2, "b": 0.1, "c": -0.1}, 2, 1, 2 / 3, 0.436, {}, 0.95))
    'ahead for 2 of 3 speakers, behind for 1 (win rate 67 %); effect size 0.44'
    """
    equal = len(found.gains) - found.ahead - found.behind
    counts = f"ahead for {found.ahead} of {counted(len(found.gains), 'speaker')}, behind for {found.behind}"
    rate = f"{counts}{f', equal for {equal}' if equal else ''} (win rate {percent(found.win_rate, 0)} %)"
    return rate + ("" if found.effect_size is None else f"; effect size {written(found.effect_size, EFFECT_SIZE)}")


def attained_text(folds: Iterable[str], *, alone: bool) -> str:
    """The folds whose dev subset is large enough for a level of prediction sets.

    >>> attained_text(["4"], alone=True), attained_text(["1", "2"], alone=False)
    ('fold 4 alone', 'folds 1, 2')
    """
    found = [int(fold) if fold.isdecimal() else fold for fold in folds]
    return (numbered("fold", found) + (" alone" if alone else "")) if found else "–"


def spans(numbers: Iterable[int | str]) -> str:
    """Whole numbers with runs joined, names as they are; an en dash if there is nothing.

    >>> spans([1, 2, 3, 5]), spans(["Session2", "Session1"]), spans([])
    ('1 to 3, 5', 'Session1, Session2', '–')
    """
    distinct = set(numbers)
    whole = [number for number in distinct if isinstance(number, int)]
    if len(whole) < len(distinct) or not distinct:
        return ", ".join(sorted(map(str, distinct))) or "–"
    parts: list[list[int]] = []
    for number in sorted(whole):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]} to {p[-1]}" if len(p) > 2 else ", ".join(map(str, p)) for p in parts)


def size(number: float) -> str:
    """A number of parameters with its unit.

    >>> size(94_000_000), size(512)
    ('94 M', '512')
    """
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g} {unit}"
    return f"{number:.0f}"


def span(values: Iterable[float]) -> str:
    """The smallest and largest of some values.

    >>> span([1.5, 0.82, 1.1]), span([2.0])
    ('0.82 to 1.5', '2')
    """
    known = sorted(values)
    low, high = f"{known[0]:.3g}", f"{known[-1]:.3g}"
    return low if low == high else f"{low} to {high}"


def numbered(noun: str, numbers: Iterable[int | str]) -> str:
    """A noun with its numbers.

    >>> numbered("fold", [3]), numbered("fold", [1, 2, 3])
    ('fold 3', 'folds 1 to 3')
    """
    distinct = set(numbers)
    return f"{noun}{'s' if len(distinct) > 1 else ''} {spans(distinct)}"


def counted(number: int, singular: str, plural: str = "") -> str:
    """A number with its noun.

    >>> counted(1, "fold"), counted(1200, "clip")
    ('1 fold', '1,200 clips')
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def side_title(side: str) -> str:
    """A subset of a fold in a sentence; ``none`` is for entries that are not clips, others are a table's own."""
    return {"train": "training", "dev": "development", "test": "test", "none": "no subset"}.get(side, side)


def sentence(text: str) -> str:
    """A finding as a heading: with a capital letter, unless it begins with a recipe's or a table's name.

    >>> sentence("no difference can be shown."), sentence("mine is ahead of theirs.")
    ('No difference can be shown.', 'mine is ahead of theirs.')
    """
    return text[:1].upper() + text[1:] if text.startswith("no difference ") else text


def chosen_text(chosen: Mapping[str, Any]) -> str:
    """Hyperparameters chosen by a search, with their UAR.

    >>> chosen_text({"C": 10.0, "gamma": 0.003, "inner_uar": 0.4512})
    'C 10, gamma 0.003, UAR in the search 45.1 %'
    >>> chosen_text({"temperature": None})
    'temperature not fitted'
    """
    parts = [
        f"{_SEARCH_SCORES[name]} {percent(value)} %"
        if name in _SEARCH_SCORES
        else f"{name} {value:g}"
        if isinstance(value, float)
        else f"{name} {'not fitted' if value is None else value}"
        for name, value in chosen.items()
    ]
    return ", ".join(parts) or "–"


def parts(items: Sequence[str], most: int) -> list[Sequence[str]]:
    """Items in as few parts as possible of at most ``most``, about equally long.

    >>> [len(part) for part in parts("abcdefghij", 8)], parts([], 8)
    ([5, 5], [])
    """
    number = -(-len(items) // most)
    ends = [len(items) * place // number for place in range(number + 1)] if number else [0]
    return [items[start:end] for start, end in pairwise(ends)]


def weights_text(weights: Mapping[str, Sequence[float]]) -> str:
    """The weights of a fusion's members, minimum and maximum over folds.

    >>> weights_text({"resnet18": [0.2, 0.31], "mfcc-svm": [0.5, 0.5]})
    'resnet18 0.20 to 0.31, mfcc-svm 0.50'
    """
    spread = {name: list(dict.fromkeys(f"{value:.2f}" for value in ends)) for name, ends in weights.items()}
    return ", ".join(f"{name} {' to '.join(ends)}" for name, ends in spread.items()) or "–"


def listed(words: Iterable[str]) -> str:
    """Words as a list in a sentence, with semicolons if a word contains a comma.

    >>> listed(["angry", "happy", "sad"])
    'angry, happy and sad'
    >>> listed(["MFCC, SVM", "ResNet18"])
    'MFCC, SVM; and ResNet18'
    """
    items = list(words)
    if len(items) < 2:
        return "".join(items)
    comma = ";" if any("," in item for item in items) else ","
    return f"{f'{comma} '.join(items[:-1])}{comma if comma == ';' else ''} and {items[-1]}"


def signature_line(
    corpus: Mapping[str, Any], protocol: str, folds: Collection[int | str], seeds: Collection[int | str]
) -> str:
    """The data of a figure: corpus and fingerprint, label track, protocol, folds and seeds."""
    parts = (
        f"{corpus['name']} {corpus['fingerprint'][:8]}".strip(),
        f"{corpus['label_track']} labels",
        protocol,
        *([numbered("fold", folds)] if folds else []),
        *([numbered("seed", seeds)] if seeds else []),
    )
    return " · ".join(parts)


def _signed(text: str) -> str:
    """Use a true minus sign, but not before zero."""
    return re.sub(r"^-", MINUS, re.sub(r"^-(0\.?0*)$", r"\1", text))
