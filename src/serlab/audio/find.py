"""Finding audio files below folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from serlab.audio.formats import AUDIO_SUFFIXES
from serlab.core import UserError


def find_audio(paths: Iterable[Path]) -> list[str]:
    """List audio files; as plain text, because a hundred thousand ``Path`` objects are large.

    Args:
        paths: folders, searched with all their subfolders for names that end as in
            :data:`~serlab.audio.formats.AUDIO_SUFFIXES` (hidden ones are left out), and files, whatever their name.

    Returns:
        Each file once, in the order of ``paths``, within a folder sorted.

    Raises:
        UserError: a path does not exist, or a folder holds no audio.
    """
    found: dict[str, None] = {}
    for path in paths:
        if not path.exists():
            raise UserError(f"there is no file or folder {path}.")
        files = _audio_below(path) if path.is_dir() else iter([str(path)])
        first = next(files, None)
        if first is None:
            raise UserError(f"the folder {path} holds no audio ({', '.join(AUDIO_SUFFIXES)}).")
        found[first] = None
        found.update((file, None) for file in files)
    return list(found)


def _audio_below(folder: Path) -> Iterator[str]:
    try:
        entries = os.scandir(folder)
    except PermissionError:
        return  # Such as lost+found on a disk of its own.
    names: list[str] = []
    folders: set[str] = set()
    with entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.add(entry.name)
            elif not entry.name.lower().endswith(AUDIO_SUFFIXES) or not _may_be_file(entry):
                continue
            names.append(entry.name)
    for name in sorted(names):
        if name in folders:
            yield from _audio_below(folder / name)
        else:
            yield str(folder / name)


def _may_be_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return True  # A link that cannot be followed; reading it will say why.
