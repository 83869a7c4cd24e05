"""Load a known corpus by its description: find its files, parse their names, join its tables.

A clip's id is its file's name without extension, in the official spelling. If there is an official
list of clips, the table always contains all of it, and a clip that the copy lacks has an empty
path.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from itertools import product
from pathlib import Path, PurePath

import pandas as pd

from serlab.audio import AUDIO_SUFFIXES, MEDIA_SUFFIXES, find_audio, looks_like_audio
from serlab.core import Exclusion, UserError
from serlab.corpora.base import Corpus, fingerprint
from serlab.corpora.description import Description, Every
from serlab.corpora.locate import locate
from serlab.corpora.scan import describe_files, scan

_PREFERRED = {suffix: place for place, suffix in enumerate((*AUDIO_SUFFIXES, *MEDIA_SUFFIXES))}
_ANY_DEPTH = "**"


@dataclass(frozen=True)
class Files:
    """The audio files of one copy.

    Attributes:
        folder: where they are.
        clips: clip -> its file, relative to the folder.
        extra: audio files in the folder that are not clips of the corpus, or duplicates of one.
        excluded: entries that were not read, with the reason.
    """

    folder: Path
    clips: dict[str, str]
    extra: list[str]
    excluded: tuple[Exclusion, ...] = ()


def load(description: Description, data: Path | None = None) -> Corpus:
    """Load a known corpus.

    Args:
        description: what is known about it.
        data: its folder; WAV, FLAC, MP3 or OGG at any sample rate. If it is not given, see
            :mod:`serlab.corpora.locate`.

    Returns:
        The corpus. Besides the usual columns it has the named groups of the file names, the
        attributes of speakers, and the columns of those of its tables that the copy contains.

    Raises:
        UserError: the corpus is not found, its folder contains none of its clips, or one of its
            tables is damaged.
    """
    root = find_folder(description, data)
    files = find_files(description, root)
    official = official_clips(description)
    ids = official["clip"] if len(official) else pd.Series(sorted(files.clips), name="clip", dtype=object)
    clips = _named(description, ids)
    home = str(files.folder.absolute())
    paths = [home + os.sep + files.clips[clip] if clip in files.clips else "" for clip in ids]
    clips.insert(1, "path", paths)
    clips = pd.concat([clips, scan(paths, f"looking at {description.name}")], axis=1)
    for attribute, values in description.attributes.items():
        of = {speaker: value for value, speakers in values.items() for speaker in speakers.split()}
        clips[attribute] = clips["speaker"].map(of)
    clips = _with_tables(description, clips, root)
    return Corpus(
        name=description.name,
        clips=clips,
        labels=description.labels,
        licence=description.licence,
        citation=description.citation,
        fingerprint=fingerprint(clips),
        copy=_describe_copy(description, clips, official),
        faults=_faults(description, clips),
        excluded=files.excluded,
        description=description,
    )


def find_folder(description: Description, data: Path | None = None) -> Path:
    """Find the folder of a corpus, as :func:`serlab.corpora.locate.locate` does."""
    return locate(description.name, data, description.obtain)


@cache
def _listed(file: str) -> pd.DataFrame:
    with resources.as_file(resources.files("serlab.corpora") / "known" / file) as path:
        table = pd.read_csv(path)
    table.insert(0, "clip", table["file"].str.removesuffix(".wav"))
    return table.sort_values("clip", ignore_index=True)


def official_clips(description: Description) -> pd.DataFrame:
    """List the official clips, sorted by ``clip``; empty if there is no official list.

    Returns:
        Column ``clip``, and ``file``, ``sha256`` and ``bytes`` if the corpus publishes them.
    """
    files = description.files
    if files.official:
        return _listed(files.official).copy()
    names = sorted(_every(files.every, files.codes)) if files.every.name else []
    return pd.DataFrame({"clip": pd.Series(names, dtype=object)})


def _every(every: Every, codes: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    values = [every.values[name].split() if name in every.values else list(codes[name]) for name in every.fields]
    for each in product(*values):
        name = every.name.format(**dict(zip(every.fields, each, strict=True)))
        if not any(fnmatchcase(name, pattern) for pattern in every.without):
            yield name


def read_name(description: Description, stem: str) -> dict[str, str] | None:
    """Read a file name.

    Args:
        description: of the corpus.
        stem: the name without extension.

    Returns:
        Column -> value, or None if this is not the name of a clip.
    """
    found = description.files.whole_name.fullmatch(stem)
    if found is None:
        return None
    values = found.groupdict(default="")
    for column, codes in description.files.codes.items():
        if values[column] not in codes:
            return None
        values[column] = codes[values[column]]
    return values


def find_files(description: Description, root: Path) -> Files:
    """Find the audio files of a copy of a corpus.

    Args:
        description: of the corpus.
        root: the copy's folder. The first of the description's folders that contains a clip is
            used, regardless of the others. If a clip exists twice, the official spelling, the
            better format and the shorter path win.

    Raises:
        UserError: none of the folders contains a clip.
    """
    official = set(official_clips(description)["clip"])
    for name in description.files.folders:
        if name == _ANY_DEPTH:
            found = find_audio([root])
            names = [os.path.relpath(path, root) for path in found.files]
            passed = [replace(each, clip=os.path.relpath(each.path, root)) for each in found.excluded]
            files = _files_in(description, root, names, official, passed)
        else:
            files = _files_in(description, root / name, _audio_in(root / name), official)
        if files.clips:
            return files
    example = next(iter(description.files.examples))
    where = " or ".join("at any depth" if name == _ANY_DEPTH else f"in {name}" for name in description.files.folders)
    raise UserError(
        f"the folder {root} holds no {description.title} clip (expected files such as {example}.wav {where}); get the "
        f"corpus from {description.obtain}."
    )


def _files_in(
    description: Description, folder: Path, names: Sequence[str], official: set[str], excluded: Sequence[Exclusion] = ()
) -> Files:
    """Select the audio files of a folder that are clips; ``names`` are relative to the folder."""
    files = Files(folder, {}, [], tuple(excluded))
    respelled = description.files.respelled
    found = []
    for name in names:
        path = PurePath(name)
        stem, _, suffix = path.name.rpartition(".")
        place = _PREFERRED.get(f".{suffix.lower()}", len(_PREFERRED))
        found.append((stem in respelled, place, len(path.parts), name, stem))
    for *_, name, stem in sorted(found):
        clip = respelled.get(stem, stem)
        known = clip in official if official else read_name(description, clip) is not None
        if known and clip not in files.clips:
            files.clips[clip] = name
        else:
            files.extra.append(name)
    return files


def _audio_in(folder: Path) -> list[str]:
    """Names of audio files directly in a folder, if it exists; hidden files are not listed."""
    if not folder.is_dir():
        return []
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be opened ({error.strerror}); check its permissions.") from error
    return [name for name in names if looks_like_audio(name) and not name.startswith(".")]


def _named(description: Description, ids: pd.Series) -> pd.DataFrame:
    """Values parsed from the names of clips, the label last."""
    columns = ids.str.extract(description.files.whole_name).fillna("")
    for column, codes in description.files.codes.items():
        columns[column] = columns[column].map(codes)
    columns["label"] = columns.pop("label")
    return pd.concat([ids.rename("clip"), columns], axis=1)


def _with_tables(description: Description, clips: pd.DataFrame, root: Path) -> pd.DataFrame:
    for table in description.tables:
        path = find_table(root, table.file)
        if path is None:
            continue
        try:
            read = pd.read_csv(path, dtype={table.key: str}, usecols=[table.key, *table.columns])
            renamed = read.rename(columns={table.key: table.column, **table.columns})
            clips = clips.merge(renamed, how="left", on=table.column, validate="m:1")
        except (OSError, ValueError) as error:
            raise damaged(description, path, str(error)) from error
        check_complete(description, path, clips, list(table.columns.values()))
    add = getattr(description.module, "add_columns", None)
    return clips if add is None else add(description, clips, root)


def find_table(root: Path, name: str) -> Path | None:
    """Find a table of a corpus in its folder, or beside it if the folder of the audio files was given."""
    places = [root, root.absolute().parent] if root.absolute().name.startswith("Audio") else [root]
    return next((place / name for place in places if (place / name).is_file()), None)


def check_complete(description: Description, path: Path, clips: pd.DataFrame, names: list[str]) -> None:
    """Refuse a table that lacks rows for some clips."""
    lacking = clips.loc[clips[names].isna().any(axis=1), "clip"]
    if len(lacking):
        count = "the clip" if len(lacking) == 1 else f"{len(lacking):,} clips, first"
        raise damaged(description, path, f"it lacks {count} {lacking.iloc[0]}")


def damaged(description: Description, path: Path, why: str) -> UserError:
    """Build the error for a table that differs from the corpus's original."""
    first_line = why.partition("\n")[0]
    return UserError(
        f"{path} is not {description.title}'s own table ({first_line}); get it again from the corpus, or remove it."
    )


def _describe_copy(description: Description, clips: pd.DataFrame, official: pd.DataFrame) -> str:
    present = clips["path"] != ""
    absent = description.clips - int(present.sum())
    lacking = f", {absent:,} of {description.clips:,} missing" if absent > 0 else ""
    if "sha256" not in official:
        return f"a copy in {describe_files(clips[present])}, not compared with the official files{lacking}"
    rate = f"{description.sample_rate / 1000:g} kHz"
    same = present & (clips["sha256"] == official["sha256"])
    if same.sum() == present.sum():
        return f"the official {rate} files{lacking}"
    if same.any():
        return f"{(present & ~same).sum():,} of {present.sum():,} files differ from the official {rate} ones{lacking}"
    return f"a copy in {describe_files(clips[present])}, not the official {rate} files{lacking}"


def _faults(description: Description, clips: pd.DataFrame) -> dict[str, str]:
    """Known faults that apply to this copy."""
    paths = dict(zip(clips["clip"], map(PurePath, clips["path"]), strict=True))
    faults = dict(description.faults)
    for wrong, right in description.files.respelled.items():
        if right in paths and paths[right].stem == wrong:
            faults[right] = f"named {wrong} in this copy"
    for suffix, broken in description.faults_in.items():
        faults |= {clip: fault for clip, fault in broken.items() if paths[clip].suffix.lower() == suffix}
    return faults
