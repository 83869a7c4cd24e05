"""Tables of how far answers can be trusted, as data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serlab.evaluation.metrics import Format
from serlab.report import words
from serlab.report.recipe import RecipeReport
from serlab.report.summary import Report
from serlab.report.tables import (
    Column,
    Table,
    by_recipe,
    count_column,
    interval_column,
    number_column,
    share_column,
    title_column,
    words_column,
)

_ERROR = Format(100, 2)
_Rows = Iterator[tuple[Any, ...]]


def trust_tables(summary: Report) -> list[Table]:
    """Calibration, abstention, sets, groups, tracks, soft labels, sentences and raters; some without rows."""
    who, title = words.people(summary.corpus["name"]), title_column(summary)
    return [
        Table(
            "calibration",
            "Calibration before and after a temperature fitted on dev; ECE and debiased RMS error in per cent.",
            (
                *(title, words_column("when", "Temperature"), share_column("ece", "ECE")),
                *(interval_column("rms_error", "Debiased RMS"), interval_column("overconfidence", "Overconfidence")),
                *(number_column("brier", "Brier", 3), number_column("nll", "NLL", 3)),
            ),
            by_recipe(summary, _calibration),
        ),
        Table(
            "abstention",
            "Accuracy in per cent of the answers with the highest confidence.",
            (
                *(title, share_column("coverage", "Answered", 0), interval_column("accuracy", "Correct")),
                *(interval_column("aurc", "AURC"), share_column("excess", "Excess")),
            ),
            by_recipe(summary, _abstention),
        ),
        Table(
            "prediction-sets",
            f"Prediction sets; coverage in per cent, mean over {who}.",
            (
                *(title, share_column("level", "Asked", 0), interval_column("covered", "Covered")),
                *(number_column("labels", "Labels per set", 2), share_column("one_label", "One label", 0)),
            ),
            by_recipe(summary, _sets),
        ),
        Table(
            "groups",
            f"UAR in per cent by group of {who}, with the interval over the group's own {who}.",
            (
                *(title, words_column("attribute", "Attribute"), words_column("group", "Group")),
                *(count_column("speakers", who.capitalize()), interval_column("uar", "UAR"), words_column("reason")),
                *(Column(f"recall_{label}") for label in summary.corpus["labels"]),
            ),
            by_recipe(summary, _groups),
        ),
        Table(
            "gaps",
            "Gap in UAR between groups, in points, beside what permuted group names give.",
            (
                *(title, words_column("attribute", "Attribute"), words_column("best", "Best")),
                *(words_column("worst", "Worst"), Column("gap", "Gap", words.points), Column("p", "p", words.p_value)),
                *(Column("null_median", "By chance", words.points), Column("null_high", "95 %", words.points)),
            ),
            by_recipe(summary, _gaps),
        ),
        Table(
            "tracks",
            "UAR in per cent of the same predictions against other labels of the same clips.",
            (title, words_column("labels", "Labels"), count_column("clips", "Clips"), interval_column("uar", "UAR")),
            by_recipe(summary, _tracks),
        ),
        Table(
            "soft-labels",
            "Soft labels: multi-label macro-F1 in per cent, Jensen-Shannon divergence in bits, cross-entropy in nats.",
            (
                *(title, interval_column("macro_f1", "Macro-F1"), number_column("divergence", "Divergence", 3)),
                number_column("cross_entropy", "Cross-entropy", 3),
            ),
            by_recipe(summary, _soft),
        ),
        Table(
            "sentences",
            f"Standard error of UAR in points, over other {who} alone and over other sentences too.",
            (
                *(title, count_column("sentences", "Sentences"), Column("speaker_error", "Alone", _ERROR)),
                *(Column("error", "Both", _ERROR), share_column("low", "From"), share_column("high", "To")),
            ),
            by_recipe(summary, _sentences),
        ),
        Table(
            "raters",
            "Correlation of a model's errors with those of human raters, and clips where only one of them is right.",
            (
                *(title, interval_column("pearson", "Pearson", words.CORRELATION)),
                interval_column("spearman", "Spearman", words.CORRELATION),
                *(count_column("model_fails", "Model fails"), count_column("raters_fail", "Raters fail")),
            ),
            by_recipe(summary, _raters),
        ),
    ]


def _calibration(recipe: RecipeReport) -> _Rows:
    found = recipe.confidence.calibration
    for when, each in (("before", found.before), ("after", found.after)) if found else ():
        if each:
            yield when, each.ece, each.rms_error, each.overconfidence, each.brier.value, each.nll.value


def _abstention(recipe: RecipeReport) -> _Rows:
    found = recipe.confidence.abstention
    for each in found.at if found else ():
        yield each.coverage, each.accuracy, found.aurc if found else None, found.excess if found else None


def _sets(recipe: RecipeReport) -> _Rows:
    for entry in recipe.confidence.sets or ():
        if entry.speakers:
            yield entry.level, entry.speakers.by_speaker, entry.speakers.mean_size, entry.speakers.single


def _groups(recipe: RecipeReport) -> _Rows:
    for attribute, found in (recipe.confidence.groups or {}).items():
        for group in found.groups:
            yield attribute, group.name, group.speakers, group.uar, group.reason, *group.recalls.values()


def _gaps(recipe: RecipeReport) -> _Rows:
    for attribute, found in (recipe.confidence.groups or {}).items():
        if gap := found.gap:
            yield attribute, gap.best, gap.worst, gap.value, gap.p, gap.null_median, gap.null_high


def _tracks(recipe: RecipeReport) -> _Rows:
    for entry in recipe.confidence.tracks or ():
        yield entry.name, entry.clips, entry.scores["uar"]


def _soft(recipe: RecipeReport) -> _Rows:
    if found := recipe.confidence.soft:
        yield found.macro_f1, found.divergence.value, found.cross_entropy.value


def _sentences(recipe: RecipeReport) -> _Rows:
    if found := recipe.confidence.sentences:
        yield found.sentences, found.speaker_error, found.error, found.low, found.high


def _raters(recipe: RecipeReport) -> _Rows:
    if found := recipe.confidence.people:
        yield found.pearson, found.spearman, found.model_fails.clips, found.people_fail.clips
