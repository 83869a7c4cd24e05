"""What is behind a run: what its pretrained weights and teachers have heard, and the leaks that follow (SL012)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serlab.approaches.history import History
from serlab.checkpoints.weights import find, public_name
from serlab.core import UserError
from serlab.core.files import read_json
from serlab.experiments.context import RunContext, RunSpec
from serlab.experiments.unheard import HeldOut
from serlab.model.schema import FILE
from serlab.protocols import Fold
from serlab.tables.heard import ITSELF, Overlap, behind, overlaps, record
from serlab.training.encoder_folder import HEARD


def own_record(spec: RunSpec, context: RunContext, history: History) -> dict[str, Any]:
    """What a run's own training hears; its dev speakers only if it chose by them."""
    corpus = context.corpus
    speakers = speakers_of(spec.fold, context)
    chose = history.selection == "best dev UAR" or "dev_uar" in (history.chosen or {})
    dev = speakers["dev"] if chose else []
    known = corpus.speakers_known
    return record(ITSELF, corpus.name, corpus.fingerprint, speakers["train"] if known else None, dev if known else None)


def speakers_of(fold: Fold, context: RunContext) -> dict[str, list[str]]:
    """Speakers of a fold's subsets."""
    clips = context.corpus.clips
    subsets = {"train": fold.train, "dev": fold.dev, "test": fold.test}
    return {name: sorted({*clips.loc[clips["clip"].isin(ids), "speaker"]}) for name, ids in subsets.items()}


def records_of(folder: Path, what: str) -> list[dict[str, Any]]:
    """What the model in a folder has heard; for models of other programs it is unknown."""
    try:
        if (folder / FILE).is_file():
            signature = read_json(folder / FILE)["signature"]
            heard = signature.get("heard")
            return behind(what, heard if heard and isinstance(heard, list) else [_of_older(signature)])
        if (folder / HEARD).is_file():
            speech = read_json(folder / HEARD)["speech"]
            return [record(what, each["name"], None, each["speakers"], []) for each in speech]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{folder} does not say what its model has heard: its record is damaged; restore it."
        ) from error
    return [record(what, None, None, None, None)]


def _of_older(signature: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a model from a version that kept none: its corpus is known, its speakers are not."""
    return record(ITSELF, signature["corpus"]["name"], signature["corpus"]["fingerprint"], None, None)


def before(spec: RunSpec, context: RunContext) -> list[dict[str, Any]]:
    """What the pretrained weights of a recipe have heard, as far as their folder says.

    Raises:
        UserError: they have heard a speaker or a recording that the fold holds out, SL012.
    """
    checkpoint = getattr(spec.recipe.model, "checkpoint", "")
    if not checkpoint:
        return []
    folder, what = find(checkpoint), f"the pretrained weights {public_name(checkpoint)}"
    records = records_of(folder, what)
    check(records, spec, context)
    held = HeldOut(context.corpus, spec.fold)
    for name, sha256 in _recordings_of(folder):
        if clip := held.find(name, sha256):
            raise _leak(spec, context, f"{what} was trained on the clip {clip}, which the fold holds out")
    return records


def _recordings_of(folder: Path) -> list[tuple[str, str]]:
    """Names and SHA-256 of the recordings that an encoder's record lists."""
    if (folder / FILE).is_file() or not (folder / HEARD).is_file():
        return []
    return [pair for each in read_json(folder / HEARD)["speech"] for pair in (each.get("sha256") or {}).items()]


def pretraining_of(history: History) -> list[dict[str, Any]]:
    """What a run's encoder heard when the run pretrained it."""
    speech = (history.pretraining or {}).get("speech", [])
    return [record("its pretraining", each["name"], None, each["speakers"], []) for each in speech]


def check(records: Sequence[Mapping[str, Any]], spec: RunSpec, context: RunContext) -> list[Overlap]:
    """Refuse records with a speaker that the fold holds out.

    Returns:
        Choices that were made on the fold's dev subset: they are allowed, but use it.

    Raises:
        UserError: there is a leak, SL012.
    """
    if not context.corpus.speakers_known:
        return []
    corpus, sides = context.corpus, speakers_of(spec.fold, context)
    found = list(overlaps(records, corpus=corpus.name, fingerprint=corpus.fingerprint, **sides))
    for each in found:
        if not each.allowed:
            raise _leak(spec, context, each.text[:-1])
    return found


def _leak(spec: RunSpec, context: RunContext, what: str) -> UserError:
    return UserError(
        f"SL012 in fold {spec.fold.number} of {context.corpus.name}: {what}, so {spec.recipe.name} cannot be tested "
        "there; use weights that have not heard the fold's dev and test speakers."
    )
