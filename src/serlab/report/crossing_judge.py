"""Judge cross-corpus runs: scores, recalls, calibration, and the difference from training within the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from serlab.evaluation.bootstrap import differences, intervals
from serlab.evaluation.calibration import at_temperature, fit_temperature, judge_calibration
from serlab.evaluation.counts import SpeakerCounts, count_by_speaker, judged_by_all
from serlab.evaluation.metrics import UAR, recall_metrics
from serlab.evaluation.relabel import relabelled
from serlab.evaluation.resampling import Resampling
from serlab.report.crossing import CalibrationError, Cell, CellRuns, Collapse, Crossing, Matrix, Recall, Within
from serlab.report.crossing_counts import KEYS, Counted, table_of
from serlab.tables.predictions import Run, logits_of, truth_of


def judge(labels: str, cells: Sequence[CellRuns], tests: int = 0) -> tuple[Crossing, pd.DataFrame]:
    """Judge cross-corpus runs.

    Args:
        labels: how labels were mapped, in words.
        cells: the runs.
        tests: number of entries in the ledger.

    Returns:
        The judgement, and the confusion counts that it is made from; see
        :mod:`serlab.report.crossing_counts`.
    """
    counted: list[Counted] = []
    judged = [_judged(each, counted) for each in cells]
    matrices = []
    for recipe in dict.fromkeys(each.recipe for each in judged):
        mine = tuple(each for each in judged if each.recipe == recipe)
        rows = tuple(dict.fromkeys(each.trained_on for each in mine))
        targets = tuple(dict.fromkeys(each.target for each in mine))
        matrices.append(Matrix(recipe, mine[0].title, rows, targets, mine))
    smoke = any(run.signature["corpus"].get("smoke") for each in cells for run in each.runs)
    return Crossing(labels, tuple(matrices), tests, smoke), table_of(counted)


def _keep(counted: list[Counted], cell: CellRuns, what: str, counts: SpeakerCounts) -> None:
    counted.append(({**{key: getattr(cell, key) for key in KEYS}, "what": what}, counts))


def _judged(cell: CellRuns, counted: list[Counted]) -> Cell:
    blank = Cell(cell.source, cell.target, cell.recipe, cell.title, cell.reason, normalised=cell.normalised)
    if not cell.runs:
        return _with_inside(blank, cell, counted)
    signature = cell.runs[0].signature
    about = signature["crossing"]
    labels = tuple(about["labels"])
    known = signature["corpus"]["speakers_known"]
    resampling = Resampling(known=known)
    table = pd.concat([run.table for run in cell.runs], ignore_index=True)
    rows = table[table["side"] == "test"].reset_index(drop=True)
    counts = count_by_speaker(rows, labels)
    _keep(counted, cell, "tested", counts)
    uar = intervals(counts, metrics={"uar": UAR}, resampling=resampling)["uar"]
    return replace(
        blank,
        labels=labels,
        clips=int(rows["clip"].nunique()),
        speakers=len(counts.speakers) if known else None,
        seeds=counts.seeds,
        uar=uar,
        chance=1 / len(labels),
        by_speaker=_by_speaker(counts) if known and uar.low is None else None,
        recalls=_recalls(counts, resampling),
        calibration=_calibration(cell.runs, labels, resampling),
        within=_within(cell, rows, labels, resampling, counted),
        dropped=about["target"]["dropped"],
        source_dropped={each["corpus"]: each["dropped"] for each in about["sources"]},
        excluded=len(signature["exclusions"]),
        caution=about.get("caution", ""),
        balanced=about.get("balanced", False),
        hash=signature["recipe"]["hash"],
        fingerprint=about["target"]["fingerprint"],
    )


def _with_inside(blank: Cell, cell: CellRuns, counted: list[Counted]) -> Cell:
    if not cell.within or cell.emotions is None or cell.normalised:
        return blank
    corpus = cell.within[0].signature["corpus"]
    labels = sorted({each for each in cell.emotions.values() if each is not None})
    tables = [run.table[run.table["side"] == "test"] for run in cell.within]
    counts = count_by_speaker(relabelled(pd.concat(tables, ignore_index=True), cell.emotions, labels), labels)
    _keep(counted, cell, "inside", counts)
    resampling = Resampling(known=corpus["speakers_known"])
    inside = intervals(counts, metrics={"uar": UAR}, resampling=resampling)["uar"]
    return replace(blank, inside=inside, inside_protocol=cell.protocol)


def _by_speaker(counts: SpeakerCounts) -> dict[str, float]:
    """UAR of each speaker over the emotions that the speaker has, as the mean over seeds."""
    scores = UAR.score(counts.by_speaker).mean(axis=0)
    return dict(zip(counts.speakers, map(float, scores), strict=True))


def _recalls(counts: SpeakerCounts, resampling: Resampling) -> tuple[Recall, ...]:
    labels, chance = counts.labels, 1 / len(counts.labels)
    total = counts.by_seed.sum(axis=0)
    there = [label for label, clips in zip(labels, total.sum(axis=1), strict=True) if clips]
    metrics = recall_metrics(labels, [label for label in labels if label not in there])
    found = intervals(counts, metrics=metrics, resampling=resampling)
    made = []
    for label in there:
        row, recall = total[labels.index(label)], found[label]
        below: Collapse = "here" if recall.value < chance else ""
        if recall.high is not None and recall.high < chance:
            below = "shown"
        clips = int(row.sum() / len(counts.seeds))
        made.append(Recall(label, recall, clips, labels[int(row.argmax())], below))
    return tuple(made)


def _calibration(runs: Sequence[Run], labels: Sequence[str], resampling: Resampling) -> tuple[CalibrationError, ...]:
    before, after, temperatures = [], [], []
    rows = []
    for run in runs:
        test = run.table[run.table["side"] == "test"]
        dev = run.table[run.table["side"] == "dev"]
        rows.append(test)
        before.append(at_temperature(logits_of(test), 1.0))
        if len(dev):
            temperature = fit_temperature(logits_of(dev), truth_of(dev, labels))
            temperatures.append(temperature)
            after.append(at_temperature(logits_of(test), temperature))
    all_rows = pd.concat(rows)
    truth = truth_of(all_rows, labels)
    speaker = pd.factorize(all_rows["speaker"], sort=True)[0]

    def of(probabilities: list[NDArray[np.float64]], temperature: float) -> CalibrationError:
        judged = judge_calibration(np.concatenate(probabilities), truth, speaker, resampling=resampling)
        return CalibrationError(temperature, judged.ece, judged.nll.value, judged.overconfidence)

    found = (of(before, 1.0),)
    return (*found, of(after, float(np.mean(temperatures)))) if len(after) == len(runs) else found


def _within(
    cell: CellRuns, rows: pd.DataFrame, labels: Sequence[str], resampling: Resampling, counted: list[Counted]
) -> Within | None:
    """Compare with runs within the target, on the clips and seeds that both have."""
    if not cell.within or cell.emotions is None:
        return None
    tables = [run.table[run.table["side"] == "test"] for run in cell.within]
    within = relabelled(pd.concat(tables, ignore_index=True), cell.emotions, labels)
    seeds = sorted({*map(int, rows["seed"])} & {*map(int, within["seed"])})
    within, cross = (judged_by_all(each[each["seed"].isin(seeds)]) for each in (within, rows))
    clips = {*within["clip"]} & {*cross["clip"]}
    within, cross = (each[each["clip"].isin(clips)].reset_index(drop=True) for each in (within, cross))
    if not seeds or not clips or len(within) != len(cross):
        return None
    one, other = count_by_speaker(cross, labels), count_by_speaker(within, labels)
    _keep(counted, cell, "within", other)
    if len(cross) < len(rows):
        _keep(counted, cell, "paired", one)
    only_uar = {"uar": UAR}
    return Within(
        protocol=cell.protocol,
        uar=intervals(other, metrics=only_uar, resampling=resampling)["uar"],
        cross=intervals(one, metrics=only_uar, resampling=resampling)["uar"],
        drop=differences(one, other, metrics=only_uar, resampling=resampling)["uar"],
        clips=len(clips),
        seeds=seeds,
    )
