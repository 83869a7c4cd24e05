"""``python -m benchmarks.mixed``: a mixed-effects logistic model of the published pairs, beside serlab's answers.

A cross-check by another statistical model of the same tables: for each pair of recipes,
``correct ~ label * recipe + (1 + recipe | speaker)`` is fitted by maximum likelihood. The integral over the two
effects of a speaker is Laplace's approximation, or adaptive Gauss-Hermite quadrature (Pinheiro and Bates 1995,
*Journal of Computational and Graphical Statistics* 4(1)). The script writes ``benchmarks/results/mixed.json`` and the
table of docs/method.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, gammaln, ndtr, ndtri

from benchmarks.coverage import test_table
from benchmarks.harness import HOME, RESULTS, machine, versions
from benchmarks.table import fill
from serlab.core.files import write_json
from serlab.core.progress import bar, show
from serlab.evaluation.counts import SpeakerCounts, count_by_speaker
from serlab.evaluation.metrics import Format
from serlab.evaluation.paired import as_family, compare
from serlab.evaluation.significance import holm
from serlab.report.words import EFFECT_SIZE, written
from serlab.tables.predictions import labels_of

RECIPES = (
    *("whisper-base", "whisper-base-probe", "resnet18", "resnet18-small"),
    *("mfcc-svm", "egemaps-svm", "wav2vec2-tiny"),
)
PAGE = HOME.parent / "docs" / "method.md"
CLOSE = 5.0
"""Pairs whose z is below this are shown one by one."""
_BEGIN, _END = "<!-- mixed: written by python -m benchmarks.mixed -->", "<!-- end of mixed -->"
_NODES = 7
_LEVEL = 0.05
_LOG_ODDS = Format(1, 3)
_STEPS, _CLOSE_ENOUGH, _LONGEST = 50, 1e-9, 4.0
_DIFFERENCE = 1e-4

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """Binomial counts by group, padded with rows without trials.

    Attributes:
        successes: shape (groups, rows).
        trials: likewise.
        fixed: design of the fixed effects, shape (groups, rows, P).
        random: design of the random effects, shape (groups, rows, Q) with Q of 1 or 2.
    """

    successes: Floats
    trials: Floats
    fixed: Floats
    random: Floats


@dataclass(frozen=True)
class Fit:
    """Estimates by maximum likelihood.

    Attributes:
        fixed: fixed effects, shape (P,).
        covariance: of their estimates, from the Hessian in all parameters, shape (P, P).
        deviations: standard deviations of the random effects, shape (Q,).
        log_likelihood: at the maximum, with the binomial coefficients.
    """

    fixed: Floats
    covariance: Floats
    deviations: Floats
    log_likelihood: float

    def contrast(self, weights: Floats) -> tuple[float, float]:
        """Return the estimate and the standard error of a weighted sum of the fixed effects."""
        return float(weights @ self.fixed), float(np.sqrt(weights @ self.covariance @ weights))


def fit(data: Data, *, nodes: int = 1) -> Fit:
    """Fit a logistic model with normal random effects of each group.

    Args:
        data: the counts and designs.
        nodes: of the quadrature, per random effect; 1 is Laplace's approximation.
    """
    fixed, effects = data.fixed.shape[-1], data.random.shape[-1]
    start = np.concatenate([np.zeros(fixed), np.eye(effects)[np.tril_indices(effects)] * 0.5])
    bounds = [(None, None)] * fixed + [
        (0.0, None) if row == column else (None, None) for row, column in zip(*np.tril_indices(effects), strict=True)
    ]

    def loss(parameters: Floats) -> float:
        return -log_likelihood(parameters, data, nodes)

    found = minimize(loss, start, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-13, "gtol": 1e-5})
    estimate = np.asarray(found.x, np.float64)
    # A standard deviation of zero is on the boundary, where the likelihood has no curvature to speak of.
    free = [place for place, (low, _) in enumerate(bounds) if low is None or estimate[place] > 10 * _DIFFERENCE]
    inverse = np.linalg.inv(_hessian(loss, estimate, free))
    root = _root(estimate[fixed:], effects)
    deviations: Floats = np.sqrt(np.sum(root**2, axis=1))
    covariance: Floats = inverse[:fixed, :fixed].astype(np.float64)
    return Fit(estimate[:fixed], covariance, deviations, -float(found.fun))


def log_likelihood(parameters: Floats, data: Data, nodes: int = 1) -> float:
    """Return the marginal log-likelihood.

    Args:
        parameters: fixed effects, then the Cholesky factor of the random effects' covariance, by row.
        data: the counts and designs.
        nodes: as for :func:`fit`.
    """
    fixed, effects = data.fixed.shape[-1], data.random.shape[-1]
    offset = data.fixed @ parameters[:fixed]
    design = data.random @ _root(parameters[fixed:], effects)
    mode, curvature = _modes(offset, design, data)
    # The integral over v of exp f(v), with f the log-likelihood of a group less v'v / 2, around its mode.
    points, weights = np.polynomial.hermite.hermgauss(nodes)
    grid = np.stack(np.meshgrid(*[points] * effects, indexing="ij"), axis=-1).reshape(-1, effects)
    logs = np.log(np.stack(np.meshgrid(*[weights] * effects, indexing="ij"), axis=-1)).reshape(-1, effects).sum(axis=1)
    scale = np.linalg.inv(np.linalg.cholesky(curvature)).swapaxes(-1, -2)
    at = mode[:, None] + np.sqrt(2) * np.einsum("gij,nj->gni", scale, grid)
    linear = offset[:, None] + np.einsum("grq,gnq->gnr", design, at)
    inner = (data.successes[:, None] * linear - data.trials[:, None] * np.logaddexp(0, linear)).sum(axis=-1)
    terms = inner - (at**2).sum(axis=-1) / 2 + logs + (grid**2).sum(axis=1)
    together = np.logaddexp.reduce(terms, axis=1) - np.linalg.slogdet(curvature)[1] / 2 - effects / 2 * np.log(np.pi)
    chosen = gammaln(data.trials + 1) - gammaln(data.successes + 1) - gammaln(data.trials - data.successes + 1)
    return float(together.sum() + chosen.sum())


def _modes(offset: Floats, design: Floats, data: Data) -> tuple[Floats, Floats]:
    """Return each group's most likely standardised effects and the curvature there, by Newton's method."""
    effects = design.shape[-1]
    mode = np.zeros((len(offset), effects))
    for _ in range(_STEPS):
        expected = expit(offset + np.einsum("grq,gq->gr", design, mode))
        slope = np.einsum("grq,gr->gq", design, data.successes - data.trials * expected) - mode
        spread = data.trials * expected * (1 - expected)
        curvature = np.einsum("grq,gr,grp->gqp", design, spread, design) + np.eye(effects)
        step = np.linalg.solve(curvature, slope[..., None])[..., 0]
        mode = mode + np.clip(step, -_LONGEST, _LONGEST)
        if np.abs(step).max() < _CLOSE_ENOUGH:
            break
    return mode, curvature


def _root(values: Floats, effects: int) -> Floats:
    root = np.zeros((effects, effects))
    root[np.tril_indices(effects)] = values
    return root


def _hessian(loss: Any, at: Floats, free: Sequence[int]) -> Floats:
    """Return the second derivatives in the free parameters, by central differences."""
    steps = _DIFFERENCE * np.eye(len(at))[list(free)]
    size = len(free)
    found = np.zeros((size, size))
    for row in range(size):
        for column in range(row + 1):
            one, other = steps[row], steps[column]
            ends = loss(at + one + other) - loss(at + one - other) - loss(at - one + other) + loss(at - one - other)
            found[row, column] = found[column, row] = ends / (4 * _DIFFERENCE**2)
    return found


def data_of(first: NDArray[np.int64], second: NDArray[np.int64], *, slopes: bool) -> Data:
    """Return the data of two recipes from their confusion matrices by speaker.

    Args:
        first: shape (speakers, K, K).
        second: likewise, of the same clips.
        slopes: whether each speaker has an effect of the recipe beside one of his own.

    Returns:
        Rows are labels by recipe; fixed effects are the K labels' levels, then their differences between recipes.
    """
    matrices = np.concatenate([first, second], axis=1)
    labels = first.shape[-1]
    place = np.tile(np.arange(labels), 2)
    hits = np.take_along_axis(matrices, np.broadcast_to(place[None, :, None], (len(first), 2 * labels, 1)), -1)[..., 0]
    side = np.repeat([0.5, -0.5], labels)
    level = np.eye(labels)[place]
    fixed = np.concatenate([level, side[:, None] * level], axis=1)
    random = np.stack([np.ones(2 * labels), side], axis=1)[:, : 2 if slopes else 1]

    def of_each(design: Floats) -> Floats:
        return np.broadcast_to(design, (len(first), *design.shape))

    return Data(hits.astype(np.float64), matrices.sum(axis=-1).astype(np.float64), of_each(fixed), of_each(random))


def measure(first: SpeakerCounts, second: SpeakerCounts) -> dict[str, Any]:
    """Fit a pair's label-balanced difference in log-odds: one number for all speakers, then one for each."""
    labels = len(first.labels)
    weights = np.concatenate([np.zeros(labels), np.full(labels, 1 / labels)])
    found: dict[str, Any] = {}
    for name, slopes, nodes in (("intercepts", False, 1), ("slopes", True, 1), ("quadrature", True, _NODES)):
        fitted = fit(data_of(first.by_speaker[0], second.by_speaker[0], slopes=slopes), nodes=nodes)
        value, error = fitted.contrast(weights)
        found[name] = {"log_odds": value, "error": error, "deviations": fitted.deviations.tolist()}
    return found


def main() -> None:
    """Fit all pairs of the published recipes, then write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mixed", description=__doc__.split("\n")[0])
    parser.add_argument("--results", type=Path, default=HOME.parent / "results")
    given = parser.parse_args()
    tables = [test_table(given.results, recipe) for recipe in RECIPES]
    counts = [count_by_speaker(table, labels_of(tables[0])) for table in tables]
    pairs = list(combinations(range(len(RECIPES)), 2))
    judged = as_family([compare(counts[one], counts[other]) for one, other in pairs])
    rows = []
    with bar("fitting pairs", len(pairs)) as done:
        for (one, other), own in zip(pairs, judged, strict=True):
            assert own is not None
            uar = own.differences["uar"]
            serlab = {"difference": uar.value, "low": uar.low, "high": uar.high, "p": own.p, "p_holm": own.p_holm}
            rows.append(
                {"first": RECIPES[one], "second": RECIPES[other], **measure(counts[one], counts[other]), **serlab}
            )
            done.advance()
    clips, speakers = len(tables[0]), len(counts[0].speakers)
    result = {"clips": clips, "speakers": speakers, "pairs": rows, "machine": machine(), "versions": versions()}
    write_json(RESULTS / "mixed.json", result)
    fill(PAGE, _BEGIN, _END, render(result))


def render(result: Mapping[str, Any]) -> str:
    """Return the table as Markdown."""
    rows = [{**row, "z": _z(row)} for row in result["pairs"]]
    close = [row for row in rows if min(map(abs, row["z"].values())) < CLOSE]
    lines = [
        "| First less second | UAR, points (95 %) | z: serlab | z: effects by speaker | z: one effect | Log-odds |",
        f"|---|{'--:|' * 5}",
    ]
    for row in close:
        value, low, high = (written(row[key]) for key in ("difference", "low", "high"))
        z = " | ".join(written(row["z"][name], EFFECT_SIZE) for name in ("serlab", "slopes", "intercepts"))
        slopes = row["slopes"]
        odds = f"{written(slopes['log_odds'], _LOG_ODDS)} ± {slopes['error']:.3f}"
        lines.append(f"| {row['first']} − {row['second']} | {value} ({low} to {high}) | {z} | {odds} |")
    others = len(rows) - len(close)
    return "\n".join(
        [
            *lines,
            "",
            f"All {len(rows)} pairs of {len(RECIPES)} recipes ({', '.join(f'`{name}`' for name in RECIPES)}) on the "
            f"{result['clips']:,} clips of {result['speakers']} "
            f"actors (CREMA-D, `emo-superb-5`, seed 0); the {others} that are not shown have z of {CLOSE:g} or more by "
            f"every method. {_agreement(rows)} z of serlab: the normal quantile of its p. Quadrature with {_NODES} "
            f"nodes per effect in place of Laplace's approximation moves z by at most {_moved(rows):.2f}.",
            "",
        ]
    )


def _z(row: Mapping[str, Any]) -> dict[str, float]:
    """Return how many standard errors a difference is away from zero, by method."""
    fitted = {name: row[name]["log_odds"] / row[name]["error"] for name in ("intercepts", "slopes", "quadrature")}
    return {"serlab": float(-ndtri(max(row["p"], 1e-300) / 2) * np.sign(row["difference"])), **fitted}


def _agreement(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say for how many pairs the answers after Holm are the same."""
    own = [row["p_holm"] <= _LEVEL for row in rows]
    same = {}
    for name in ("slopes", "intercepts"):
        adjusted = holm([float(2 * ndtr(-abs(row["z"][name]))) for row in rows])
        same[name] = sum((p <= _LEVEL) == shown for p, shown in zip(adjusted, own, strict=True))
    signs = sum(np.sign(row["z"]["slopes"]) == np.sign(row["z"]["serlab"]) for row in rows)
    return (
        f"The sign is the same for {signs} pairs. The answer at 5 % after Holm is the same for {same['slopes']} with "
        f"`(1 + recipe | speaker)`, and for {same['intercepts']} with `(1 | speaker)`."
    )


def _moved(rows: Sequence[Mapping[str, Any]]) -> float:
    return float(max(abs(row["z"]["quadrature"] - row["z"]["slopes"]) for row in rows))


if __name__ == "__main__":
    show()
    main()
