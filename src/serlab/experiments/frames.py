"""Scores and differences of a comparison as DataFrames: the values of its ``report.json``, one per row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

_SCORE = {
    "recipe": "str",
    "title": "str",
    "side": "str",
    "metric": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "reason": "str",
    "clips": "Int64",
    "speakers": "Int64",
}
_DIFFERENCE = {
    "first": "str",
    "second": "str",
    "metric": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "reason": "str",
    "answer": "str",
    "p": "float64",
    "p_holm": "float64",
    "clips": "Int64",
    "speakers": "Int64",
}


def scores_of(report: Mapping[str, Any]) -> pd.DataFrame:
    """The scores of every recipe.

    Args:
        report: the content of ``report.json``.

    Returns:
        One row per recipe and metric, best recipe first: ``recipe`` (name of its folder),
        ``title``, ``side`` (the subset: test, or dev if no run has predicted test), ``metric``
        (``uar``, ``wa``, ``macro_f1``), ``value``, ``low`` and ``high`` (95 % interval over test
        speakers; NaN without one), ``reason`` (why there is no interval, else empty), ``clips`` and
        ``speakers`` (missing if unknown).
    """
    rows = (
        {"recipe": recipe["name"], **_only(recipe, ("title", "side", "clips", "speakers")), "metric": metric, **score}
        for recipe in report["recipes"]
        for metric, score in recipe["scores"].items()
    )
    return _frame(rows, _SCORE)


def differences_of(report: Mapping[str, Any]) -> pd.DataFrame:
    """The difference of every pair of recipes, on the clips that both have.

    Args:
        report: the content of ``report.json``.

    Returns:
        One row per pair and metric: ``first``, ``second`` (names of folders), ``metric``, ``value``
        (first minus second), ``low`` and ``high`` (95 % interval; NaN without one), ``reason`` (why
        there is no interval or no difference, else empty), ``answer`` (``better``, ``worse``,
        ``equivalent``, ``not shown``), ``p`` and ``p_holm`` (by inverting the interval, and
        adjusted for the number of pairs), ``clips`` and ``speakers``. ``answer`` and the p-values
        are of UAR and missing in other rows. A pair that cannot be compared has one row, without a
        metric.
    """
    return _frame((row for pair in report["pairs"] for row in _rows(pair)), _DIFFERENCE)


def _rows(pair: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    about = _only(pair, ("first", "second", "clips", "speakers"))
    if not pair["differences"]:
        yield {**about, "reason": pair["reason"]}
    for metric, difference in (pair["differences"] or {}).items():
        judged = _only(pair, ("answer", "p", "p_holm")) if metric == "uar" else {}
        yield {**about, **judged, "metric": metric, **difference}


def _only(found: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: found.get(name) for name in names}


def _frame(rows: Iterable[Mapping[str, Any]], kinds: Mapping[str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=list(kinds))
    texts = [name for name, kind in kinds.items() if kind == "str"]
    numbers = {name: kind for name, kind in kinds.items() if kind != "str"}
    frame["reason"] = frame["reason"].fillna("")
    return frame.astype(numbers).astype(dict.fromkeys(texts, object))
