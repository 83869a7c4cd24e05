"""How the report says numbers, folds and people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

MINUS = "\u2212"
_TITLES = {"crema-d": ("CREMA-D", "actors"), "synthetic": ("the synthetic corpus", "synthetic voices")}
_PLAIN_METRICS = {"uar": "UAR", "wa": "WA", "macro_f1": "macro-F1"}


def corpus_title(name: str) -> str:
    """The corpus's name as it is written in a sentence."""
    return _TITLES.get(name, (name, ""))[0]


def people(name: str) -> str:
    """What the corpus calls the people in it, in the plural."""
    return _TITLES.get(name, ("", "speakers"))[1]


def metric_title(metric: str) -> str:
    """A metric as it is written in a sentence."""
    return _PLAIN_METRICS[metric]


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


def interval_text(interval: Mapping[str, Any]) -> str:
    """An interval's ends, or why there is none.

    >>> interval_text({"value": 0.5, "low": 0.45, "high": 0.551, "reason": ""})
    '45.0 to 55.1'
    """
    if interval["low"] is None:
        return f"no interval: {interval['reason']}"
    return f"{points(interval['low'])} to {points(interval['high'])}"


def spans(numbers: Iterable[int]) -> str:
    """Whole numbers with runs drawn together.

    >>> spans([1, 2, 3, 5])
    '1 to 3, 5'
    """
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]} to {p[-1]}" if len(p) > 2 else ", ".join(map(str, p)) for p in parts)


def counted(number: int, singular: str, plural: str = "") -> str:
    """A number with its noun.

    >>> counted(1, "fold"), counted(1200, "clip")
    ('1 fold', '1,200 clips')
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def listed(words: Iterable[str]) -> str:
    """Words as a person lists them.

    >>> listed(["angry", "happy", "sad"])
    'angry, happy and sad'
    """
    items = list(words)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def signature_line(corpus: Mapping[str, Any], protocol: str, folds: Iterable[int], seeds: Iterable[int]) -> str:
    """Which data a figure is of: corpus and fingerprint, label track, protocol, folds, seeds."""
    parts = (
        f"{corpus['name']} {corpus['fingerprint'][:8]}",
        f"{corpus['label_track']} labels",
        protocol,
        f"fold {spans(folds)}",
        f"seed {spans(seeds)}",
    )
    return " · ".join(parts)


def _signed(text: str) -> str:
    """A true minus sign, and none before zero."""
    return re.sub(r"^-", MINUS, re.sub(r"^-(0\.?0*)$", r"\1", text))
