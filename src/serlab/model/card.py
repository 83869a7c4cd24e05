"""The model card, the README of a model folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serlab.recipes.variants import base_of, changed_settings, changes_text

LIMITS = (
    "Acted speech is not spontaneous speech: expect worse results on other corpora, languages and microphones, and do "
    "not judge a person by this model."
)
"""Limits that apply to every model."""

_CARD = """---
library_name: {library}
pipeline_tag: audio-classification
---

# {title}

Recognises {labels} in speech. Trained by serlab {version} with the recipe `{name}` ({hash}) on the train subset of
fold {fold} of `{protocol}` of {corpus} ({copy}); labels: {track}; seed {seed}, precision {precision}.
{origin}
{settings}

Speaker-disjoint protocol: {disjoint}. UAR on the train subset: {train_uar:.3f}. The prediction table of the same run
has its predictions for clips that it was not trained on. Quote figures from the comparison's report, which gives their
intervals.

{how}

{limits}

Corpus licence: {licence}. Cite: {citation}
"""

PLAIN = """
# {name}

Recognises {labels} in speech. An audio classifier of transformers; serlab did not train it, so nothing is known here of
its training data and its quality.

Use it with `serlab predict --model {repository} FILE...`, or in plain transformers.

{limits}
"""
"""The card of an audio classifier of transformers that has none, without the hub's metadata."""


def _settings(recipe: Mapping[str, Any]) -> str:
    """Settings that differ from the preset."""
    base, changed = base_of(recipe["name"]), changed_settings(recipe) or {}
    usual = f"those of the preset `{base}`" if base else "the defaults"
    return f"Settings other than {usual}: {changes_text(changed)}." if changed else f"All settings are {usual}."


def model_card(signature: Mapping[str, Any], *, needs_serlab: bool) -> str:
    """Write the card of a model from its run's signature.

    Args:
        signature: as beside the prediction table.
        needs_serlab: whether plain transformers cannot use the folder.
    """
    protocol = signature["protocol"]
    answer = {True: "yes", False: "NO, the subsets share speakers", None: "unknown"}[protocol["speaker_disjoint"]]
    return _CARD.format(
        **_about(signature, needs_serlab), fold=signature["fold"], protocol=protocol["name"], disjoint=answer
    )


def _about(signature: Mapping[str, Any], needs_serlab: bool) -> dict[str, Any]:
    """Content of every card: recipe, corpus, origin, settings and use."""
    recipe, corpus = signature["recipe"], signature["corpus"]
    weights = signature.get("weights_sha256")
    known = f" (SHA-256 {weights})" if weights else ""
    origin = f"Started from the pretrained weights {recipe['pretrained']}{known}."
    return {
        "library": "serlab" if needs_serlab else "transformers",
        "title": recipe["title"],
        "labels": ", ".join(corpus["labels"]),
        "version": signature["serlab"],
        "name": recipe["name"],
        "hash": recipe["hash"],
        "corpus": corpus["name"],
        "copy": corpus["copy"],
        "track": corpus["label_track"],
        "seed": signature["seed"],
        "precision": signature["precision"],
        "origin": (origin if recipe["pretrained"] else _from_scratch(signature["training"].get("pretraining")))
        + _taught(signature.get("teacher"), (recipe["config"].get("training") or {}).get("teacher") or {}),
        "settings": _settings(recipe),
        "train_uar": signature["training"]["train_uar"],
        "how": "Use it with `serlab predict --model THIS_FOLDER FILE...`."
        + ("" if needs_serlab else " It also loads in plain transformers."),
        "limits": LIMITS,
        "licence": corpus["licence"],
        "citation": corpus["citation"],
    }


def _taught(teacher: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> str:
    """Who taught a model, and what, as sentences to append."""
    if teacher is None:
        return ""
    models = len(teacher["models"])
    several = f"{models} models" if models > 1 else "one model"
    layers = ", ".join(map(str, settings.get("states") or ())) if settings.get("states_weight") else ""
    states = f" Its frames also learned hidden states of that encoder (layers {layers})." if layers else ""
    return f" Taught by {several} of {teacher['title']} (`{teacher['name']}`, {teacher['hash'][:12]}).{states}"


def _from_scratch(pretraining: Mapping[str, Any] | None) -> str:
    """Origin of a model that did not start from a checkpoint."""
    if pretraining is None:
        return "Trained from scratch."
    encoder, speech = pretraining["encoder"], pretraining["speech"]
    heard = ", ".join(f"{source['name']} ({source['clips']:,} recordings)" for source in speech)
    return (
        f"Its encoder started from random weights and was distilled from {encoder['name']} (SHA-256 "
        f"{encoder['sha256']}) on {pretraining['hours']:.1f} h of speech without labels: {heard}."
    )


_DEPLOYED = """---
library_name: {library}
pipeline_tag: audio-classification
---

# {title}, trained on all clips

Recognises {labels} in speech. Trained by serlab {version} with the recipe `{name}` ({hash}) on all {clips:,} clips of
{corpus} ({copy}); labels: {track}; seed {seed}, precision {precision}, {length}.
{origin}
{settings}

**Untested: it was trained on every speaker of this corpus.** No clip of {corpus} can tell how good this model is. Its
UAR on the clips that it was trained on, {train_uar:.3f}, says nothing about other speakers.

{quoted}

{how}

{limits}

Corpus licence: {licence}. Cite: {citation}
"""


def deployment_card(signature: Mapping[str, Any], *, needs_serlab: bool) -> str:
    """Write the card of a model that was trained on every clip of its corpus.

    Args:
        signature: of the run; its identity contains the quoted scores.
        needs_serlab: whether plain transformers cannot use the folder.
    """
    epochs = len(signature["training"]["epochs"])
    return _DEPLOYED.format(
        **_about(signature, needs_serlab),
        clips=signature["corpus"]["clips"] - len(signature["exclusions"]),
        length=f"{epochs} epochs" if epochs else "settings fixed beforehand or chosen on its own training speakers",
        quoted=_quoted(signature["identity"].get("quoted")),
    )


def _quoted(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "No comparison is quoted, so the recipe's UAR on unseen speakers is not known here."
    who = "clips" if found["speakers"] is None else "speakers"
    count = found["clips"] if found["speakers"] is None else found["speakers"]
    interval = (
        f"no interval: {found['reason']}"
        if found["low"] is None
        else f"95 % interval {100 * found['low']:.1f} to {100 * found['high']:.1f}"
    )
    seen = "" if found["speaker_disjoint"] else ", whom their training data may contain"
    return (
        f"Other models with the same recipe, each trained on a part of the same corpus, were tested: UAR "
        f"{100 * found['uar']:.1f} % ({interval}) on {count:,} {who}{seen} (protocol `{found['protocol']}`, "
        f"{found['where']}). Temperature and abstention thresholds come from their dev subsets."
    )
