"""Protocols by name: those of known corpora, and those for any corpus.

A protocol is computed from the corpus's full official clip list, so it does not depend on which
files exist. Exclusions come later and do not move other clips. Clips that a published protocol
omits are not in any subset. Everything here is deterministic. A label without a test clip in a fold
is allowed (scores are taken over the full label list); a label without a training clip is an error,
because no model could learn it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from serlab.core import UserError, unknown
from serlab.corpora import descriptions
from serlab.corpora.base import Corpus
from serlab.corpora.description import Description
from serlab.protocols.base import Fold, MisfitError, Split, by_unit, disjoint
from serlab.protocols.generic import GENERIC, definition, holdout, speaker_k

if TYPE_CHECKING:
    import pandas as pd

_DEFAULT = "speaker-5"
_SPEAKER_K = re.compile(r"speaker-([1-9]\d*)")
_LISTED_K = (2, 3, 5, 10)
_MOST_NAMED = 8


def split(corpus: Corpus, name: str) -> Split:
    """Split a corpus by the protocol called ``name``.

    Args:
        corpus: its full clip list is used, including clips without a file.
        name: one of :func:`protocol_names`, with any ``k`` from 2 in ``speaker-<k>``.

    Returns:
        The split; its disjointness is computed from the folds.

    Raises:
        UserError: the protocol is unknown, does not fit the corpus, or leaves a label without a
            training clip.
    """
    try:
        return _split(corpus, name)
    except MisfitError as misfit:
        fitting = protocol_names(corpus)
        advice = f"these fit: {', '.join(fitting)}" if fitting else "none fits; it needs more speakers or clips"
        raise UserError(f"protocol {name!r} does not fit corpus {corpus.name!r}: {misfit}; {advice}.") from misfit


def definitions() -> dict[str, str]:
    """Every protocol and its definition in one sentence; those of known corpora first."""
    own = {name: each.definition for known in descriptions().values() for name, each in known.protocols.items()}
    return own | GENERIC


def protocol_names(corpus: Corpus | None = None) -> tuple[str, ...]:
    """Names of all protocols, or of those that fit a corpus.

    Args:
        corpus: if given, ``speaker-<k>`` is listed for each of 2, 3, 5 and 10 folds that fits.
    """
    if corpus is None:
        return tuple(definitions())
    own = corpus.description.protocols if corpus.description else ()
    names = [*own, *(f"speaker-{k}" for k in _LISTED_K), "holdout"]
    return tuple(name for name in names if _fits(corpus, name))


def default_protocol(corpus: Corpus) -> str:
    """The default protocol."""
    return corpus.description.default_protocol if corpus.description else _DEFAULT


def fitting_split(corpus: Corpus) -> Split | None:
    """The split of the default protocol, or of the first one that fits; None if the corpus is too small for all."""
    # Try all protocols only if the default does not fit: that takes seconds on a large corpus.
    with suppress(MisfitError):
        return _split(corpus, default_protocol(corpus))
    fitting = protocol_names(corpus)
    return split(corpus, fitting[0]) if fitting else None


def _fits(corpus: Corpus, name: str) -> bool:
    try:
        _split(corpus, name)
    except MisfitError:
        return False
    return True


def _split(corpus: Corpus, name: str) -> Split:
    known = corpus.description
    if known is not None and name in known.protocols:
        folds, text, version = _published(corpus, known, name), known.protocols[name].definition, "1"
    else:
        folds = _for_any_corpus(corpus, name)
        text, version = definition(corpus, name if name in GENERIC else "speaker-<k>")
    for fold in folds:
        _check_training_labels(corpus, fold)
    return Split(
        name=name,
        definition=text,
        speaker_disjoint=disjoint(corpus, folds, corpus.clips["speaker"] if corpus.speakers_known else None),
        sentence_disjoint=disjoint(corpus, folds, corpus.clips["sentence"] if corpus.sentences_known else None),
        folds=folds,
        version=version,
    )


def _published(corpus: Corpus, known: Description, name: str) -> tuple[Fold, ...]:
    clips, protocol = corpus.clips, known.protocols[name]
    if known.clips and len(clips) != known.clips:
        raise MisfitError(f"it needs the full list of {known.clips} clips and this has {len(clips)}")
    if (given := protocol.partitions) is not None:
        sides = [_clips_with(clips, given.column, values.split()) for values in (given.train, given.dev, given.test)]
        return (Fold(1, *sides),)
    if not protocol.folds:
        parts = [[tuple(sorted(subset)) for subset in fold] for fold in known.computed(name)(clips)]
        return tuple(Fold(number, *subsets) for number, subsets in enumerate(parts, start=1))
    kept = clips[~clips["clip"].isin(protocol.without)]
    named = {speaker for fold in protocol.folds for speaker in (*fold.dev.split(), *fold.test.split())}
    if absent := sorted(named - set(kept["speaker"])):
        raise MisfitError(f"it names the speaker {absent[0]!r}, who has no clip")
    return by_unit(kept, kept["speaker"], [(fold.dev.split(), fold.test.split()) for fold in protocol.folds])


def _clips_with(clips: pd.DataFrame, column: str, values: Sequence[str]) -> tuple[str, ...]:
    """The clips with one of some values in a column."""
    if column not in clips:
        raise MisfitError(f"no name of a file and no table gives the column {column!r}")
    found = clips.loc[clips[column].astype(str).isin(values), "clip"]
    if found.empty:
        there = ", ".join(sorted(clips[column].astype(str).unique())[:_MOST_NAMED])
        raise MisfitError(f"no clip has {values[0] if values else ''!r} in the column {column!r} (it has: {there})")
    return tuple(sorted(found))


def _for_any_corpus(corpus: Corpus, name: str) -> tuple[Fold, ...]:
    if name == "holdout":
        return holdout(corpus)
    match = _SPEAKER_K.fullmatch(name)
    if match is not None:
        return speaker_k(corpus, int(match[1]))
    owner = next((known.name for known in descriptions().values() if name in known.protocols), None)
    if owner is not None:
        raise MisfitError(f"it is defined for {owner} alone")
    raise unknown("protocol", name, protocol_names())


def _check_training_labels(corpus: Corpus, fold: Fold) -> None:
    clips = corpus.clips
    missing = sorted(set(corpus.labels) - set(clips.loc[clips["clip"].isin(fold.train), "label"]))
    if missing:
        raise MisfitError(f"no training clip of fold {fold.number} is labelled {missing[0]!r}, so none could learn it")
