"""Corpora reduced to a few clips per label and speaker, for ``limit`` and ``smoke`` of a comparison.

Folds are computed from the full list; then every subset is reduced. The reduced corpus has its own
name and fingerprint, so its results are never mixed with those of the full corpus.
"""

from __future__ import annotations

from dataclasses import replace

from serlab import approaches
from serlab.core.randomness import keyed_seed
from serlab.corpora.base import Corpus, fingerprint
from serlab.protocols import Fold, Split
from serlab.recipes import Recipe

_SMOKE_CLIPS = 300
_SMOKE_MOST, _SMOKE_EPOCHS = 3, 1
_SMOKE_LABEL = 20
"""Clips per label of a smoke run if there are few or unknown speakers."""


def reduced(corpus: Corpus, split: Split, limit: int, *, smoke: bool = False) -> tuple[Corpus, Split]:
    """Reduce a corpus to a number of clips per label and speaker.

    Args:
        corpus: the corpus.
        split: a protocol applied to it.
        limit: maximum number of clips per label and speaker. The choice only depends on their ids;
            a larger limit keeps all clips that a smaller one keeps.
        smoke: mark the result as a smoke run.

    Returns:
        The reduced corpus, and the same folds with the remaining clips.
    """
    table = corpus.clips
    order = table.assign(draw=[keyed_seed("limit", clip) for clip in table["clip"]]).sort_values("draw")
    places = order.groupby(["label", "speaker"]).head(limit).index.sort_values()
    clips = table.loc[places].reset_index(drop=True)
    kept = set(clips["clip"])

    def left(subset: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(clip for clip in subset if clip in kept)

    folds = tuple(Fold(fold.number, left(fold.train), left(fold.dev), left(fold.test)) for fold in split.folds)
    part = replace(
        corpus,
        name=f"{corpus.name}-{'smoke' if smoke else f'limit{limit}'}",
        clips=clips,
        fingerprint=fingerprint(clips),
        part=f"at most {limit} clip{'s' * (limit > 1)} per label and speaker, {len(clips):,} of {len(table):,}",
        smoke=smoke,
    )
    return part, replace(split, folds=folds)


def smoke_limit(corpus: Corpus) -> int:
    """Clips per label and speaker of a smoke run: 1 to 3, about 300 in all; more if there are few speakers."""
    groups = corpus.clips[["label", "speaker"]].drop_duplicates()
    most = max(_SMOKE_MOST, _SMOKE_LABEL // int(groups.groupby("label").size().min()))
    return min(most, max(1, _SMOKE_CLIPS // len(groups)))


def smoke_recipe(recipe: Recipe) -> Recipe:
    """The recipe of a smoke run: a network is trained, and pretrained, for one epoch."""
    if not approaches.get(recipe.model.kind).supports.epochs:
        return recipe
    before = recipe.training.pretraining
    training = replace(
        recipe.training,
        epochs=_SMOKE_EPOCHS,
        swa=min(recipe.training.swa, _SMOKE_EPOCHS),
        unlabelled=(),
        pretraining=before and replace(before, epochs=_SMOKE_EPOCHS),
    )
    return recipe if training == recipe.training else replace(recipe, training=training, preset=False)
