"""Make an encoder folder from speech alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from serlab.approaches.encoder import Settings
from serlab.core import UserError, argument
from serlab.core.files import whole
from serlab.core.precision import resolve
from serlab.core.progress import say
from serlab.corpora.screening import MAX_SHARE
from serlab.corpora.unlabelled import find_speech
from serlab.recipes import Pretraining, Recipe, load_recipe
from serlab.training import processes
from serlab.training.encoder_folder import MADE, is_complete
from serlab.training.pretraining import Task
from serlab.training.pretraining import pretrain as make


@processes.led
def pretrain(
    recipe: str | Recipe, speech: Sequence[str], *, out: Path | str = "encoder", max_excluded: float = MAX_SHARE
) -> Path:
    """Pretrain the encoder of a recipe on speech without labels, and write it as an encoder folder.

    Args:
        recipe: name of a preset, path of a YAML file, or a recipe; its ``training.pretraining``
            says how, or the defaults of :class:`serlab.recipes.Pretraining`.
        speech: folders of speech, or names of known corpora.
        out: the folder to write.
        max_excluded: maximum share of recordings that may be left out.

    Returns:
        ``out``: a plain transformers folder.

    Raises:
        UserError: the recipe has no encoder from scratch, there is no speech, or ``out`` holds
            something else.
        FindingsError: too many recordings cannot be used, or training diverged.
        MachineError: weights, disk or network fail.
    """
    loaded = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    if not isinstance(loaded.model, Settings) or not loaded.model.architecture:
        raise UserError(
            f"{loaded.name} has no encoder to pretrain; name a recipe with an encoder from scratch, e.g. "
            "wav2vec2-small-scratch."
        )
    settings = loaded.training.pretraining or Pretraining()
    names = list(dict.fromkeys([*settings.unlabelled, *speech]))
    if not names:
        raise UserError(f"{argument('speech')} is missing; give a folder of speech.")
    sources = tuple(map(find_speech, names))
    for entry in (entry for source in sources for entry in source.excluded):
        say(f"left out: {entry.path or entry.clip} ({entry.reason})")
    task = Task(loaded.model, settings, sources, resolve(loaded.training.precision), f"pretraining {loaded.name}")
    folder = whole(Path(out))
    if folder.exists() and not is_complete(folder, task.identity()):
        there = "another encoder" if (folder / MADE).is_file() else "something else"
        if not folder.is_dir() or any(folder.iterdir()):
            raise UserError(f"{folder} holds {there}; choose another {argument('out')}, or remove it.")
        if folder == Path.cwd():
            raise UserError(
                f"{argument('out', str(out))} is the current folder, which is replaced when the encoder is complete; "
                "name a folder in it."
            )
    return make(task, folder, max_excluded=max_excluded)
