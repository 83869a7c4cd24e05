"""Markdown tables of the published results, from the overview of a corpus's protocols."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd

from publication.literature import EVAR, PEOPLE, SEED, Published
from serlab.evaluation.claims import answer_words
from serlab.evaluation.counts import count_by_speaker
from serlab.evaluation.learning import NOT_SHOWN
from serlab.evaluation.metrics import MACRO_F1, PERCENT, WA, Format, uar
from serlab.evaluation.resampling import Interval
from serlab.report.words import counted, interval_text, numbered, p_value, percent, points, spans, weights_text, written
from serlab.tables.predictions import Run

MAIN, TWIN = "emo-superb-5", "clip-random-5"
DEVELOPED_ON = 4
"""The fold whose test block is the dev subset of fold 3, on which recipes were developed."""
_OTHERS = (WA, MACRO_F1)
_LEVELS = {"LO": "low", "MD": "medium", "HI": "high"}

Overview = Mapping[str, Any]


def protocol_of(overview: Overview, name: str) -> Mapping[str, Any] | None:
    """A protocol's part of the overview."""
    return next((protocol for protocol in overview["protocols"] if protocol["name"] == name), None)


def titles(overview: Overview) -> dict[str, str]:
    """Title of each recipe of the main protocol by folder name, best first."""
    protocol = protocol_of(overview, MAIN)
    return {recipe["name"]: recipe["title"] for recipe in protocol["recipes"]} if protocol else {}


def without(summary: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """A report or an overview without some recipes, by the names of their folders; a report keeps its pairs."""
    kept = dict(summary)
    if "protocols" in summary:
        kept["protocols"] = [without(protocol, names) for protocol in summary["protocols"]]
        kept["between"] = [pair for pair in summary["between"] if pair["recipe"] not in names]
    else:
        kept["recipes"] = [recipe for recipe in summary["recipes"] if recipe["name"] not in names]
    return kept


def repaired(overview: Overview, names: Collection[str]) -> str:
    """Each replaced recipe, by folder name, beside its successor, under every protocol of both."""
    rows = []
    for protocol in overview["protocols"]:
        found = {recipe["name"]: recipe for recipe in protocol["recipes"]}
        for former in found.keys() & names:
            name = former.rpartition("-")[0]
            if now := found.get(name):
                each = [recipe["scores"]["uar"] for recipe in (found[former], now)]
                rows.append([f"`{name}`", f"`{protocol['name']}`", f"{spans(now['folds'])}; {spans(now['seeds'])}"])
                rows[-1] += [f"{percent(score['value'])} ({ends_text(score)})" for score in each]
    head = ("Recipe", "Protocol", "Folds; seeds", "UAR before (95 % over actors)", "UAR now (95 % over actors)")
    return table(head, sorted(rows), left=3)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A Markdown table whose first ``left`` columns are text and whose others are numbers."""
    rule = ["---" if column < left else "--:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in ([*head], rule, *rows)) + "\n"


def ends_text(score: Mapping[str, Any], form: Format = PERCENT) -> str:
    """The ends of an interval of a report's JSON, or why there is none."""
    return interval_text(Interval(score["value"], score["low"], score["high"], score["reason"]), form)


def scores(overview: Overview, name: str = MAIN) -> str:
    """All recipes under a protocol, best first; fusions with fitted weights are in the table of gains."""
    protocol = protocol_of(overview, name)
    if protocol is None:
        return "There are no results yet.\n"
    planned = protocol["recipes"] + [fusion for fusion in protocol["fusions"] if not fusion["weights"]]
    entries = sorted(planned, key=lambda entry: -entry["scores"]["uar"]["value"])
    head = ["Recipe", "Pretrained", "Folds; seeds", "UAR (95 % over actors)", *(metric.heading for metric in _OTHERS)]
    head += ["UAR in training", "Parameters", "Training per fold"]
    return table(head, [_row(entry) for entry in entries], left=3)


SHORT = (
    "wav2vec2-small", "wav2vec2-small-distilled", "wav2vec2-small-distilled-long", "resnet18", "resnet18-distilled",
    "resnet18-small-distilled", "whisper-base-probe",
)  # fmt: skip
"""Recipes of the short table, the question of the project first; the best recipe follows."""


def short(overview: Overview) -> str:
    """A few recipes of the main protocol: Wav2Vec2 and ResNet18, those with a teacher, the probe, and the best."""
    protocol = protocol_of(overview, MAIN)
    if protocol is None:
        return "There are no results yet.\n"
    entries = {entry["name"]: entry for entry in protocol["recipes"]}
    best = max(entries.values(), key=lambda entry: entry["scores"]["uar"]["value"])["name"]
    chosen = [name for name in dict.fromkeys((*SHORT, best)) if name in entries]
    head = ["Recipe", "Pretrained", "Folds; seeds", "UAR (95 % over actors)", "Parameters"]
    rows = [_row(entries[name]) for name in chosen]
    return table(head, [[*row[:4], row[-2]] for row in rows], left=3)


def _row(entry: Mapping[str, Any]) -> list[str]:
    score = entry["scores"]
    flag = f", {NOT_SHOWN}" if entry["learned"] is False else ""
    cost = entry["cost"]
    return [
        f"{entry['title']}{flag} (`{entry['name']}`)",
        entry["pretrained"] or ("its teacher" if cost.get("teacher_seconds") else "no"),
        f"{spans(entry['folds'])}; {spans(entry['seeds'])}",
        f"**{percent(score['uar']['value'])}** ({ends_text(score['uar'])})",
        *(written(score[metric.key]["value"], metric.format) for metric in _OTHERS),
        percent(entry["train_uar"]),
        f"{cost['parameters'] / 1e6:.2f} M",
        f"{max(1, round(cost['train_seconds'] / 60))} min",
    ]


def signature(overview: Overview, name: str = MAIN) -> str:
    """The data behind the figures of a protocol, in one line."""
    protocol, corpus = protocol_of(overview, name), overview["corpus"]
    if protocol is None:
        return ""
    actors = max(recipe["speakers"] for recipe in protocol["recipes"])
    folds = {fold for recipe in protocol["recipes"] for fold in recipe["folds"]}
    versions = sorted({version for recipe in protocol["recipes"] for version in recipe["versions"]})
    hashes = ", ".join(f"`{recipe['name']}` {recipe['hash'][:8]}" for recipe in protocol["recipes"])
    return (
        f"CREMA-D, {corpus['copy']} (`{corpus['fingerprint'][:8]}`), {corpus['label_track']} labels, `{name}`, "
        f"{numbered('fold', folds)} ({counted(actors, 'test actor')}); recipes {hashes}; "
        f"serlab {', '.join(versions)}.\n"
    )


def differences(report: Mapping[str, Any]) -> str:
    """The paired difference of each recipe to the next one in rank."""
    pairs = {(pair["first"], pair["second"]): pair for pair in report["pairs"]}
    rows = []
    for first, second in pairwise(report["recipes"]):
        pair = pairs[first["name"], second["name"]]
        gain = pair["differences"]["uar"]
        rows.append([first["title"], second["title"], f"**{points(gain['value'])}** ({ends_text(gain)})"])
        rows[-1] += [
            answer_words(
                pair["answer"],
                recipes=pair["scope"] == "recipes",
                alone=pair["answer_alone"],
                family=pair["family"],
            ),
            p_value(pair["p_holm"]),
            f"{spans(pair['folds'])}; {spans(pair['seeds'])}",
        ]
    head = ("Recipe", "less", "Points of UAR (95 % over actors)", "The first is", "p after Holm", "Folds; seeds")
    return table(head, rows, left=2)


def premiums(overview: Overview) -> str:
    """Leak premiums: each recipe under the leaky twin protocol minus itself with unseen actors, on the same clips."""
    pairs = [p for p in overview["between"] if p["leak"] and (p["first"], p["second"]) == (MAIN, TWIN)]
    if not pairs:
        return "The leaky twins are not trained yet.\n"
    rows = []
    for pair in sorted(pairs, key=lambda pair: -pair["differences"]["uar"]["value"]):
        premium = pair["differences"]["uar"]
        rows.append([pair["title"], f"**{points(premium['value'])}** ({ends_text(premium)})"])
        rows[-1] += [f"{pair['clips']:,}", spans(pair["seeds"])]
    return table(("Recipe", "Leak premium, points of UAR (95 % over actors)", "Clips", "Seeds"), rows)


def others(overview: Overview) -> str:
    """Human raters, the seed project and EVAR, with serlab's own rows on the same protocols."""
    rows = [_published(row) for row in (PEOPLE, *SEED)]
    rows += _own(overview, "seed-random", "random, 80/20 by clip", apart=False)
    rows += [_published(row) for row in EVAR]
    rows += _own(overview, "evar", "`evar`", apart=True)
    return table(("What", "Per cent", "Measure", "Split", "Actors apart", "Source"), rows, left=6)


def _published(row: Published) -> list[str]:
    return [row.what, row.figure, row.measure, row.split, _apart(row.apart), row.source]


def _own(overview: Overview, name: str, split: str, *, apart: bool) -> list[list[str]]:
    protocol = protocol_of(overview, name)
    return [
        [
            f"{recipe['title']} (`{recipe['name']}`)",
            f"**{percent(recipe['scores']['wa']['value'])}** ({ends_text(recipe['scores']['wa'])})",
            "accuracy",
            split,
            _apart(apart),
            "serlab, 11,025 Hz" + ("" if recipe["pretrained"] else ", no pretrained weights"),
        ]
        for recipe in (protocol["recipes"] if protocol else ())
    ]


def _apart(value: bool | None) -> str:
    return {True: "yes", False: "**no**", None: "–"}[value]


def gains(overview: Overview) -> str:
    """The paired difference of each fusion to each of its members."""
    protocol = protocol_of(overview, MAIN)
    fusions = {fusion["name"]: fusion for fusion in protocol["fusions"]} if protocol else {}
    rows = [
        [
            f"`{fusion['name']}`",
            weights_text(fusion["weights"]) if fusion["weights"] else "equal",
            f"{percent(fusion['scores']['uar']['value'])} ({ends_text(fusion['scores']['uar'])})",
            f"`{pair['second']}`",
            f"{points(d['value'])} ({ends_text(d)})",
            f"{spans(pair['folds'])}; {spans(pair['seeds'])}",
        ]
        for pair in (protocol["gains"] if protocol else ())
        for fusion, d in [(fusions[pair["first"]], pair["differences"]["uar"])]
    ]
    head = ("Fusion", "Weights, least to most", "UAR (95 %)", "less", "Points of UAR (95 %)", "Folds; seeds")
    return table(head, rows, left=2) if rows else ""


def folds(overview: Overview, runs: Mapping[str, Sequence[Run]]) -> str:
    """UAR of each fold (mean over seeds), pooled, and pooled without the fold that recipes were developed on."""
    protocol = protocol_of(overview, MAIN)
    if protocol is None:
        return ""
    head = ["Recipe", *(f"Fold {k}" for k in range(1, protocol["folds"] + 1)), "Pooled", f"Without fold {DEVELOPED_ON}"]
    rows = []
    for recipe in protocol["recipes"]:
        by_fold: dict[int, list[float]] = {}
        for run in recipe["runs"]:
            by_fold.setdefault(run["fold"], []).append(run["uar"])
        each = [percent(_mean(by_fold[k])) if k in by_fold else "–" for k in range(1, protocol["folds"] + 1)]
        rows.append([recipe["title"], *each, percent(recipe["scores"]["uar"]["value"])])
        rows[-1].append(percent(_pooled_without(recipe, runs[MAIN], overview["corpus"]["labels"])))
    return table(head, rows)


def _pooled_without(recipe: Mapping[str, Any], runs: Sequence[Run], labels: Sequence[str]) -> float | None:
    rows = judged(recipe, runs)
    rows = rows[rows["fold"] != DEVELOPED_ON]
    return float(uar(count_by_speaker(rows, labels).by_seed).mean()) if len(rows) else None


def judged(recipe: Mapping[str, Any], runs: Sequence[Run]) -> pd.DataFrame:
    """The test rows behind a recipe's figures."""
    cells = {(run["fold"], run["seed"]) for run in recipe["runs"]}
    tables = [
        run.table[run.table["side"] == "test"]
        for run in runs
        if run.path.parent.name == recipe["name"] and (run.signature["fold"], run.signature["seed"]) in cells
    ]
    return pd.concat(tables, ignore_index=True)


def classes(overview: Overview) -> str:
    """Recall of each label."""
    protocol = protocol_of(overview, MAIN)
    if protocol is None:
        return ""
    labels = overview["corpus"]["labels"]
    rows = [[r["title"], *(percent(c["recall"]) for c in r["per_class"])] for r in protocol["recipes"]]
    return table(["Recipe", *(label.capitalize() for label in labels)], rows)


def confusions(report: Mapping[str, Any]) -> str:
    """Each recipe's confusion matrix as a picture."""
    shown = [
        f"![Confusion matrix of {recipe['title']}](images/cremad/{confusion_name(recipe)}.svg)"
        for recipe in report["recipes"]
    ]
    return "\n".join(shown) + "\n"


def confusion_name(recipe: Mapping[str, Any]) -> str:
    """The file of a recipe's confusion matrix, without its ending."""
    return f"confusion-{recipe['name']}"


def levels(overview: Overview, runs: Mapping[str, Sequence[Run]]) -> str:
    """Accuracy by intensity: only sentence IEO is spoken at three levels, by five emotions."""
    protocol = protocol_of(overview, MAIN)
    if protocol is None:
        return ""
    rows = []
    for recipe in protocol["recipes"]:
        table_ = judged(recipe, runs[MAIN])
        level = table_["clip"].str.rsplit("_", n=1).str[1]
        each = [table_[level == code] for code in _LEVELS]
        right = [_accuracy(part, overview["corpus"]["labels"]) for part in each]
        rows.append([recipe["title"], *(percent(value) for value in right), str(each[0]["clip"].nunique())])
    return table(["Recipe", *(f"{name.capitalize()}" for name in _LEVELS.values()), "Clips per level"], rows)


def _accuracy(rows: pd.DataFrame, labels: Sequence[str]) -> float | None:
    if rows.empty:
        return None
    counts = count_by_speaker(rows, labels).by_seed.sum(axis=0)
    return float(counts.trace() / counts.sum())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
