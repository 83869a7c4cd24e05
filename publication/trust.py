"""Markdown tables of calibration, abstention and fairness, from the main protocol's report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from publication.tables import ends_text, table
from serlab.report.words import (
    CORRELATION,
    attained_text,
    counted,
    p_value,
    percent,
    points,
    span,
    spans,
    written,
)

Report = Mapping[str, Any]
_SMALL = 0.05


def calibration(report: Report) -> str:
    """Calibration before and after a temperature."""
    head = (
        "Recipe",
        "Temperature",
        "ECE before",
        "ECE after",
        "Debiased RMS after (95 %)",
        "Overconfidence before",
    )
    rows = []
    for recipe in report["recipes"]:
        found = recipe["trust"]["calibration"]
        before, after = found["before"], found["after"] or found["before"]
        values = [entry["value"] for entry in found["temperatures"] or ()]
        rms, over = after["rms_error"], before["overconfidence"]
        rows.append(
            [
                recipe["title"],
                span(values) if values else "–",
                percent(before["ece"]),
                percent(after["ece"]),
                f"{percent(rms['value'])} ({ends_text(rms)})",
                f"{points(over['value'])} ({ends_text(over)})",
            ]
        )
    return table(head, rows)


def abstention(report: Report) -> str:
    """Accuracy of the most confident answers."""
    first = report["recipes"][0]["trust"]["abstention"]["at"]
    head = ("Recipe", "AURC (95 %)", *(f"Right of the surest {percent(at['coverage'], 0)} %" for at in first))
    rows = []
    for recipe in report["recipes"]:
        found = recipe["trust"]["abstention"]
        each = [f"{percent(at['accuracy']['value'])} ({ends_text(at['accuracy'])})" for at in found["at"]]
        rows.append([recipe["title"], f"{percent(found['aurc']['value'])} ({ends_text(found['aurc'])})", *each])
    return table(head, rows)


def sets(report: Report) -> str:
    """Prediction sets: coverage of unseen speakers and its spread."""
    head = (
        "Recipe",
        "Asked",
        "Covered (95 %)",
        "Single actors: minimum, quartiles, maximum",
        "Labels per set",
        "Attained in",
    )
    rows = []
    for recipe in report["recipes"]:
        for entry in recipe["trust"]["sets"] or ():
            found = entry["speakers"]
            if found is None:
                rows.append([recipe["title"], percent(entry["level"], 0), "not attainable", "–", "–", "no fold"])
                continue
            covered, spread = found["by_speaker"], ", ".join(percent(value, 0) for value in found["quartiles"])
            size = f"{found['mean_size']:.2f}"
            text = f"{percent(covered['value'])} ({ends_text(covered)})"
            rows.append(
                [
                    recipe["title"],
                    percent(entry["level"], 0),
                    text,
                    spread,
                    size,
                    attained_text(found["folds"], alone=bool(found["unattained"])),
                ]
            )
    return table(head, rows)


def groups(report: Report) -> str:
    """Gaps between groups of actors, beside those expected by chance."""
    head = ("Recipe", "By", "Gap of UAR, points", "p", "By chance: median, 95th percentile")
    rows, tests = [], []
    for recipe in report["recipes"]:
        for attribute, found in (recipe["trust"]["groups"] or {}).items():
            gap = found["gap"]
            if gap is None:
                rows.append([recipe["title"], attribute, found["reason"], "–", "–"])
                continue
            text = f"{points(gap['value'])} ({gap['best']} over {gap['worst']})"
            null = f"{points(gap['null_median'])}, {points(gap['null_high'])}"
            rows.append([recipe["title"], attribute, text, p_value(gap["p"]), null])
            tests.append(gap["p"])
    small = sum(p < _SMALL for p in tests)
    tally = (
        f"Of {counted(len(tests), 'gap')}, {small} have p below .05; without any difference, {_SMALL * len(tests):.1f} "
        f"would be expected, but the gaps are not independent: models share errors, and actors. No p is adjusted.\n"
    )
    return f"{table(head, rows, left=2)}\n{tally}" if tests else table(head, rows, left=2)


def tracks(report: Report) -> str:
    """UAR on every label track."""
    recipes = [recipe for recipe in report["recipes"] if recipe["trust"]["tracks"]]
    if not recipes:
        return ""
    rows = []
    for place, entry in enumerate(recipes[0]["trust"]["tracks"]):
        each = [recipe["trust"]["tracks"][place] for recipe in recipes]
        cells = [f"{percent(found['scores']['uar']['value'])} of {found['clips']:,}" for found in each]
        rows.append([f"{entry['name']}: {entry['description'].partition(';')[0]}", *cells])
    return table(("Label", *(recipe["title"] for recipe in recipes)), rows)


def soft(report: Report) -> str:
    """How close the models' probabilities are to the votes on the voice."""
    rows = []
    for recipe in report["recipes"]:
        if found := recipe["trust"]["soft"]:
            names = ("macro_f1", "divergence", "cross_entropy")
            scores, apart, cross = (found[name] for name in names)
            rows.append([recipe["title"], spans(recipe["folds"])])
            rows[-1].append(f"{percent(scores['value'])} ({ends_text(scores)})" if scores else "–")
            rows[-1] += [f"{score['value']:.3f}" for score in (apart, cross)]
    head = ("Recipe", "Folds", "Macro-F1 (95 %)", "Jensen-Shannon divergence, bits", "Cross-entropy, nats")
    return table(head, rows, left=2) if rows else ""


def people(report: Report) -> str:
    """Human raters beside the models."""
    if not report["people"]:
        return ""
    found, ceiling = report["people"]["people"], report["people"]["ceiling"]
    raters = found["raters"]
    lines = [
        f"Raters who heard the voice alone: UAR {percent(raters['scores']['uar']['value'])} % "
        f"({ends_text(raters['scores']['uar'])}) over {raters['count']:,} ratings; Krippendorff's alpha "
        f"{written(found['alpha']['value'], CORRELATION)}. One half of a clip's raters names the other half's "
        f"plurality with a UAR of {percent(ceiling['uar']['value'])} % ({ends_text(ceiling['uar'])}).",
        "",
    ]
    rows = []
    for recipe in report["recipes"]:
        beside = recipe["trust"]["people"]
        if beside and beside["pearson"]:
            alike = beside["pearson"]
            ends = "" if alike["low"] is None else f" ({ends_text(alike, CORRELATION)})"
            counts = [str(beside[name]["clips"]) for name in ("model_fails", "people_fail")]
            rows.append([recipe["title"], f"{written(alike['value'], CORRELATION)}{ends}", *counts])
    head = (
        "Recipe",
        "Errors correlate with the raters' (95 %)",
        "Clips: raters agree, model fails",
        "Model right, raters wrong",
    )
    return "\n".join(lines) + "\n" + table(head, rows)
