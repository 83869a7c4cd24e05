"""Speech without labels that teachers score for a run, without the clips that its fold holds out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from serlab.core import UserError
from serlab.core.progress import say
from serlab.corpora.base import Corpus
from serlab.corpora.screening import screen
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
    """Find the speech that a recipe names, without recordings that cannot be used; messages list those.

    Raises:
        UserError: there is no such speech, or it has a dev or test clip of the fold.
    """
    check_held_out(spec.recipe, context.corpus, spec.fold)
    found: list[Unlabelled] = []
    prefixes: set[str] = set()
    for name in spec.recipe.training.unlabelled:
        speech = find_speech(name)
        lost = screen(Corpus(speech.name, speech.clips, (), "", "", "", ""))
        for entry in (*speech.excluded, *lost):
            say(f"{speech.name}: left out: {entry.clip} ({entry.reason})")
        usable = speech.clips[~speech.clips["clip"].isin([entry.clip for entry in lost])]
        if not len(usable):
            why = [f" (first: {entry.clip}: {entry.reason})" for entry in (*lost, *speech.excluded)[:1]]
            raise UserError(
                f"training.unlabelled names {name}, which has no recording that can be used{''.join(why)}; give a "
                "folder of recordings."
            )
        # Two folders may have one name.
        numbers = (speech.name if number == 1 else f"{speech.name} ({number})" for number in count(1))
        prefix = next(each for each in numbers if each not in prefixes)
        prefixes.add(prefix)
        ids = [f"{prefix}: {clip}" for clip in usable["clip"]]
        files = tuple(map(ClipFile, ids, usable["path"], usable["duration"].astype(float), usable["sha256"]))
        what = f"the unlabelled speech {Path(speech.name).name}"
        heard = replace(speech, clips=usable).heard()
        found.append(Unlabelled(files, record(what, speech.name, None, speech.speakers, []), heard))
    return found
