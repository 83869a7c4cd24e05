r"""How users name things in their tables: columns, and the clips of a corpus.

Everything that reads a table asks here, so that what one command accepts no other refuses.

**Columns** are found whatever their case, surrounding blanks, and ``_``, ``-`` or blanks between words. Where several
stand for one thing, the first in the order of its names here is taken, and that is said.

**Clips** may be named by

- their id;
- the path of their file: absolute, or relative to the table's folder or the current one;
- the end of id or path, from a ``/`` on (``s01/happy_1.wav``, or ``happy_1``), where one clip alone has it;
- a path from elsewhere that ends in the whole id, where no other clip has a file of that name;

each with or without the ending of an audio file, in any Unicode form, with ``/`` or ``\`` between folders. Case
counts: a name that differs by it alone is a near miss, which errors tell.
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
from serlab.core import UserError
from serlab.core.progress import say

if TYPE_CHECKING:
    import pandas as pd

CLIP = ("clip", "path", "file", "filename", "filepath", "audio", "wav")
"""Columns that name clips, in a table of predictions or a split."""
FILE = ("path", "file", "filename", "filepath", "audio", "wav", "clip")
"""Columns that name audio files, in a table that is a corpus."""
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
    """The column that stands for something.

    Args:
        names: the table's columns.
        role: the names that are accepted for it, e.g. :data:`CLIP`; the first that is there is taken.
        source: what to call the table where several stand for it, which is said.
        quiet: whether to say nothing.

    Returns:
        The column as the table calls it, or None.

    >>> column(["Emotion ", "File Name"], CLIP, "t.csv"), column(["Emotion ", "File Name"], LABEL, "t.csv")
    ('File Name', 'Emotion ')
    """
    names = list(names)
    ranks = {_bare(name): rank for rank, name in enumerate(role)}
    # Of two spellings of a name, the exact one.
    there = sorted((ranks[_bare(n)], n not in role, place, n) for place, n in enumerate(names) if _bare(n) in ranks)
    if len(there) > 1 and not quiet:
        others = ", ".join(repr(name) for *_, name in there[1:])
        say(f"{source}: the column {there[0][-1]!r} is taken for {_WORDS.get(tuple(role), role[0])}, not {others}.")
    return there[0][-1] if there else None


def alike(names: Iterable[str], role: Sequence[str], option: str = "") -> str:
    """What an error may say about a column that is probably meant: a near miss, and how to have it taken.

    Args:
        names: the table's columns.
        role: the names that are accepted.
        option: the option that takes another name; empty where the column must be renamed.

    Returns:
        A part of a sentence that begins with a semicolon, or nothing.

    >>> alike(["wav", "emo"], LABEL, "--label-column"), alike(["x"], LABEL)
    ("; the column 'emo' looks like the labels: --label-column emo", '')
    """
    known = {*map(_bare, role), *_ALIKE.get(tuple(role), "").split()}
    names = list(names)
    near = [name for name in names if _bare(name) in known] or [
        name for name in names if difflib.get_close_matches(_bare(name), [_bare(n) for n in role], n=1, cutoff=_CLOSE)
    ]
    if not near:
        return ""
    remedy = f"{option} {_quoted(near[0])}" if option else f"rename it {role[0]}"
    return f"; the column {near[0]!r} looks like {_WORDS.get(tuple(role), role[0])}: {remedy}"


class ClipNames:
    """Every way to name the clips of a corpus; see the module.

    Args:
        clips: the corpus's table: ``clip``, and ``path`` where files are at hand.
    """

    def __init__(self, clips: pd.DataFrame) -> None:
        self._ids = [str(clip) for clip in clips["clip"]]
        self._paths = [str(path) for path in clips["path"]] if "path" in clips else [""] * len(self._ids)
        self._exact = set(self._ids)

    def find(self, name: str, home: Path, source: str) -> str | None:
        """The clip that a name means; None where none is called so.

        Args:
            name: as the table has it.
            home: the table's folder, or the folder that its paths are relative to.
            source: what to call the table in the error.

        Raises:
            UserError: several clips are called so.
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
                    f"{source} names {name!r}, and {self._count(bare)} clips are called so (first {first} and "
                    f"{second}); write their ids or paths."
                )
            if found := owners[0] if owners else self._from_elsewhere(bare):
                return found
        return None

    def near(self, name: str) -> str | None:
        """A clip that is called almost so: but for case, or for the folders; None where none or several are."""
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
        """Ends of ids and paths, without the ending of a file -> the first two clips that have them."""
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
        """The clip whose whole id a path of another place ends in, if its file's name is that of no other clip."""
        folder, stem = posixpath.split(bare)
        owners = self._by_end.get(stem, ())
        if not folder or len(owners) != 1:
            return None
        return owners[0] if f"/{bare}".endswith(f"/{_bare_path(_form(owners[0]))}") else None


def _owned(names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Name -> its clip, for names that one clip alone has; one file may hold several clips."""
    owners: dict[str, set[str]] = {}
    for clip, name in names:
        owners.setdefault(name, set()).add(clip)
    return {name: clips.pop() for name, clips in owners.items() if len(clips) == 1}


def stem(name: str) -> str:
    r"""The name of a clip's file without folders and ending, in one Unicode form.

    >>> stem("C:\\data\\a.wav"), stem("s01/a")
    ('a', 'a')
    """
    return posixpath.basename(_bare_path(_form(name.replace("\\", "/"))))


def _bare(name: str) -> str:
    """A column's name as it is compared."""
    return re.sub(r"[\s_-]", "", str(name)).casefold()


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[\w.-]+", name) else repr(name)


def _form(name: str) -> str:
    """A name in one Unicode form, without ``./`` and what else a path may have too much of."""
    composed = unicodedata.normalize("NFC", name)
    return posixpath.normpath(composed) if "/" in composed else composed


def _bare_path(form: str) -> str:
    """A name without the ending of an audio file."""
    stem, dot, ending = form.rpartition(".")
    return stem if stem and f"{dot}{ending}".lower() in _ENDINGS else form
