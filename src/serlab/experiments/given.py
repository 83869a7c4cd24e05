"""Finished models beside trained recipes in a comparison within one corpus: on the test subsets of its folds.

Nothing is trained. A model must know all labels of the corpus, by the same name or the same emotion;
otherwise it cannot be compared there, but tested on the emotions that both have (``--test``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from serlab.core import UserError, argument
from serlab.core.files import sha256_json
from serlab.core.progress import say
from serlab.corpora.base import Corpus
from serlab.corpora.emotions import LabelMap, Mapped, key
from serlab.experiments.context import RunContext
from serlab.experiments.crossing_models import GivenModel, GivenRun, load_given
from serlab.experiments.crossing_runs import overlap
from serlab.experiments.held_out import heard_clip
from serlab.protocols import Fold


def load_for(names: Sequence[str], corpus: Corpus, labels: LabelMap) -> list[GivenModel]:
    """Load finished models for a corpus.

    Args:
        names: folders, names on the hub, or ``box``.
        corpus: the corpus.
        labels: the map of labels.

    Raises:
        UserError: a model does not know a label of the corpus.
    """
    return [_for_corpus(load_given(name, labels), corpus, labels) for name in names]


def _for_corpus(model: GivenModel, corpus: Corpus, labels: LabelMap) -> GivenModel:
    """The model, whose labels are mapped to those of the corpus instead of emotions."""
    wanted: dict[str, list[str]] = {}
    for label in corpus.labels:
        wanted.setdefault(labels.emotion(label, corpus.name) or f"none: {key(label)}", []).append(label)
    twice = next((each for each in wanted.values() if len(each) > 1), None)
    if twice:
        raise UserError(
            f"{corpus.name} has two labels for one emotion, {' and '.join(twice)}, so {model.name} cannot be compared "
            f"there; use {argument('test', corpus.name)}."
        )
    found = {label: wanted.get(emotion or f"none: {key(label)}") for label, emotion in model.emotions.items()}
    mapped = {label: each[0] if each else None for label, each in found.items()}
    lacking = [label for label in corpus.labels if label not in mapped.values()]
    if lacking:
        raise UserError(
            f"the model {model.name} does not know {', '.join(lacking)} of {corpus.name}; "
            f"{argument('test', corpus.name)} tests it on the emotions that both have."
        )
    return replace(model, emotions=mapped, named=sha256_json(mapped))


def runs_of(model: GivenModel, context: RunContext, folds: Sequence[Fold]) -> list[GivenRun]:
    """The runs of a model; nothing is written.

    Raises:
        UserError: it has heard speakers or clips of a test subset (SL012).
    """
    corpus = context.corpus
    target = Mapped(corpus, corpus, {label: label for label in corpus.labels}, {})
    for fold in folds:
        tested = replace(fold, train=(), dev=())
        if reason := overlap(model.records, target, fold) or heard_clip(model.folder, corpus, tested):
            raise UserError(
                f"{reason} of fold {fold.number}, so it cannot be tested there; leave it out, or name other "
                f"{argument('folds')}."
            )
    if model.caution:
        say(f"caution: {model.name}: {model.caution}")
    return [GivenRun(model, context, target, fold) for fold in folds]
