"""Finding recordings below folders, without losing any.

Every entry with the name of a recording is found, even a broken link, a pipe, or a format that
serlab does not read. Reading it then reports why it cannot be used. Entries that are skipped or
cannot be searched become exclusions with a reason.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from serlab.audio.formats import AUDIO_SUFFIXES, MEDIA_SUFFIXES, UNREAD_SUFFIXES
from serlab.audio.pointers import why_absent
from serlab.core import Exclusion, UserError

_SUFFIXES = frozenset((*AUDIO_SUFFIXES, *MEDIA_SUFFIXES, *UNREAD_SUFFIXES))
# Suffixes that may follow the suffix of a recording, and their meaning.
_LEFTOVERS = {
    **dict.fromkeys((".part", ".partial", ".crdownload", ".download", ".filepart"), "an unfinished download"),
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zst", ".zip", ".7z"), "compressed; unpack it"),
}
# Text that programs append to the names of copies and of downloads.
_COPIES = re.compile(r"(.+\.\w+?)(\.\d+|\.(?:bak|old|orig|copy|tmp|temp)|[~?\s].*)", re.DOTALL | re.IGNORECASE)
_ARCHIVE = re.compile(r"(.+?)\.(?:zip|rar|7z|tar|tgz|tbz2?|txz|tar\.(?:gz|bz2|xz|zst|lzma))", re.DOTALL | re.IGNORECASE)
_DVC = ".dvc"
# Folders of systems and tools, whose content does not come from the user. Trash has several names.
# fmt: off
_NOT_THE_USERS = frozenset((
    "__MACOSX", ".AppleDouble", ".DocumentRevisions-V100", ".fseventsd", ".Spotlight-V100", ".TemporaryItems",
    "$RECYCLE.BIN", "System Volume Information", "#recycle", "@eaDir", "lost+found", ".snapshots",
    ".git", ".hg", ".svn", ".bzr", ".datalad", ".dvc", ".ipynb_checkpoints", "__pycache__",
))
# fmt: on
_TRASH = ".Trash"
# Otherwise, links that branch in every folder would double the number of paths at each level.
_MOST_VISITS = 8
_FILE_LIKE = re.compile(r"\.[A-Za-z]\w{0,4}$")


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        files: unique paths of recordings, in the order of the given paths and sorted within a
            folder. They are text, because a hundred thousand ``Path`` objects need much memory.
        excluded: entries that were skipped, with the reason.
        bare: folders in which nothing was found or excluded.
    """

    files: list[str] = field(default_factory=list)
    excluded: list[Exclusion] = field(default_factory=list)
    bare: list[str] = field(default_factory=list)


def find_audio(paths: Iterable[Path]) -> Found:
    """Find recordings.

    Args:
        paths: folders, searched with all subfolders, through links too, for the suffixes of
            :mod:`~serlab.audio.formats`; and files with any name.

    Returns:
        The recordings, and what was skipped: hidden entries, folders that cannot be opened,
        unfinished downloads.

    Raises:
        UserError: a path does not exist, or a folder holds nothing that looks like a recording.
    """
    files: dict[str, None] = {}
    excluded: dict[str, Exclusion] = {}
    bare: list[str] = []
    for path in map(_straight, paths):
        if not _is_folder(path):
            files[str(path)] = None
            continue
        below = Found()
        _search(str(path), below)
        if not below.files and not below.excluded:
            raise UserError(f"the folder {path} holds no audio (.wav, .flac, .mp3, .m4a and the like).")
        files.update(dict.fromkeys(below.files))
        excluded.update((each.path, each) for each in below.excluded)
        bare += below.bare
    return Found(list(files), [each for path, each in excluded.items() if path not in files], bare)


def _straight(path: Path) -> Path:
    """A path without detours such as ``a/../a``, so that a file has one name; not where the detour is a link."""
    parts: list[str] = []
    for part in path.parts:
        leads_back = part == ".." and parts and parts[-1] not in ("..", path.anchor)
        if leads_back and not Path(*parts).is_symlink():
            parts.pop()
        else:
            parts.append(part)
    return Path(*parts)


def looks_like_audio(name: str) -> bool:
    """Whether a file has the suffix of a recording, in a format that serlab reads or not."""
    return _suffix(name) in _SUFFIXES


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a hundred thousand times


def _is_folder(path: Path) -> bool:
    """Whether a given path is a folder. A path that cannot be inspected counts as a file, and reading it says why.

    Raises:
        UserError: the path does not exist.
    """
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        if not path.is_symlink():
            raise UserError(f"there is no file or folder {path}.") from None
    except OSError:
        pass
    return False


def _search(root: str, found: Found) -> None:
    """Search a folder and all folders below it, in order; with an explicit stack, because folders may be nested deeply.

    A link to a parent folder is not followed, because its content is found anyway.
    """
    visits: Counter[tuple[int, int]] = Counter()
    chain: list[tuple[int, int]] = []
    stack: list[tuple[str, int, Iterator[str]]] = []

    def enter(folder: str) -> None:
        before = len(found.files) + len(found.excluded)
        identity: tuple[int, int] = (-1, -1)
        names: list[str] = []
        try:
            status = Path(folder).stat()
            identity = (status.st_dev, status.st_ino)
            visits[identity] += 1
            if visits[identity] > _MOST_VISITS:
                found.excluded.append(Exclusion(folder, folder, "reached by too many links"))
            elif identity not in chain:
                names = _listed(folder, found)
        except OSError as error:
            found.excluded.append(Exclusion(folder, folder, _why_shut(error)))
        chain.append(identity)
        stack.append((folder, before, iter(names)))

    enter("" if root == os.curdir else root)
    while stack:
        folder, before, names = stack[-1]
        path = next(names, None)
        if path is None:
            stack.pop()
            chain.pop()
            if len(found.files) + len(found.excluded) == before:
                found.bare.append(folder or root)
        elif path.endswith(os.sep):
            enter(path[: -len(os.sep)])
        else:
            found.files.append(path)


def _listed(folder: str, found: Found) -> list[str]:
    """Paths of a folder's recordings and, with a separator at their ends, of its folders, sorted; the rest excluded."""
    with os.scandir(folder or os.curdir) as entries:
        known = {entry.name: entry for entry in entries}
    listed = []
    before = folder if not folder or folder.endswith(os.sep) else folder + os.sep
    for name in sorted(known):
        entry, path = known[name], f"{before}{name}"
        is_folder = _leads_to_folder(entry)
        reason = ""
        if name in _NOT_THE_USERS or name.startswith(_TRASH):
            continue
        if name.startswith("."):
            reason = _why_hidden(name, path, is_folder, known)
        elif is_folder:
            listed.append(path + os.sep)
        elif looks_like_audio(name):
            listed.append(path)
        elif entry.is_symlink() and not _leads_somewhere(path) and not _FILE_LIKE.search(name):
            reason = why_absent(path)
        else:
            reason = _why_leftover(name, known)
        if reason:
            found.excluded.append(Exclusion(path, path, reason))
    return listed


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # The link cannot be followed.


def _leads_somewhere(path: str) -> bool:
    try:
        Path(path).stat()
    except OSError:
        return False
    return True


def _why_hidden(name: str, path: str, is_folder: bool, beside: Iterable[str]) -> str:
    """Why a hidden recording, or a hidden folder with recordings, is skipped; empty for anything else."""
    if is_folder:
        try:
            with os.scandir(path) as entries:
                return "a hidden folder" if any(looks_like_audio(entry.name) for entry in entries) else ""
        except OSError:
            return ""
    # macOS writes metadata of clip.wav to ._clip.wav if the file system cannot store it.
    if not looks_like_audio(name) or (name.startswith("._") and name[2:] in beside):
        return ""
    return "hidden (its name begins with a dot)"


def _why_leftover(name: str, beside: Iterable[str]) -> str:
    """Why a placeholder or leftover is not a recording or a folder of recordings; empty for anything else."""
    suffix = _suffix(name)
    whole = name[: len(name) - len(suffix)]
    if suffix == _DVC:
        return "" if whole in beside else "a DVC pointer without its data (dvc pull fetches it)"
    if reason := _LEFTOVERS.get(suffix, ""):
        if looks_like_audio(whole):
            return reason if whole not in beside else ""
    elif (copy := _COPIES.fullmatch(name)) and looks_like_audio(copy[1]):
        return "its name does not end as that of a recording; rename it" if copy[1] not in beside else ""
    archive = _ARCHIVE.fullmatch(name)
    return "an archive; unpack it" if archive and archive[1] not in beside else ""


def _why_shut(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "no permission to open this folder"
    if error.errno == errno.ENAMETOOLONG:
        return "a folder whose path is too long"
    return f"a folder that cannot be opened: {error.strerror or error}"
