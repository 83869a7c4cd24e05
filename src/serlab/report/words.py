"""How the report says numbers, folds and people."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from serlab.corpora import describe, descriptions

MINUS = "\u2212"
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
    """A share as per cent without the sign, an en dash for a missing one.

    >>> percent(0.6123), percent(None)
    ('61.2', '–')
    """
    return "–" if value is None else _signed(f"{100 * value:.{digits}f}")


def points(value: float) -> str:
    """A difference of two shares in points, with a true minus sign.

    >>> points(-0.0421)
    '−4.2'
    """
    return _signed(f"{100 * value:.1f}")


def p_value(value: float | None) -> str:
    """A p-value with as many digits as mean something.

    >>> p_value(0.0314), p_value(0.00002), p_value(None)
    ('.031', '< .001', '–')
    """
    if value is None:
        return "–"
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def interval_text(interval: Mapping[str, Any]) -> str:
    """An interval's ends, or why there is none.

    >>> interval_text({"value": 0.5, "low": 0.45, "high": 0.551, "reason": ""})
    '45.0 to 55.1'
    """
    if interval["low"] is None:
        return f"no interval: {interval['reason']}"
    return f"{points(interval['low'])} to {points(interval['high'])}"


def correlation_text(interval: Mapping[str, Any]) -> str:
    """The ends of a correlation's interval.

    >>> correlation_text({"value": 0.1, "low": -0.021, "high": 0.22})
    '−0.02 to 0.22'
    """
    low, high = (_signed(f"{interval[end]:.2f}") for end in ("low", "high"))
    return f"{low} to {high}"


def attained_text(entry: Mapping[str, Any]) -> str:
    """The folds whose dev side is large enough for a level of prediction sets, and whether others are not.

    >>> attained_text({"speakers": {"folds": {"4": 0.99}, "unattained": [1, 2, 3, 5]}})
    'fold 4 alone'
    >>> attained_text({"speakers": {"folds": {"1": 0.9, "2": 0.92}, "unattained": []}})
    'folds 1, 2'
    """
    found = entry["speakers"]
    folds = [int(fold) if fold.isdecimal() else fold for fold in found["folds"]]
    return (numbered("fold", folds) + (" alone" if found["unattained"] else "")) if folds else "–"


def spans(numbers: Iterable[int | str]) -> str:
    """Whole numbers with runs drawn together; names as they are, and an en dash where there is nothing.

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


def span(values: Iterable[float]) -> str:
    """The smallest and largest of some values.

    >>> span([1.5, 0.82, 1.1]), span([2.0])
    ('0.82 to 1.5', '2')
    """
    known = sorted(values)
    low, high = f"{known[0]:.3g}", f"{known[-1]:.3g}"
    return low if low == high else f"{low} to {high}"


def numbered(noun: str, numbers: Iterable[int | str]) -> str:
    """A noun with the numbers of what it means.

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
    """A side of a fold as it is written in a sentence; ``none`` is of entries that are no clips."""
    return {"train": "training", "dev": "development", "test": "test", "none": "no side"}[side]


def chosen_text(chosen: Mapping[str, Any]) -> str:
    """Hyper-parameters that a search chose, with the UAR that chose them.

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


def weights_text(weights: Mapping[str, Sequence[float]]) -> str:
    """The weights of a fusion's members, least and most over folds.

    >>> weights_text({"resnet18": [0.2, 0.31], "mfcc-svm": [0.5, 0.5]})
    'resnet18 0.20 to 0.31, mfcc-svm 0.50'
    """
    spread = {name: list(dict.fromkeys(f"{value:.2f}" for value in ends)) for name, ends in weights.items()}
    return ", ".join(f"{name} {' to '.join(ends)}" for name, ends in spread.items()) or "–"


def listed(words: Iterable[str]) -> str:
    """Words as a person lists them; with semicolons where a word has a comma itself.

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
    """Which data a figure is of: corpus and fingerprint, label track, protocol, folds and seeds where there are any."""
    parts = (
        f"{corpus['name']} {corpus['fingerprint'][:8]}".strip(),
        f"{corpus['label_track']} labels",
        protocol,
        *([numbered("fold", folds)] if folds else []),
        *([numbered("seed", seeds)] if seeds else []),
    )
    return " · ".join(parts)


def _signed(text: str) -> str:
    """A true minus sign, and none before zero."""
    return re.sub(r"^-", MINUS, re.sub(r"^-(0\.?0*)$", r"\1", text))
