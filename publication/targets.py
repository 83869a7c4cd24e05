"""Training targets: a clip's label, its votes, or both, each evaluated against both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from publication.tables import table
from serlab.corpora import descriptions
from serlab.evaluation.bootstrap import differences, intervals
from serlab.evaluation.counts import SpeakerCounts, count_by_speaker
from serlab.evaluation.soft import soft_scores
from serlab.evaluation.tracks import on_track, track, votes_for, votes_of
from serlab.report.words import counted, interval_text, numbered, percent, points
from serlab.tables.predictions import Run, labels_of, probabilities_of

_TRACKS = ("intended", "perceived")
_KINDS = ("hard", "soft", "both")
_LEARNED = {"hard": "the intended label", "soft": "the voice votes", "both": "the mean of the two"}


def targets(runs: Sequence[Run], clips: pd.DataFrame) -> str:
    """One recipe trained on each kind of target, on the folds and seeds that all of them have.

    Args:
        runs: the main protocol's.
        clips: the corpus's table, with votes.

    Returns:
        A sentence and a Markdown table; only a sentence if no recipe was trained on several kinds.
    """
    family = _family(runs)
    if family is None:
        return "No recipe has been trained on votes yet.\n"
    cells = set.intersection(*(set(found) for found in family.values()))
    hard = family["hard"][min(cells)]
    labels = labels_of(hard.table)
    judged = {kind: _judged([family[kind][cell] for cell in sorted(cells)]) for kind in _KINDS if kind in family}
    known = descriptions()["crema-d"].tracks
    chosen = [track(clips, labels, name, known) for name in _TRACKS]
    tracks = [{kind: on_track(rows, each) for kind, rows in judged.items()} for each in chosen]
    counts = [{kind: count_by_speaker(rows, labels) for kind, rows in each.items()} for each in tracks]
    head = ("Learned", *(f"UAR, {name}" for name in _TRACKS), "Macro-F1 of the votes", "Divergence", "Cross-entropy")
    rows = [[_LEARNED[kind], *_uars(counts, kind), *_by_votes(judged[kind], clips, labels)] for kind in judged]
    rows += [[f"{kind} less hard", *_gains(counts, kind), "–", "–", "–"] for kind in judged if kind != "hard"]
    folds, seeds = (sorted({cell[place] for cell in cells}) for place in range(2))
    text = (
        f"`{hard.path.parent.name}` on {numbered('fold', folds)}, {numbered('seed', seeds)} "
        f"({counted(judged['hard']['speaker'].nunique(), 'test actor')}), per cent with 95 % intervals over actors:"
    )
    return f"{text}\n\n{table(head, rows)}"


def _family(runs: Sequence[Run]) -> dict[str, dict[tuple[int, int], Run]] | None:
    """Runs by target and (fold, seed) of the recipe that was trained on most targets."""
    families: dict[str, dict[str, dict[tuple[int, int], Run]]] = {}
    for run in runs:
        config = run.signature["recipe"]["config"]
        training = dict(config.get("training") or {})
        kind = training.pop("targets", "hard")
        same = json.dumps({**config, "training": training}, sort_keys=True)
        cell = (int(run.signature["fold"]), int(run.signature["seed"]))
        families.setdefault(same, {}).setdefault(kind, {})[cell] = run
    found = max(families.values(), key=len, default={})
    return found if len(found) > 1 and "hard" in found else None


def _judged(runs: Sequence[Run]) -> pd.DataFrame:
    return pd.concat([run.table[run.table["side"] == "test"] for run in runs], ignore_index=True)


def _uars(counts: Sequence[dict[str, SpeakerCounts]], kind: str) -> list[str]:
    each = [intervals(found[kind])["uar"] for found in counts]
    return [f"{percent(score.value)} ({interval_text(score)})" for score in each]


def _gains(counts: Sequence[dict[str, SpeakerCounts]], kind: str) -> list[str]:
    each = [differences(found[kind], found["hard"])["uar"] for found in counts]
    return [f"{points(gain.value)} ({interval_text(gain)})" for gain in each]


def _by_votes(rows: pd.DataFrame, clips: pd.DataFrame, labels: Sequence[str]) -> list[str]:
    votes = votes_for(votes_of(clips, labels), rows["clip"])
    speaker, training = (pd.factorize(rows[name])[0] for name in ("speaker", "seed"))
    found: Any = soft_scores(probabilities_of(rows), votes, speaker, training=training)
    scores = [f"{percent(found.macro_f1.value)} ({interval_text(found.macro_f1)})"] if found.macro_f1 else ["–"]
    return [*scores, *(f"{score.value:.3f}" for score in (found.divergence, found.cross_entropy))]
