"""Clips that a fold holds out must not be in speech without labels: of pretraining, or scored by teachers."""

from __future__ import annotations

from pathlib import PurePath

from serlab.core import UserError
from serlab.corpora.base import Corpus
from serlab.corpora.unlabelled import find_speech
from serlab.protocols import Fold
from serlab.recipes import Recipe


class HeldOut:
    """The dev and test clips of a fold, to recognise them among other recordings.

    A clip is recognised by the SHA-256 of its file, and a clip of a known corpus also by its name,
    for a copy may have another format.
    """

    def __init__(self, corpus: Corpus, fold: Fold) -> None:
        held = corpus.clips[corpus.clips["clip"].isin({*fold.dev, *fold.test})]
        self.by_hash = dict(zip(held["sha256"], held["clip"], strict=True))
        self.by_name = {} if corpus.description is None else {_stem(clip): clip for clip in held["clip"]}
        self.by_hash.pop("", None)

    def find(self, name: str, sha256: str) -> str | None:
        """The clip that a recording is, None if it is not one of them."""
        return self.by_hash.get(sha256) or self.by_name.get(_stem(name))


def check_unheard(recipe: Recipe, corpus: Corpus, fold: Fold) -> None:
    """Refuse unlabelled speech with a dev or test clip of the fold.

    Args:
        recipe: the recipe.
        corpus: the corpus of the run.
        fold: the fold of the run.

    Raises:
        UserError: the speech has such a clip, or is the corpus itself.
    """
    training = recipe.training
    named = {
        "training.pretraining.unlabelled": training.pretraining.unlabelled if training.pretraining else (),
        "training.unlabelled": training.unlabelled,
    }
    if not any(named.values()):
        return
    held = HeldOut(corpus, fold)
    for section, name in ((section, name) for section, names in named.items() for name in names):
        speech = find_speech(name)
        if speech.name == corpus.name and speech.speakers is not None:
            raise UserError(
                f"{section} names {name}, the corpus of the run, whose training clips are heard anyway; leave it out."
            )
        for clip, sha256 in zip(speech.clips["clip"], speech.clips["sha256"], strict=True):
            if found := held.find(clip, sha256):
                raise UserError(
                    f"{section} names {name}, whose {clip} is the clip {found} that fold {fold.number} of "
                    f"{corpus.name} holds out; remove it from there, because nothing may be trained on it."
                )


def _stem(name: str) -> str:
    return PurePath(name).name.partition(".")[0].upper()
