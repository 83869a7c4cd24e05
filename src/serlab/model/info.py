"""What is known about a model, and its card for notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from serlab.audio import SAMPLE_RATE
from serlab.core import UserError
from serlab.core.progress import shown
from serlab.model.card import LIMITS
from serlab.model.schema import FILE, Content


@dataclass(frozen=True)
class MeasuredUar:
    """Unweighted average recall on clips that a model was not trained on.

    Attributes:
        value: the UAR, 0 to 1.
        low, high: 95 % interval; None if there are too few speakers.
        clips, speakers: what it was measured on; speakers are None if unknown.
        protocol: how the corpus was split.
        speaker_disjoint: whether the speakers of the test clips were unseen in training; None if
            unknown.
        own: whether it was measured on this very model. Otherwise it was measured on models with
            the same recipe, each trained on a part of the corpus.
    """

    value: float
    low: float | None
    high: float | None
    clips: int
    speakers: int | None
    protocol: str
    speaker_disjoint: bool | None
    own: bool

    @classmethod
    def of(cls, tested: Mapping[str, Any], *, own: bool) -> MeasuredUar:
        """Create it from what a model folder holds."""
        others = ("low", "high", "clips", "speakers", "protocol", "speaker_disjoint")
        return cls(value=tested["uar"], **{name: tested[name] for name in others}, own=own)

    def __str__(self) -> str:
        """Show it with its interval, in percent.

        >>> print(MeasuredUar(0.614, 0.59, 0.638, 1200, 15, "speaker-5", True, own=True))
        61.4 % (95 % interval 59.0 to 63.8), measured on 15 speakers it has not heard
        """
        between = "" if self.low is None or self.high is None else f"{100 * self.low:.1f} to {100 * self.high:.1f}"
        interval = f"95 % interval {between}" if between else "no interval"
        on = f"{self.clips:,} clips" if self.speakers is None else f"{self.speakers:,} speakers"
        unseen = " it has not heard" if self.speaker_disjoint and self.own and self.speakers is not None else ""
        others = "" if self.own else ", for models with this recipe that were trained on a part of the corpus"
        return f"{100 * self.value:.1f} % ({interval}), measured on {on}{unseen}{others}"


@dataclass(frozen=True)
class ModelInfo:
    """Information about a model; little for a checkpoint that serlab did not train.

    Attributes:
        labels: names of the emotions.
        recipe, recipe_hash: the recipe.
        corpus: the corpus it was trained on.
        protocol: how the corpus was split; ``everyone`` if the model was trained on all clips.
        fold, seed: of the training run; no fold for ``everyone``.
        clips, speakers: how many it was trained on; None if unknown.
        clip_seconds: median length of a training clip; None if unknown.
        trained_in: precision of training.
        uar: tested UAR; None if the folder does not have it.
        temperature: for ``calibrated=True``; None without a dev subset.
        licence, citation: of the corpus.
        limits: what the model must not be used for.
        sample_rate: that sound is converted to, Hz.
        serlab: version that trained the model.
    """

    labels: tuple[str, ...] = ()
    recipe: str | None = None
    recipe_hash: str | None = None
    corpus: str | None = None
    protocol: str | None = None
    fold: int | None = None
    seed: int | None = None
    clips: int | None = None
    speakers: int | None = None
    clip_seconds: float | None = None
    trained_in: str | None = None
    uar: MeasuredUar | None = None
    temperature: float | None = None
    licence: str | None = None
    citation: str | None = None
    limits: str = LIMITS
    sample_rate: int = SAMPLE_RATE
    serlab: str | None = None

    @classmethod
    def read(cls, folder: Path) -> ModelInfo | None:
        """Read it from a model folder; None for one of another program.

        Raises:
            UserError: the folder is damaged.
        """
        if not (folder / FILE).is_file():
            return None
        try:
            return cls.of(Content.read(folder))
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{folder} is damaged: its {FILE} is incomplete.") from error

    @classmethod
    def of(cls, content: Content) -> ModelInfo:
        """Gather it from ``serlab.json``.

        Raises:
            KeyError, TypeError, AttributeError: a part is missing or something else.
        """
        signature, inputs = content.signature, content.inputs or {}
        recipe, corpus, protocol = signature["recipe"], signature["corpus"], signature["protocol"]["name"]
        quoted = signature["identity"].get("quoted")
        tested = content.tested or quoted
        return cls(
            labels=content.labels,
            recipe=recipe["name"],
            recipe_hash=recipe["hash"],
            corpus=corpus["name"],
            protocol=protocol,
            fold=None if "fixed" in signature["identity"] else signature["fold"],
            seed=signature["seed"],
            clips=inputs.get("clips"),
            speakers=inputs.get("speakers"),
            clip_seconds=inputs["seconds"][1] if inputs else None,
            trained_in=signature["precision"],
            uar=None if tested is None else MeasuredUar.of(tested, own=tested is not quoted),
            temperature=signature["training"].get("reliance", {}).get("temperature"),
            licence=corpus["licence"],
            citation=corpus["citation"],
            serlab=signature["serlab"],
        )


_STYLE = (
    "border:1px solid rgba(128,128,128,.35);border-radius:6px;padding:.8em 1em;max-width:44em;"
    "font-family:system-ui,sans-serif;font-size:.92em;line-height:1.45;color:inherit"
)
_NAME = (
    "font-weight:normal;text-align:left;vertical-align:top;padding:.1em 1.2em .1em 0;background:none;opacity:.7;"
    "white-space:nowrap"
)
_VALUE = "text-align:left;vertical-align:top;padding:.1em 0;background:none"


def card(name: str, labels: Sequence[str], precision: str, info: ModelInfo) -> str:
    """HTML for a notebook, on light or dark pages; all values are escaped.

    Args:
        name: of the model.
        labels: names of the emotions.
        precision: of predictions.
        info: what is known about it.
    """
    rows = {"Emotions": ", ".join(labels), **_rows(info), "Precision": precision, "Limits": info.limits}
    lines = "".join(
        f'<tr style="background:none"><th style="{_NAME}">{title}</th><td style="{_VALUE}">{_text(value)}</td></tr>'
        for title, value in rows.items()
        if value
    )
    title = f'<div style="font-weight:600;margin-bottom:.4em">{_text(name)}</div>'
    return f'<div style="{_STYLE}">{title}<table style="border:none;margin:0;color:inherit">{lines}</table></div>'


def _rows(info: ModelInfo) -> dict[str, str]:
    if info.recipe is None:
        return {}
    fold = "all clips" if info.fold is None else f"fold {info.fold} of {info.protocol}"
    counts = [f"{count:,} {of}" for count, of in ((info.clips, "clips"), (info.speakers, "speakers")) if count]
    trained = [f"{info.corpus}, {fold}, seed {info.seed}", *counts]
    return {
        "Recipe": f"{info.recipe} ({(info.recipe_hash or '')[:8]})",
        "Trained on": ", ".join(trained),
        "Tested UAR": "unknown" if info.uar is None else str(info.uar),
        "Temperature": "" if info.temperature is None else f"{info.temperature:.3g}",
        "Corpus licence": info.licence or "",
    }


def _text(value: str) -> str:
    return escape(shown(value))
