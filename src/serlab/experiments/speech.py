"""Speech without labels that teachers score for a run, without the clips that its fold holds out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serlab.core import UserError
from serlab.core.progress import say
from serlab.corpora.unlabelled import find_speech
from serlab.experiments.context import RunContext, RunSpec
from serlab.experiments.held_out import check_held_out
from serlab.frontends.store import ClipFile
from serlab.tables.heard import record


@dataclass(frozen=True)
class Unlabelled:
    """Speech without labels.

    Attributes:
        files: its recordings.
        record: what is heard, for the run's signature.
        speech: the same by recording, for the model folder.
    """

    files: tuple[ClipFile, ...]
    record: dict[str, Any]
    speech: dict[str, Any]


def unlabelled_of(spec: RunSpec, context: RunContext) -> list[Unlabelled]:
    """Find the speech that a recipe names.

    Raises:
        UserError: there is no such speech, or it has a dev or test clip of the fold.
    """
    check_held_out(spec.recipe, context.corpus, spec.fold)
    found = []
    for name in spec.recipe.training.unlabelled:
        speech = find_speech(name)
        usable = speech.clips[speech.clips["duration"] > 0]
        left_out = len(speech.clips) - len(usable)
        if left_out:
            say(f"{speech.name}: {left_out} of {len(speech.clips)} recordings cannot be read and will not be used.")
        if not len(usable):
            raise UserError(f"training.unlabelled names {name}, which has no recording that can be read.")
        ids = [f"{speech.name}: {clip}" for clip in usable["clip"]]
        files = tuple(map(ClipFile, ids, usable["path"], usable["duration"].astype(float), usable["sha256"]))
        what = f"the unlabelled speech {Path(speech.name).name}"
        found.append(Unlabelled(files, record(what, speech.name, None, speech.speakers, []), speech.heard()))
    return found
