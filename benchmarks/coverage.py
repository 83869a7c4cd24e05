"""``python -m benchmarks.coverage``: check the coverage of intervals and the false alarms of tests by simulation.

Experiments are drawn from a population of speakers with known true values and effects as large as in CREMA-D's tables.
How often do 95 % intervals contain the true UAR and the true difference, and how often is a difference shown that does
not exist? Three parts: populations in which that is hard (:mod:`benchmarks.cases`), balanced ones beside common
alternatives (the bootstrap over clips, plain percentiles, Student's test over five folds), and a few seeds whose
training runs vary. The script writes ``benchmarks/results/coverage.json`` after every 500 experiments, from which a
killed simulation resumes, and the tables and figures of docs/method.md.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import chi2, ttest_1samp

from benchmarks.cases import CASES, measure
from benchmarks.coverage_page import REPLICATES_OF_SETTINGS as _REPLICATES
from benchmarks.coverage_page import publish
from benchmarks.harness import HOME, RESULTS, machine, versions
from benchmarks.population import Population, counts_of, fit
from benchmarks.trainings import SETTINGS, with_trainings
from serlab.core.files import write_json
from serlab.core.progress import bar, show
from serlab.evaluation.bootstrap import differences, intervals
from serlab.evaluation.metrics import uar
from serlab.evaluation.resampling import Resampling, draw_speakers
from serlab.evaluation.significance import mcnemar, swap_test
from serlab.tables.predictions import labels_of, read_run

SPEAKERS = (20, 30, 50, 91)
TRIALS = {"cases": 5000, "settings": 10_000, "trainings": 2000}
"""Experiments of a row, by part of the simulation."""
_METHOD = "percentiles widened to CR2"
"""Rows of another method are simulated again."""
_CHUNK = 500
_FOLDS = 5
_RUN = "crema-d/emo-superb-5/{}/fold{}-seed0.parquet"

Row = dict[str, Any]


def main() -> None:
    """Simulate what is missing, then write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__.split("\n")[0])
    parser.add_argument("--parts", nargs="*", choices=list(TRIALS), default=list(TRIALS), help="none: only the page")
    for part, trials in TRIALS.items():
        parser.add_argument(f"--{part}-trials", type=int, default=trials)
    parser.add_argument("--recipes", nargs=2, default=("whisper-base-probe", "egemaps-svm-2ec344"))
    parser.add_argument("--results", type=Path, default=HOME.parent / "results")
    given = parser.parse_args()
    tables = [test_table(given.results, name) for name in given.recipes]
    population = fit(tables, labels_of(tables[0]))
    shares = {name: getattr(population, name) for name in ("speaker", "label", "recipe", "both", "clip")}
    path = RESULTS / "coverage.json"
    result = resumed(path, {"recipes": list(given.recipes), "clips": len(tables[0]), "shares": shares})
    result |= {"machine": machine(), "versions": versions()}
    simulations: dict[str, list[tuple[Row, Callable[[range], Row]]]] = {
        "cases": [(asdict(case), partial(measure, case, population)) for case in CASES],
        "settings": [({"speakers": count}, partial(simulate, population, count)) for count in SPEAKERS],
        "trainings": [(asdict(setting), partial(with_trainings, population, setting)) for setting in SETTINGS],
    }
    try:
        for part in given.parts:
            for rows in complete(result[part], simulations[part], getattr(given, f"{part}_trials")):
                result[part] = rows
                write_json(path, result)
    finally:
        publish(result)
    print(path)


def resumed(path: Path, population: Row) -> Row:
    """Return what has been simulated of a population so far."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    known = before if before.get("population") == population else {}
    parts = {part: known.get(part, []) for part in TRIALS}
    return {"population": population, **parts}


def complete(
    rows: Sequence[Row], simulations: Sequence[tuple[Row, Callable[[range], Row]]], trials: int
) -> Iterator[list[Row]]:
    """Simulate what rows lack, those with the fewest experiments first.

    Args:
        rows: simulated so far, perhaps by another method or with fewer experiments.
        simulations: what each row is about (its ``title`` is a word for it alone), and how to simulate experiments.
        trials: experiments of each row.

    Yields:
        All rows, each time that one has grown.
    """

    def about(row: Row, what: Row) -> bool:
        return all(row.get(key) == value for key, value in what.items() if key != "title")

    found = [next(({**row, **what} for row in rows if about(row, what)), {}) for what, _ in simulations]

    def done(place: int) -> int:
        row = found[place]
        return int(row["trials"]) if row.get("method") == _METHOD else 0

    while (start := done(place := min(range(len(found)), key=done))) < trials:
        what, simulate_more = simulations[place]
        more = simulate_more(range(start, min(trials, start + _CHUNK)))
        found[place] = {**what, "method": _METHOD, **_together(found[place] if start else {"trials": 0}, more)}
        yield [row for row in found if row]


def _together(row: Row, more: Row) -> Row:
    """Return the shares of both rows' experiments."""
    total = row["trials"] + more["trials"]

    def mean(one: Any, other: Any) -> Any:
        if isinstance(other, dict):
            return {key: mean(one[key] if one else 0.0, other[key]) for key in other}
        return round((row["trials"] * (one or 0.0) + more["trials"] * other) / total, 6)

    return {key: total if key == "trials" else mean(row.get(key), more[key]) for key in more}


def simulate(population: Population, speakers: int, trials: range, seed: int = 0) -> Row:
    """Count how often each method's interval contains the true value, and how often it shows a false difference.

    Args:
        population: source of the experiments; in half of each, both recipes have the levels of the
            first, so that their true difference is zero.
        speakers: number of speakers per experiment.
        trials: experiments to draw, by number.
        seed: of the experiments.

    Returns:
        ``trials``, their number; ``coverage`` of the UAR, ``difference`` (coverage of the true difference), and
        ``false_alarms`` without a true difference, each by method; ``false_alarms`` also contains the tests.
    """
    same = replace(population, levels=np.stack([population.levels[0]] * 2))
    truth = ndtr(population.levels).mean(axis=1)
    counted: dict[str, dict[str, list[bool]]] = {
        name: defaultdict(list) for name in ("coverage", "difference", "false_alarms")
    }
    with bar(f"{speakers} speakers", len(trials)) as done:
        for trial in trials:
            random = np.random.default_rng([seed, speakers, trial])
            right = population.draw(speakers, random)
            for name, (low, high) in _single(right[0], population.clips, trial).items():
                counted["coverage"][name].append(low <= truth[0] <= high)
            for name, (low, high) in _paired(right, population.clips, trial).items():
                counted["difference"][name].append(low <= truth[0] - truth[1] <= high)
            right = same.draw(speakers, random)
            for name, (low, high) in _paired(right, population.clips, trial).items():
                counted["false_alarms"][name].append(not low <= 0 <= high)
            for name, p in _tests(right, population.clips, trial).items():
                counted["false_alarms"][name].append(p <= 0.05)
            done.advance()
    shares = {what: {name: float(np.mean(hits)) for name, hits in methods.items()} for what, methods in counted.items()}
    return {"trials": len(trials), **shares}


def _single(right: NDArray[np.bool_], clips: NDArray[np.int64], seed: int) -> dict[str, tuple[float, float]]:
    counts = counts_of(right, clips)
    found = intervals(counts, resampling=Resampling(replicates=_REPLICATES, seed=seed))["uar"]
    assert found.low is not None
    assert found.high is not None
    weights = draw_speakers(len(right), _REPLICATES, seed)
    recalls = _recalls(right, clips)
    return {
        "speakers": (found.low, found.high),
        "percentile": _ends(weights @ recalls / len(right)),
        "clips": _ends(_over_clips(right.astype(np.int64), clips, 2, seed) @ np.array([0, 1])),
    }


def _paired(right: NDArray[np.bool_], clips: NDArray[np.int64], seed: int) -> dict[str, tuple[float, float]]:
    found = differences(
        *(counts_of(each, clips) for each in right), resampling=Resampling(replicates=_REPLICATES, seed=seed)
    )["uar"]
    assert found.low is not None
    assert found.high is not None
    apart = _recalls(right[0], clips) - _recalls(right[1], clips)
    weights = draw_speakers(len(apart), _REPLICATES, seed)
    kinds = 2 * right[0].astype(np.int64) + right[1]
    folds = [part.mean() for part in np.array_split(apart, _FOLDS)]
    student = ttest_1samp(folds, 0).confidence_interval(0.95)
    return {
        "speakers": (found.low, found.high),
        "percentile": _ends(weights @ apart / len(apart)),
        "clips": _ends(_over_clips(kinds, clips, 4, seed) @ np.array([0, -1, 1, 0])),
        "folds": (float(student.low), float(student.high)),
    }


def _tests(right: NDArray[np.bool_], clips: NDArray[np.int64], seed: int) -> dict[str, float]:
    first, second = (counts_of(each, clips) for each in right)
    clustered = mcnemar(first, second)
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    return {
        "swap": swap_test(first, second, permutations=999, seed=seed, most_exact=0),
        "obuchowski": clustered.obuchowski_p,
        "durkalski": clustered.durkalski_p,
        "mcnemar": plain_mcnemar(only_first, only_second),
    }


def plain_mcnemar(only_first: int, only_second: int) -> float:
    """Return McNemar's p as usually computed, with clips assumed to be independent."""
    total = only_first + only_second
    return float(chi2.sf((only_first - only_second) ** 2 / total, 1)) if total else 1.0


def _recalls(right: NDArray[np.bool_], clips: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each speaker's UAR; with equal numbers of clips per label, their mean is the pooled UAR."""
    counts = counts_of(right, clips).matrices[0]
    return np.asarray(uar(counts), np.float64)


def _over_clips(kinds: NDArray[np.int64], clips: NDArray[np.int64], number: int, seed: int) -> NDArray[np.float64]:
    """Return the share of each kind of clip in replicates of clips, averaged over labels, shape (replicates, kinds)."""
    label = np.repeat(np.arange(len(clips)), clips)[None] * number
    counts = np.bincount((label + kinds).ravel(), minlength=len(clips) * number)
    drawn = np.random.default_rng(seed).multinomial(kinds.size, counts / kinds.size, size=_REPLICATES)
    by_label = drawn.reshape(_REPLICATES, len(clips), number)
    shares: NDArray[np.float64] = (by_label / by_label.sum(axis=2, keepdims=True)).mean(axis=1)
    return shares


def _ends(sample: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(sample, (0.025, 0.975))
    return float(low), float(high)


def test_table(results: Path, recipe: str) -> pd.DataFrame:
    """Return a recipe's test predictions with folds pooled."""
    paths = [results / _RUN.format(recipe, fold) for fold in range(1, _FOLDS + 1)]
    tables = [read_run(path).table for path in paths if path.is_file()]
    return pd.concat([table[table["side"] == "test"] for table in tables], ignore_index=True)


if __name__ == "__main__":
    show()
    main()
