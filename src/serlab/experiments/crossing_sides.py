"""The sides of cross-corpus runs: sources to train on, targets to test on, and what both have in common.

A source is one corpus or several, whose clips and speakers are prefixed by the corpus (``tess/OAF``).
All of its speakers are for training, except a fifth that is held out for development. A target is a
whole corpus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from serlab.approaches.base import Subset
from serlab.core import Exclusion, UserError, argument
from serlab.core.files import sha256_json
from serlab.core.randomness import keyed_seed
from serlab.corpora.base import Corpus, fingerprint
from serlab.corpora.emotions import LabelMap, Mapped, mapped
from serlab.corpora.measures import measure
from serlab.corpora.screening import screen
from serlab.experiments.context import RunContext
from serlab.experiments.crossing_normalised import NormalisedStores
from serlab.experiments.layout import marks, protocol_from
from serlab.experiments.reduced import reduced
from serlab.frontends.store import ClipFile, FeatureStores
from serlab.protocols import Fold, Split
from serlab.protocols.generic import hold_out
from serlab.recordings.duplicates import find_duplicates
from serlab.recordings.units import units_of

SOURCE = "as-source"
"""Protocol of the training on a source: the folder of its kept models and teachers."""
DEV = 5
"""One in five speakers of a source is for development."""
Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Source:
    """What a model is trained on: all speakers of one corpus or several.

    Attributes:
        parts: the corpora, their labels mapped to emotions.
        corpus: their clips as one corpus.
        split: one fold without a test subset.
        balanced: whether clips of smaller corpora are repeated in the train subset.
        normalised: whether features are normalised per corpus.
    """

    parts: tuple[Mapped, ...]
    corpus: Corpus
    split: Split
    balanced: bool = False
    normalised: bool = False

    @property
    def name(self) -> str:
        """Names of the corpora, joined."""
        return self.corpus.name

    @property
    def labels(self) -> tuple[str, ...]:
        """The emotions that a model learns."""
        return self.corpus.labels

    @property
    def protocol(self) -> str:
        """Name of the protocol in a results folder."""
        return protocol_from(self.name, balanced=self.balanced, normalised=self.normalised)

    def as_normalised(self) -> Source:
        """The same source with features that are normalised per corpus."""
        split = replace(self.split, name=f"{SOURCE}{marks(balanced=self.balanced, normalised=True)}")
        return replace(self, split=split, normalised=True)


@dataclass(frozen=True)
class PooledContext(RunContext):
    """The context of runs on several corpora at once; each is screened on its own.

    Attributes:
        parts: the corpora.
    """

    parts: tuple[Mapped, ...] = ()

    @property
    def corpora(self) -> tuple[Corpus, ...]:
        """The corpora as loaded."""
        return tuple(part.original for part in self.parts)

    @cached_property
    def exclusions(self) -> tuple[Exclusion, ...]:
        """Clips that cannot be used."""
        return tuple(
            replace(each, clip=f"{part.corpus.name}/{each.clip}", path=Path(each.path).name)
            for part in self.parts
            for each in screen(part.corpus)
        )


def context_of(source: Source, out: Path, stores: FeatureStores, *, keep_models: bool = False) -> RunContext:
    """The context of training on a source."""
    context = PooledContext(source.corpus, source.split, out, stores, True, keep_models, source.parts)
    if not source.normalised:
        return context
    clips = source.corpus.clips
    corpus_of = dict(zip(clips["clip"], clips["corpus"], strict=True))
    groups: dict[str, list[ClipFile]] = {}
    for file in Subset.of(source.corpus, sorted({*source.split.folds[0].train}), context.excluded).files:
        groups.setdefault(corpus_of[file.clip], []).append(file)
    return replace(context, stores=NormalisedStores(stores, groups, corpus_of))


def normalised_target(context: RunContext) -> RunContext:
    """The context of a target whose features are normalised over all of its usable clips."""
    corpus = context.corpus
    files = Subset.of(corpus, context.split.folds[0].test, context.excluded).files
    stores = NormalisedStores(context.stores, {corpus.name: files}, {file.clip: corpus.name for file in files})
    return replace(context, stores=stores)


def pool(parts: Sequence[Mapped]) -> Corpus:
    """Several mapped corpora as one; clips and speakers are prefixed by the corpus.

    A clip whose speaker is unknown is a speaker of its own.
    """
    tables = []
    for part in parts:
        clips = part.corpus.clips
        ids = part.corpus.name + "/" + clips["clip"]
        who = part.corpus.name + "/" + clips["speaker"] if part.corpus.speakers_known else ids
        kept = clips[["path", "label", "duration", "sample_rate", "sha256"]]
        tables.append(kept.assign(clip=ids, speaker=who, corpus=part.corpus.name))
    clips = pd.concat(tables).sort_values("clip").reset_index(drop=True)
    first = parts[0].corpus
    several = len(parts) > 1
    return Corpus(
        name="+".join(part.corpus.name for part in parts),
        clips=clips,
        labels=tuple(sorted(clips["label"].unique())),
        licence="; ".join(dict.fromkeys(part.corpus.licence for part in parts)),
        citation=" ".join(dict.fromkeys(part.corpus.citation for part in parts)),
        fingerprint=fingerprint(clips),
        copy="; ".join(f"{part.corpus.name}: {part.corpus.copy}" for part in parts) if several else first.copy,
        speakers_known=all(part.corpus.speakers_known for part in parts),
        synthetic=all(part.corpus.synthetic for part in parts),
        part="; ".join(dict.fromkeys(part.corpus.part for part in parts if part.corpus.part)),
        smoke=any(part.corpus.smoke for part in parts),
    )


def mapped_part(corpus: Corpus, labels: LabelMap, limit: int, smoke: bool) -> Mapped:
    """Reduce a corpus to a number of clips per label and speaker, and map its labels.

    Args:
        corpus: the corpus.
        labels: the map, which may have entries for this corpus by its full name.
        limit: maximum number of clips per label and speaker.
        smoke: mark the result as a smoke run.
    """
    part, _ = reduced(corpus, Split("", "", None, None, ()), limit, smoke=smoke)
    found = mapped(replace(part, name=corpus.name), labels)
    return replace(found, corpus=replace(found.corpus, name=part.name), original=part)


def source_of(parts: Sequence[Mapped], pairs: Pairs, *, balanced: bool = False) -> Source:
    """Hold out a fifth of the speakers for development.

    Args:
        parts: the corpora.
        pairs: clips (with the prefix of their corpus) that are the same recording; their speakers
            stay in one subset.
        balanced: whether to repeat the training clips of smaller corpora until each corpus has as
            many as the largest.

    Raises:
        UserError: there is one speaker only, or a label has no training clip.
    """
    corpus = pool(parts)
    if len(corpus.labels) < 2:
        raise UserError(
            f"{corpus.name} has fewer than two emotions after its labels are mapped; nothing can be learned."
        )
    ids = set(corpus.clips["clip"])
    units = units_of(corpus, [pair for pair in pairs if ids.issuperset(pair)])
    if len(units.counts) < 2:
        raise UserError(
            f"{corpus.name} has one speaker, but training needs two or more, because some are held out for "
            f"development; add a corpus to {argument('train')}."
        )
    dev = hold_out(units.counts, DEV)
    in_dev = units.of.isin(dev)
    lost = sorted({*corpus.labels} - {*corpus.clips.loc[~in_dev, "label"]})
    if lost:
        raise UserError(
            f"only the dev speakers of {corpus.name} have the label {lost[0]}; drop it with a map of labels."
        )
    train = corpus.clips[~in_dev]
    names = repeated(train) if balanced and len(parts) > 1 else tuple(sorted(train["clip"]))
    fold = Fold(1, names, tuple(sorted(corpus.clips.loc[in_dev, "clip"])), ())
    balanced = balanced and len(parts) > 1
    version = f"s-{sha256_json([fold.train, fold.dev])[:12]}"
    name = f"{SOURCE}{marks(balanced=balanced, normalised=False)}"
    split = Split(name, "A fifth of the speakers is for development.", True, None, (fold,), version)
    return Source(tuple(parts), corpus, split, balanced)


def repeated(train: pd.DataFrame) -> tuple[str, ...]:
    """Training clips, those of smaller corpora repeated until all corpora have as many as the largest."""
    clips = {str(name): sorted(group["clip"]) for name, group in train.groupby("corpus")}
    most = max(map(len, clips.values()))
    names: list[str] = []
    for listed in clips.values():
        whole, rest = divmod(most, len(listed))
        drawn = sorted(listed, key=lambda clip: keyed_seed("balance", clip))[:rest]
        names += listed * whole + drawn
    return tuple(sorted(names))


def definition(source: Source, target: str) -> str:
    """What the protocol of a target's runs does, in two sentences."""
    fifth = "a fifth of them for development"
    repeated = ", the clips of smaller corpora repeated until all weigh the same" if source.balanced else ""
    if source.normalised:
        repeated += "; features normalised per corpus, the target's over all of its clips without their labels"
    return (
        f"Trained on all speakers of {source.name.replace('+', ' and ')} ({fifth}{repeated}). Tested once on all clips "
        f"of {target} whose emotions both have; other emotions cannot be predicted there."
    )


def common_labels(labels: Sequence[str], target: Mapped) -> tuple[str, ...]:
    """The emotions that a model and a target have in common, in alphabetical order."""
    return tuple(sorted({*labels} & {*target.corpus.labels}))


def target_split(source: Source, target: Mapped) -> Split:
    """All clips of a target as the test subset of one fold.

    Its version stands for everything that decides what was learned: the sources' clips with their
    mapped labels, the dev speakers, repetitions, and the common emotions.
    """
    known = source.corpus.speakers_known and target.corpus.speakers_known
    (inner,) = source.split.folds
    learned = [source.corpus.fingerprint, inner.train, inner.dev, target.corpus.labels]
    learned += ["normalised per corpus"] if source.normalised else []
    return Split(
        name=source.protocol,
        definition=definition(source, target.corpus.name),
        speaker_disjoint=True if known else None,
        sentence_disjoint=None,
        folds=(target_fold(target),),
        version=f"x-{sha256_json(learned)[:12]}",
    )


def target_fold(target: Mapped) -> Fold:
    """All clips of a target as the test subset of a fold."""
    return Fold(1, (), (), tuple(sorted(target.corpus.clips["clip"])))


def same_recordings(corpora: Sequence[Mapped]) -> list[tuple[str, str]]:
    """Pairs of clips of any of the corpora that are the same recording, by bytes or fingerprint.

    Args:
        corpora: different corpora.

    Returns:
        Pairs of ids with the prefix of their corpus.
    """
    measures = []
    for part in corpora:
        # Each on its own: the measures are cached by corpus.
        found = measure(part.corpus)
        measures.append(found.set_axis([f"{part.corpus.name}/{clip}" for clip in found.index]))
    everything = pool(corpora)
    return find_duplicates(everything, pd.concat(measures).loc[everything.clips["clip"]])


def heard_recordings(pairs: Pairs, source: Sequence[str], target: str) -> str:
    """Why a target cannot be tested because a source has some of its recordings; empty if it has none.

    >>> heard_recordings([("a/1", "b/2")], ["a"], "b")
    '1 recording of b is also in a (b/2 is a/1)'
    """

    def owner(clip: str) -> str:
        return clip.split("/", 1)[0]

    crossing = [
        (mine, other)
        for pair in pairs
        for mine, other in (pair, pair[::-1])
        if owner(mine) == target and owner(other) in source
    ]
    clips = sorted({mine for mine, _ in crossing})
    if not clips:
        return ""
    where = " and ".join(dict.fromkeys(owner(each) for _, each in crossing))
    mine, other = min(crossing)
    if len(clips) == 1:
        return f"1 recording of {target} is also in {where} ({mine} is {other})"
    return f"{len(clips)} recordings of {target} are also in {where} (the first, {mine}, is {other})"
