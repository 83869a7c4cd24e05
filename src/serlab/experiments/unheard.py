"""Clips that a fold holds out must not be in the speech that an encoder is pretrained on."""

from __future__ import annotations

from pathlib import PurePath

from serlab.core import UserError
from serlab.corpora.base import Corpus
from serlab.corpora.unlabelled import find_speech
from serlab.protocols import Fold
from serlab.recipes import Recipe


def check_unheard(recipe: Recipe, corpus: Corpus, fold: Fold) -> None:
    """Refuse unlabelled speech with a dev or test clip of the fold.

    A clip is recognised by the SHA-256 of its file, and a clip of a known corpus also by its name,
    for a copy may have another format.

    Args:
        recipe: the recipe.
        corpus: the corpus of the run.
        fold: the fold of the run.

    Raises:
        UserError: the speech has such a clip, or is the corpus itself.
    """
    settings = recipe.training.pretraining
    if settings is None:
        return
    section = "training.pretraining.unlabelled"
    held = corpus.clips[corpus.clips["clip"].isin({*fold.dev, *fold.test})]
    by_hash = dict(zip(held["sha256"], held["clip"], strict=True))
    by_name = {} if corpus.description is None else {_stem(clip): clip for clip in held["clip"]}
    by_hash.pop("", None)
    for name in settings.unlabelled:
        speech = find_speech(name)
        if speech.name == corpus.name and speech.speakers is not None:
            raise UserError(
                f"{section} names {name}, the corpus of the run, whose training clips are heard anyway; leave it out."
            )
        for clip, sha256 in zip(speech.clips["clip"], speech.clips["sha256"], strict=True):
            found = by_hash.get(sha256) or by_name.get(_stem(clip))
            if found:
                raise UserError(
                    f"{section} names {name}, whose {clip} is the clip {found} that fold {fold.number} of "
                    f"{corpus.name} holds out; remove it from there, because nothing may be trained on it."
                )


def _stem(name: str) -> str:
    return PurePath(name).name.partition(".")[0].upper()
