"""A worked example: the neutral clip that a published model takes for fear with the highest probability."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from publication.tables import table
from serlab.evaluation.calibration import at_temperature, fit_temperature
from serlab.evaluation.conformal import nonconformity, sets, threshold
from serlab.report.words import percent
from serlab.tables.predictions import Run, labels_of, logits_of

TRUE, CALLED = "neutral", "fear"
_LEVELS = (0.8, 0.9)


def example(runs: Sequence[Run], clips: pd.DataFrame | None = None) -> str:
    """Predictions of every model that was tested on the clip, before and after its fold's temperature.

    Args:
        runs: the main protocol's.
        clips: the corpus's table, for the raters' votes, if available.

    Returns:
        Two sentences and a Markdown table; empty if no model takes a neutral clip for fear.
    """
    found = max((each for run in runs if (each := _surest(run)) is not None), default=None, key=lambda each: each[0])
    if found is None:
        return ""
    _, run, clip = found
    fold, seed = (int(run.table[name].iloc[0]) for name in ("fold", "seed"))
    beside = [other for other in runs if ((other.table["clip"] == clip) & (other.table["side"] == "test")).any()]
    shown = [other for other in beside if (other.table["side"] == "dev").any()]
    trainings = Counter(other.path.parent.name for other in shown)
    rows = [_row(other, clip, tell_seed=trainings[other.path.parent.name] > 1) for other in shown]
    head = (
        "Recipe", f"{CALLED}, {TRUE}: as trained", "Temperature", "after it",
        *(f"Set for {percent(level, 0)} %" for level in _LEVELS),
    )  # fmt: skip
    text = (
        f"`{clip}` (fold {fold}) was meant as {TRUE}; of all models and such clips "
        f"`{run.path.parent.name}` (seed {seed}) is surest that this one is "
        f"{CALLED}. {_votes(clip, clips)}Probabilities in per cent:"
    )
    wrong = sum(_prefers(other, clip) for other in shown)
    count = f"{wrong} of the {len(shown)} models give {CALLED} more than {TRUE}."
    return f"{text}\n\n{table(head, rows)}\n{count}\n"


def _prefers(run: Run, clip: str) -> bool:
    """Whether a model gives the wrong label more than the true one."""
    labels, (scores,) = labels_of(run.table), _logits(run, clip)
    return bool(scores[labels.index(CALLED)] > scores[labels.index(TRUE)])


def _logits(run: Run, clip: str) -> NDArray[np.float64]:
    """The logits of a test clip, shape (1, labels)."""
    return logits_of(run.table[(run.table["clip"] == clip) & (run.table["side"] == "test")])


def _votes(clip: str, clips: pd.DataFrame | None) -> str:
    if clips is None or f"votes_voice_{TRUE}" not in clips:
        return ""
    votes = dict(clips.set_index("clip").filter(like="votes_voice_").loc[clip])
    said = {label: votes[f"votes_voice_{label}"] for label in (CALLED, TRUE)}
    heard = sum(votes.values())
    return f"Of the {heard} people who heard it, {said[CALLED]} called it {CALLED} and {said[TRUE]} {TRUE}. "


def _surest(run: Run) -> tuple[float, Run, str] | None:
    test = run.table[(run.table["side"] == "test") & (run.table["label"] == TRUE)]
    labels = labels_of(run.table)
    probabilities = at_temperature(logits_of(test), 1.0)
    called = probabilities.argmax(axis=1) == labels.index(CALLED)
    if not called.any():
        return None
    of_called = np.where(called, probabilities[:, labels.index(CALLED)], 0)
    place = int(of_called.argmax())
    return float(of_called[place]), run, str(test["clip"].iloc[place])


def _row(run: Run, clip: str, *, tell_seed: bool) -> list[str]:
    labels, rows = labels_of(run.table), run.table
    dev = rows[rows["side"] == "dev"]
    truth = dev["label"].map({label: place for place, label in enumerate(labels)}).to_numpy(np.int64)
    temperature = fit_temperature(logits_of(dev), truth)
    scores = nonconformity(at_temperature(logits_of(dev), temperature), truth)
    speaker = pd.factorize(dev["speaker"])[0]
    logits = _logits(run, clip)
    before, after = at_temperature(logits, 1.0)[0], at_temperature(logits, temperature)[0]

    def both(probabilities: np.ndarray) -> str:
        return ", ".join(percent(float(probabilities[labels.index(label)])) for label in (CALLED, TRUE))

    def held(level: float) -> str:
        limit = threshold(scores, speaker, level)
        if limit is None:
            return "not attainable"
        inside = sets(after[None], limit)[0]
        return ", ".join(label for label, there in zip(labels, inside, strict=True) if there) or "none"

    name = f"`{run.path.parent.name}`" + (f", seed {int(rows['seed'].iloc[0])}" if tell_seed else "")
    return [name, both(before), f"{temperature:.2f}", both(after), *map(held, _LEVELS)]
