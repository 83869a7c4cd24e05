r"""Find columns and clips by the names that users give them.

Every command uses this module to read tables, so all commands accept the same names.

**Columns** match regardless of case, surrounding blanks, and ``_``, ``-`` or blanks between words.
If several columns match, the first name in the lists below wins, and a message says so.

**Clips** can be named by

- their id;
- the path of their file, absolute or relative to the table's folder or the current folder;
- a suffix of the id or path that starts after a ``/`` (``s01/happy_1.wav``, or ``happy_1``), if it
  is unique;
- a path on another machine that ends in the whole id, if the file name is unique;

each with or without an audio file extension, in any Unicode form, with ``/`` or ``\`` between
folders. Names are case-sensitive; errors suggest a name that differs only in case.
"""

from __future__ import annotations

import difflib
import os
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from serlab.audio import AUDIO_SUFFIXES, MEDIA_SUFFIXES
from serlab.core import UserError, argument
from serlab.core.progress import say

if TYPE_CHECKING:
    import pandas as pd

CLIP = ("clip", "path", "file", "filename", "filepath", "audio", "wav")
"""Columns that name clips in a prediction table or a split."""
FILE = ("path", "file", "filename", "filepath", "audio", "wav", "clip")
"""Columns that name audio files in a corpus table."""
LABEL = ("label", "emotion")
SPEAKER = ("speaker", "speaker_id", "actor", "actor_id")

_WORDS = {CLIP: "the clips", FILE: "the files", LABEL: "the labels", SPEAKER: "the speakers"}
_ALIKE = {
    CLIP: "wavpath audiopath audiofile wavfile clipid fileid utterance utteranceid utt uttid id name segment recording",
    LABEL: "emo emotions labels class classes target category truth truelabel groundtruth gold ytrue y",
    SPEAKER: "spk spkid spkr speakers talker subject subjectid participant person performer actress voice",
    ("side",): "split set subset partition part fold",
    ("predicted",): "prediction predictions pred preds predictedlabel predlabel ypred hypothesis output answer guess",
}
_ALIKE[FILE] = _ALIKE[CLIP]
_CLOSE = 0.8
_ENDINGS = frozenset((*AUDIO_SUFFIXES, *MEDIA_SUFFIXES))


def column(names: Iterable[str], role: Sequence[str], source: str, *, quiet: bool = False) -> str | None:
    """Find the column with a given role.

    Args:
        names: the table's columns.
        role: accepted names, e.g. :data:`CLIP`; the first one found wins.
        source: name of the table in the message about several matches.
        quiet: whether to suppress that message.

    Returns:
        The column's name as spelled in the table, or None.

    >>> column(["Emotion ", "File Name"], CLIP, "t.csv"), column(["Emotion ", "File Name"], LABEL, "t.csv")
    ('File Name', 'Emotion ')
    """
    names = list(names)
    ranks = {_bare(name): rank for rank, name in enumerate(role)}
    # An exact spelling wins over another spelling of the same name.
    there = sorted((ranks[_bare(n)], n not in role, place, n) for place, n in enumerate(names) if _bare(n) in ranks)
    if len(there) > 1 and not quiet:
        others = ", ".join(repr(name) for *_, name in there[1:])
        say(f"{source}: the column {there[0][-1]!r} is used for {_WORDS.get(tuple(role), role[0])}, not {others}.")
    return there[0][-1] if there else None


def alike(names: Iterable[str], role: Sequence[str], parameter: str = "") -> str:
    """Suggest, for an error message, a column that was probably meant and how to use it.

    Args:
        names: the table's columns.
        role: accepted names.
        parameter: the parameter that takes another name; empty if the column must be renamed.

    Returns:
        The end of a sentence, starting with a semicolon, or an empty string.

    >>> alike(["wav", "emo"], LABEL), alike(["x"], LABEL)
    ("; the column 'emo' looks like the labels: rename it label", '')
    """
    known = {*map(_bare, role), *_ALIKE.get(tuple(role), "").split()}
    names = list(names)
    near = [name for name in names if _bare(name) in known] or [
        name for name in names if difflib.get_close_matches(_bare(name), [_bare(n) for n in role], n=1, cutoff=_CLOSE)
    ]
    if not near:
        return ""
    remedy = argument(parameter, _quoted(near[0])) if parameter else f"rename it {role[0]}"
    return f"; the column {near[0]!r} looks like {_WORDS.get(tuple(role), role[0])}: {remedy}"


class ClipNames:
    """Look up the clips of a corpus by name; the module docstring lists the accepted names.

    Args:
        clips: the corpus table with a column ``clip`` and, if files are available, ``path``.
    """

    def __init__(self, clips: pd.DataFrame) -> None:
        self._ids = [str(clip) for clip in clips["clip"]]
        self._paths = [str(path) for path in clips["path"]] if "path" in clips else [""] * len(self._ids)
        self._exact = set(self._ids)

    def find(self, name: str, home: Path, source: str) -> str | None:
        """Return the clip with this name, or None.

        Args:
            name: the name as written in the table.
            home: the folder that relative paths start from, usually the table's.
            source: name of the table in errors.

        Raises:
            UserError: Several clips have this name.
        """
        if name in self._exact:
            return name
        for form in dict.fromkeys((_form(name), _form(name.replace("\\", "/")))):
            bare = _bare_path(form)
            if found := self._by_id.get(bare) or self._by_id.get(form) or self._by_path_of(form, home):
                return found
            owners = self._by_end.get(bare, ()) if bare not in ("", ".", "..", "/") else ()
            if len(owners) > 1:
                first, second = owners
                raise UserError(
                    f"{source} names {name!r}, which matches {self._count(bare)} clips (first {first} and "
                    f"{second}); write their ids or paths."
                )
            if found := owners[0] if owners else self._from_elsewhere(bare):
                return found
        return None

    def near(self, name: str) -> str | None:
        """Return the only clip whose name differs just in case or folders, or None."""
        bare = _bare_path(_form(name.replace("\\", "/"))).casefold()
        for key in (bare, posixpath.basename(bare)):
            owners = self._by_loose_end.get(key, ())
            if len(owners) == 1:
                return owners[0]
        return None

    @cached_property
    def _by_id(self) -> dict[str, str]:
        forms = ((clip, _form(clip)) for clip in self._ids)
        return _owned((clip, spelt) for clip, form in forms for spelt in (form, _bare_path(form)))

    @cached_property
    def _by_path(self) -> dict[str, str]:
        files = zip(self._ids, self._paths, strict=True)
        return _owned((clip, _form(os.path.normpath(path))) for clip, path in files if path)

    def _by_path_of(self, form: str, home: Path) -> str | None:
        places = (os.path.normpath(folder.absolute() / form) for folder in (home, Path()))
        return next((found for place in places if (found := self._by_path.get(_form(place)))), None)

    @cached_property
    def _by_end(self) -> dict[str, tuple[str, ...]]:
        """Suffix of ids and paths, without file extension -> the first two clips that have it."""
        ends: dict[str, tuple[str, ...]] = {}
        for clip, end in self._ends():
            owners = ends.get(end, ())
            if len(owners) < 2 and clip not in owners:
                ends[end] = (*owners, clip)
        return ends

    @cached_property
    def _by_loose_end(self) -> dict[str, tuple[str, ...]]:
        ends: dict[str, tuple[str, ...]] = {}
        for clip, end in self._ends():
            owners = ends.get(end.casefold(), ())
            if len(owners) < 2 and clip not in owners:
                ends[end.casefold()] = (*owners, clip)
        return ends

    def _ends(self) -> Iterator[tuple[str, str]]:
        for clip, path in zip(self._ids, self._paths, strict=True):
            for whole in (_bare_path(_form(clip)), _bare_path(_form(path))):
                parts = whole.split("/")
                for start in range(len(parts)):
                    if parts[-1]:
                        yield clip, "/".join(parts[start:])

    def _count(self, end: str) -> int:
        return len({clip for clip, there in self._ends() if there == end})

    def _from_elsewhere(self, bare: str) -> str | None:
        """Return the clip whose whole id is the end of ``bare``, if its file name is unique."""
        folder, stem = posixpath.split(bare)
        owners = self._by_end.get(stem, ())
        if not folder or len(owners) != 1:
            return None
        return owners[0] if f"/{bare}".endswith(f"/{_bare_path(_form(owners[0]))}") else None


def _owned(names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Name -> clip, for names that only one clip has; one file may hold several clips."""
    owners: dict[str, set[str]] = {}
    for clip, name in names:
        owners.setdefault(name, set()).add(clip)
    return {name: clips.pop() for name, clips in owners.items() if len(clips) == 1}


def stem(name: str) -> str:
    r"""Return a clip's file name without folders and extension, in Unicode form NFC.

    >>> stem("C:\\data\\a.wav"), stem("s01/a")
    ('a', 'a')
    """
    return posixpath.basename(_bare_path(_form(name.replace("\\", "/"))))


def _bare(name: str) -> str:
    """Normalise a column's name for comparison."""
    return re.sub(r"[\s_-]", "", str(name)).casefold()


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[\w.-]+", name) else repr(name)


def _form(name: str) -> str:
    """Return a name in Unicode form NFC with its path normalised."""
    composed = unicodedata.normalize("NFC", name)
    return posixpath.normpath(composed) if "/" in composed else composed


def _bare_path(form: str) -> str:
    """Return a name without an audio file extension."""
    stem, dot, ending = form.rpartition(".")
    return stem if stem and f"{dot}{ending}".lower() in _ENDINGS else form
