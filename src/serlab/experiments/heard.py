"""What is behind a run: what its pretrained weights and teachers have heard, and the leaks that follow (SL012)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serlab.approaches.history import History
from serlab.checkpoints.weights import find, public_name
from serlab.core import UserError
from serlab.core.files import read_json
from serlab.corpora.base import Corpus
from serlab.corpora.unlabelled import find_speech
from serlab.experiments.context import RunContext, RunSpec
from serlab.model.schema import FILE
from serlab.protocols import Fold
from serlab.tables.heard import ITSELF, Overlap, behind, fold_of, overlaps, record
from serlab.training.encoder_folder import heard_by


def own_records(spec: RunSpec, context: RunContext, history: History) -> list[dict[str, Any]]:
    """What a run's own training hears, by corpus; its dev speakers only if it chose by them or stopped early."""
    scored = any("dev_uar" in epoch for epoch in history.epochs)
    chose = history.selection == "best dev UAR" or "dev_uar" in (history.chosen or {})
    chose |= scored and spec.recipe.training.patience > 0
    made = []
    for corpus, speakers in by_corpus(spec.fold, context):
        train, dev = speakers["train"], speakers["dev"] if chose else []
        known = corpus.speakers_known
        made.append(record(ITSELF, corpus.name, corpus.fingerprint, train if known else None, dev if known else None))
    return made


def by_corpus(fold: Fold, context: RunContext) -> list[tuple[Corpus, dict[str, list[str]]]]:
    """Speakers of a fold's subsets, for each corpus of the runs, under the corpus's own names."""
    speakers = speakers_of(fold, context)
    if context.corpora == (context.corpus,):
        return [(context.corpus, speakers)]
    return [
        (
            corpus,
            {
                side: [name.removeprefix(f"{corpus.name}/") for name in names if name.startswith(f"{corpus.name}/")]
                for side, names in speakers.items()
            },
        )
        for corpus in context.corpora
    ]


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
            heard, fold = signature.get("heard"), {"fold": fold_of(signature["identity"])}
            own = heard if heard and isinstance(heard, list) else [_of_older(signature)]
            return behind(what, [each | fold if each["what"] == ITSELF else each for each in own])
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{folder} does not say what its model has heard: its {FILE} is damaged; copy the whole folder again."
        ) from error
    speech = heard_by(folder)
    if speech is None:
        return [record(what, None, None, None, None)]
    return [record(what, each["name"], None, each["speakers"], []) for each in speech]


def _of_older(signature: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a model from a version that kept none: its corpus is known, its speakers are not."""
    return record(ITSELF, signature["corpus"]["name"], signature["corpus"]["fingerprint"], None, None)


def before(spec: RunSpec) -> list[dict[str, Any]]:
    """What the pretrained weights of a recipe have heard, as far as their folder says, or its encoder will hear."""
    checkpoint, settings = getattr(spec.recipe.model, "checkpoint", ""), spec.recipe.training.pretraining
    if checkpoint:
        return records_of(find(checkpoint), f"the pretrained weights {public_name(checkpoint)}")
    if settings is None:
        return []
    larger = records_of(find(settings.checkpoint), f"the encoder {public_name(settings.checkpoint)} of pretraining")
    speech = map(find_speech, settings.unlabelled)
    heard = [record("the pretrained encoder", each.name, None, each.speakers, []) for each in speech]
    # Nothing is known of those of other projects.
    return heard + [each for each in larger if each["corpus"]]


def speech_before(spec: RunSpec) -> list[dict[str, Any]]:
    """The recordings without labels that the pretrained weights of a recipe have heard, or its encoder will hear."""
    checkpoint, settings = getattr(spec.recipe.model, "checkpoint", ""), spec.recipe.training.pretraining
    if settings is None:
        return list(heard_by(find(checkpoint)) or ()) if checkpoint else []
    own = [find_speech(name).heard() for name in settings.unlabelled]
    return own + list(heard_by(find(settings.checkpoint)) or ())


def check(records: Sequence[Mapping[str, Any]], spec: RunSpec, context: RunContext) -> list[Overlap]:
    """Refuse records with a speaker that the fold holds out, or of another fold if speakers cannot tell.

    Returns:
        Choices that were made on the fold's dev subset: they are allowed, but use it.

    Raises:
        UserError: there is a leak, SL012.
    """
    here = fold_of(context.identity(spec).data())
    found = [
        overlap
        for corpus, sides in by_corpus(spec.fold, context)
        for overlap in overlaps(
            records,
            corpus=corpus.name,
            fingerprint=corpus.fingerprint,
            fold=here,
            known=corpus.speakers_known,
            **sides,
        )
    ]
    for each in found:
        if not each.allowed:
            raise _leak(spec, context, each.text[:-1])
    return found


def _leak(spec: RunSpec, context: RunContext, what: str) -> UserError:
    return UserError(
        f"SL012 in fold {spec.fold.number} of {context.corpus.name}: {what}, so {spec.recipe.name} cannot be tested "
        "there; use weights that have not heard the fold's dev and test subsets."
    )
