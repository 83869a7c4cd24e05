"""Unpack the ZIP archive of a corpus: all of it or nothing, and nothing outside its folder.

The content of a git commit is compared with the commit's tree, whose hash covers all names and
bytes. Source: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from serlab.core import MachineError
from serlab.core.files import writing_folder
from serlab.core.progress import bar

_MOST_FILES = 200_000
_MOST_LEVELS = 16
_LONGEST_NAME = 200
_BLOCK = 2**20
_ENCRYPTED = 1
# Python unpacks the other kinds in blocks of any size, which a bomb would make as large as memory.
_COMPRESSED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_FILE, _PROGRAM, _FOLDER = "100644", "100755", "40000"


class BadArchiveError(MachineError):
    """An archive that must not be unpacked, and that another download may mend."""


@dataclass(frozen=True)
class _Entry:
    info: zipfile.ZipInfo
    name: str


def unpack(archive: Path, folder: Path, most: int, tree: str = "", source: str = "") -> int:
    """Unpack an archive.

    Args:
        archive: a ZIP file.
        folder: a new folder for its content.
        most: the largest number of bytes that the content may have.
        tree: the SHA-1 of the git tree that the content must be; the archive then has one folder
            at its top, which is left out. Empty if the archive itself was verified.
        source: where the archive comes from, for errors.

    Returns:
        The number of files.

    Raises:
        BadArchiveError: the archive is damaged, unsafe or not the expected one.
        MachineError: the disk is full. The folder exists after neither error.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = _checked(opened.infolist(), most, source, without_top=bool(tree))
            with writing_folder(folder) as temporary:
                hashes = _write(opened, entries, temporary, folder.name)
                if tree and (found := _tree(hashes)) != tree:
                    raise BadArchiveError(
                        f"{source} is not the official archive (its git tree is {found}, not {tree}); nothing was "
                        "kept: try again later."
                    )
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise BadArchiveError(f"{source} is a damaged archive ({error}); nothing was kept: try again.") from error
    return len(entries)


def _checked(infos: Sequence[zipfile.ZipInfo], most: int, source: str, *, without_top: bool) -> list[_Entry]:
    """The files of an archive; refuse everything that an honest archive of recordings has no need of."""
    files = [info for info in infos if not info.is_dir()]
    wrong = ""
    if sum(info.file_size for info in files) > most:
        wrong = f"unpacked, it has more than {most:,} bytes"
    elif len(files) > _MOST_FILES:
        wrong = f"it has more than {_MOST_FILES:,} files"
    names = [PurePosixPath(info.filename).parts[without_top:] for info in files]
    for info, parts in zip(files, names, strict=True):
        wrong = wrong or _why_unsafe(info, parts)
    if not wrong and without_top and len({info.filename.partition("/")[0] for info in infos}) != 1:
        wrong = "it has not one folder at its top"
    folded = [tuple(part.casefold() for part in parts) for parts in names]
    if not wrong and len({*folded}) < len(names):
        wrong = "it has two files with the same name"
    if not wrong and not {*folded}.isdisjoint(parts[:level] for parts in folded for level in range(1, len(parts))):
        wrong = "it has a file and a folder with the same name"
    if wrong:
        raise BadArchiveError(f"{source} was not unpacked, because {wrong}; nothing was kept: try again later.")
    return [_Entry(info, "/".join(parts)) for info, parts in zip(files, names, strict=True)]


def _why_unsafe(info: zipfile.ZipInfo, parts: Sequence[str]) -> str:
    kind = stat.S_IFMT(info.external_attr >> 16)
    name = info.filename
    if info.compress_type not in _COMPRESSED:
        return f"{name!r} is compressed otherwise than by deflate"
    if info.flag_bits & _ENCRYPTED:
        return f"{name!r} is encrypted"
    if kind not in (0, stat.S_IFREG):
        return f"{name!r} is a link or a device"
    odd = not parts or name.startswith("/") or "\\" in name or ":" in name or not name.isprintable()
    if odd or any(part in (os.curdir, os.pardir) for part in name.split("/")):
        return f"{name!r} could be written outside its folder"
    if len(parts) > _MOST_LEVELS or max(len(part.encode()) for part in parts) > _LONGEST_NAME:
        return f"{name!r} is nested too deeply or too long"
    return ""


def _write(
    opened: zipfile.ZipFile, entries: Sequence[_Entry], folder: Path, title: str
) -> dict[str, tuple[str, bytes]]:
    """Write all files; return the git mode and hash of each."""
    hashes = {}
    with bar(f"unpacking {title}", len(entries)) as progress:
        for entry in entries:
            path = folder / entry.name
            path.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha1(b"blob %d\0" % entry.info.file_size, usedforsecurity=False)
            with path.open("xb") as stream:
                for block in _blocks(opened, entry.info):
                    digest.update(block)
                    stream.write(block)
            mode = _PROGRAM if (entry.info.external_attr >> 16) & stat.S_IXUSR else _FILE
            hashes[entry.name] = (mode, digest.digest())
            progress.advance()
    return hashes


def _blocks(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with _reading():
        source = opened.open(info)
    with source:
        while True:
            with _reading():
                block = source.read(_BLOCK)
            if not block:
                return
            yield block


@contextmanager
def _reading() -> Iterator[None]:
    """Tell faults of the archive, such as a place before its start, from those of the disk that is written to."""
    try:
        yield
    except OSError as error:
        raise zipfile.BadZipFile(error.strerror or str(error)) from error


def _tree(files: Mapping[str, tuple[str, bytes]]) -> str:
    """The hash of the git tree with these files, in hexadecimal."""
    return _tree_hash({tuple(name.split("/")): found for name, found in files.items()}).hex()


def _tree_hash(files: Mapping[tuple[str, ...], tuple[str, bytes]]) -> bytes:
    below: dict[str, dict[tuple[str, ...], tuple[str, bytes]]] = {}
    rows = []
    for (first, *rest), found in files.items():
        if rest:
            below.setdefault(first, {})[tuple(rest)] = found
        else:
            rows.append((first.encode(), *found))
    # Git sorts a folder as if its name ended in a slash.
    rows += [(f"{name}/".encode(), _FOLDER, _tree_hash(inside)) for name, inside in below.items()]
    body = b"".join(mode.encode() + b" " + name.rstrip(b"/") + b"\0" + digest for name, mode, digest in sorted(rows))
    return hashlib.sha1(b"tree %d\0" % len(body) + body, usedforsecurity=False).digest()
