"""Get a corpus from where its description says: a Git LFS server, or an archive."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from serlab.core import MachineError, UserError, argument
from serlab.core.files import sha256_file
from serlab.core.locks import locked
from serlab.core.progress import bar
from serlab.corpora.archives import BadArchiveError, unpack
from serlab.corpora.described import find_files, official_clips
from serlab.corpora.description import Archive, Description, Fetch
from serlab.corpora.downloads import Download, download
from serlab.corpora.lfs import get_from_lfs
from serlab.corpora.scan import in_threads

_MEGABYTE = 1_000_000
# A ZIP archive of files that cannot be compressed is larger than they are.
_OVERHEAD = 1.05


@dataclass(frozen=True)
class Wanted:
    """What is still to be fetched.

    Attributes:
        description: of the corpus.
        folder: where the corpus is, or will be.
        files: the files to get.
        there: number of clips, or of official files, that are there already.
        source: the address that they come from.
    """

    description: Description
    folder: Path
    files: tuple[Download, ...]
    there: int
    source: str

    @property
    def summary(self) -> str:
        """What would be fetched, in a phrase."""
        count = len(self.files)
        if not count:
            return f"nothing to get, {self.there:,} files are in {self.folder}"
        size = sum(file.size for file in self.files)
        what = f"{count:,} files" if self.how.lfs else "1 archive"
        megabytes = f"{size / _MEGABYTE:,.1f} MB" if size else f"up to {self.files[0].most / _MEGABYTE:,.1f} MB"
        there = f" ({self.there:,} files are there)" if self.there else ""
        return f"{what}, {megabytes}, to {self.folder}{there}"

    @property
    def how(self) -> Fetch:
        """Where the files come from."""
        return _fetch(self.description)

    @property
    def needed(self) -> int:
        """Number of bytes that are needed on the disk, for an archive also those of its content."""
        archive = self.how.archive
        left = sum((file.size or file.most) - file.there for file in self.files if not file.path.exists())
        return left + (archive.unpacked if archive and self.files else 0)


def wanted(description: Description, folder: Path) -> Wanted:
    """List what is still to be fetched.

    Args:
        description: of the corpus.
        folder: where the corpus is, or will be.

    Raises:
        UserError: serlab cannot get this corpus, or the folder contains other files with official
            names.
    """
    how = _fetch(description)
    if how.archive is not None:
        return _archive_wanted(description, how.archive, folder)
    files = [
        Download(
            folder / how.folder / str(row["file"]),
            url="",
            most=int(row["bytes"]),
            size=int(row["bytes"]),
            sha256=str(row["sha256"]),
            instead=description.obtain,
        )
        for row in official_clips(description).to_dict("records")
    ]
    there = [file for file in files if file.path.exists()]
    same = in_threads(_is_official, there, f"checking {description.name}") if there else []
    differing = [file for file, official in zip(there, same, strict=True) if not official]
    if differing:
        raise UserError(
            f"{folder} contains {len(differing):,} files with official names but other content (first "
            f"{differing[0].path}); choose another folder, or remove these files."
        )
    have = {file.path for file in there}
    return Wanted(description, folder, tuple(file for file in files if file.path not in have), len(have), how.lfs)


def _fetch(description: Description) -> Fetch:
    if not description.files.pattern:
        raise UserError(f"serlab makes {description.title} when it is first used; it needs {description.obtain}.")
    if description.fetch is None:
        why = f", because {description.by_hand}" if description.by_hand else ""
        raise UserError(
            f"serlab cannot get {description.title}{why}; get it from {description.obtain}, and give its folder as "
            f"{argument('data')}."
        )
    return description.fetch


def _is_official(file: Download) -> bool:
    return file.path.stat().st_size == file.size and sha256_file(file.path) == file.sha256


def _archive_wanted(description: Description, archive: Archive, folder: Path) -> Wanted:
    target = folder / _fetch(description).folder
    there = _clips_in(description, folder)
    if there and not target.exists():
        raise UserError(
            f"{folder} already contains clips of {description.title} from another source ({there:,}); choose another "
            f"folder as {argument('data')}, or remove them."
        )
    name = f"{description.name}.zip"
    if target.exists() and not there:
        raise UserError(
            f"{target} exists but holds no clip of {description.title}; remove it, or choose another folder as "
            f"{argument('data')}."
        )
    file = Download(
        folder / name,
        archive.url,
        most=archive.size or int(archive.unpacked * _OVERHEAD),
        size=archive.size,
        md5=archive.md5,
        instead=description.obtain,
    )
    return Wanted(description, folder, () if target.exists() else (file,), there, archive.url)


def _clips_in(description: Description, folder: Path) -> int:
    if not folder.is_dir():
        return 0
    try:
        return len(find_files(description, folder).clips)
    except UserError:
        return 0  # There is no audio, or none of this corpus.


def get(wanted: Wanted) -> int:
    """Fetch files; each is complete and has its official hash, or is not there.

    An unfinished file ends in ``.part``, and a later call continues it. An archive is unpacked into
    a folder that appears when it is complete, and is then removed.

    Args:
        wanted: from :func:`wanted`.

    Returns:
        The number of files that are there now.

    Raises:
        UserError: another process is getting the same corpus, or another file has the archive's name.
        MachineError: the server cannot be reached or sends wrong bytes, or the disk is full.
    """
    if not wanted.files:
        return wanted.there
    _check_space(wanted)
    with locked(wanted.folder), _no_empty_folders(wanted.folder, wanted.folder / wanted.how.folder):
        if wanted.how.archive is None:
            get_from_lfs(wanted.how.lfs, wanted.files, f"getting {wanted.description.name}")
            return wanted.there + len(wanted.files)
        if (wanted.folder / wanted.how.folder).exists():
            # Another process got it while this one asked for the licence.
            return _clips_in(wanted.description, wanted.folder)
        return _get_archive(wanted, wanted.how.archive)


@contextmanager
def _no_empty_folders(*folders: Path) -> Iterator[None]:
    """Remove those of the folders, outer ones first, that were made in the block and are empty after it."""
    made = [folder for folder in folders if not folder.exists()]
    try:
        yield
    finally:
        for folder in reversed(made):
            with suppress(OSError):  # It is not empty, or was not made.
                folder.rmdir()


def _get_archive(wanted: Wanted, archive: Archive) -> int:
    (file,) = wanted.files
    if file.path.exists():
        if wrong := file.differs(file.path):
            raise UserError(
                f"{file.path} is not the official archive ({wrong}); move it away, or choose another folder as "
                f"{argument('data')}."
            )
    else:
        total = (file.size or file.most) // _MEGABYTE
        done = file.there // _MEGABYTE
        with bar(f"getting {wanted.description.name} (MB)", total, done) as progress:
            shown = done

            def at(position: int) -> None:
                nonlocal shown
                if (now := position // _MEGABYTE) != shown:
                    progress.advance(now - shown)
                    shown = now

            download(file, at)
    try:
        count = unpack(file.path, wanted.folder / wanted.how.folder, archive.unpacked, archive.tree, archive.url)
    except BadArchiveError:
        file.path.unlink()
        raise
    # Kept until here: if the disk is full, it need not be fetched again.
    file.path.unlink()
    return count


def _check_space(wanted: Wanted) -> None:
    home = next(place for place in (wanted.folder.absolute(), *wanted.folder.absolute().parents) if place.is_dir())
    try:
        free = shutil.disk_usage(home).free
    except OSError:
        return
    if free < wanted.needed:
        raise MachineError(
            f"{wanted.description.title} needs {wanted.needed / _MEGABYTE:,.0f} MB in {wanted.folder}, and "
            f"{free / _MEGABYTE:,.0f} MB are free; free some space, or choose another folder as {argument('data')}."
        )
