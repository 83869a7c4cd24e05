"""Clips that a fold holds out must not be in speech that is learned from without labels, now or in pretraining."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from serlab.checkpoints.weights import find
from serlab.core import UserError
from serlab.corpora.base import Corpus
from serlab.corpora.unlabelled import find_speech
from serlab.protocols import Fold
from serlab.recipes import Recipe
from serlab.training.encoder_folder import heard_by


def check_held_out(recipe: Recipe, corpus: Corpus, fold: Fold) -> None:
    """Refuse unlabelled speech, and checkpoints, with a dev or test clip of the fold.

    A clip is recognised by the SHA-256 of its file, and a clip of a known corpus also by its name,
    for a copy may have another format. A checkpoint tells in its ``heard.json`` what it has heard;
    nothing is known about one without that file.

    Args:
        recipe: the recipe.
        corpus: the corpus of the run.
        fold: the fold of the run.

    Raises:
        UserError: the speech has such a clip, or is the corpus itself; or the checkpoint has heard
            such a clip. Speakers are checked with those of teachers, in ``heard``.
    """
    held = _HeldOut.of(corpus, fold)
    training = recipe.training
    named = {
        "training.pretraining.unlabelled": training.pretraining.unlabelled if training.pretraining else (),
        "training.unlabelled": training.unlabelled,
    }
    for setting, name in ((setting, name) for setting, names in named.items() for name in names):
        speech, where = find_speech(name), f"{setting} names {name}"
        if speech.name == corpus.name and speech.speakers is not None:
            raise UserError(f"{where}, the corpus of the run, whose training clips are heard anyway; leave it out.")
        if found := held.among(zip(speech.clips["clip"], speech.clips["sha256"], strict=True)):
            raise UserError(
                f"{where}, whose {found[0]} is the clip {found[1]} that {held.where} holds out; remove it from there, "
                "because nothing may be trained on it."
            )
    larger = training.pretraining.checkpoint if training.pretraining else ""
    taught_by = training.teacher.checkpoint if training.teacher else ""
    instead = "use an encoder that has not, or pretrain one for each fold (training.pretraining)"
    for checkpoint in filter(None, (getattr(recipe.model, "checkpoint", ""), larger, taught_by)):
        if found := held.heard_by(find(checkpoint)):
            raise UserError(
                f"SL012: the encoder {checkpoint} has heard {found[0]}, the clip {found[1]} that {held.where} holds "
                f"out; {instead}."
            )


def heard_clip(folder: Path, corpus: Corpus, fold: Fold) -> str:
    """What the model in a folder has heard of a fold's dev and test clips, in words; empty if nothing is known."""
    found = _HeldOut.of(corpus, fold).heard_by(folder)
    return f"SL012: something behind the model has heard {found[0]}, the clip {found[1]}" if found else ""


@dataclass(frozen=True)
class _HeldOut:
    """The clips that a fold holds out: clip by SHA-256 of its file and by name, and the fold in words."""

    by_hash: Mapping[str, str]
    by_name: Mapping[str, str]
    where: str

    @classmethod
    def of(cls, corpus: Corpus, fold: Fold) -> _HeldOut:
        clips = corpus.clips[corpus.clips["clip"].isin({*fold.dev, *fold.test})]
        by_hash = dict(zip(clips["sha256"], clips["clip"], strict=True))
        by_hash.pop("", None)
        # Names in the user's own corpora, such as 001.wav, also occur elsewhere.
        by_name = {} if corpus.description is None else {_stem(clip): clip for clip in clips["clip"]}
        return cls(by_hash, by_name, f"fold {fold.number} of {corpus.name}")

    def heard_by(self, folder: Path) -> tuple[str, str] | None:
        """The first held-out clip in the ``heard.json`` of a folder."""
        return next(filter(None, (self.among(each["sha256"].items()) for each in heard_by(folder) or ())), None)

    def among(self, clips: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
        """The first held-out clip among pairs of name and SHA-256: its name there, and in the corpus."""
        pairs = ((name, self.by_hash.get(sha256) or self.by_name.get(_stem(name))) for name, sha256 in clips)
        return next(((name, clip) for name, clip in pairs if clip), None)


def _stem(name: str) -> str:
    return PurePath(name).name.partition(".")[0].upper()
