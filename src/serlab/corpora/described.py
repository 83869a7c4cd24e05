"""Load a known corpus by its description: find its files, parse their names, join its tables.

A clip's id is its file's name without extension, in the official spelling. If there is an official
list of clips, the table always contains all of it, and a clip that the copy lacks has an empty
path.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path, PurePath

import pandas as pd

from serlab.audio import AUDIO_SUFFIXES, MEDIA_SUFFIXES, find_audio, looks_like_audio
from serlab.core import Exclusion, UserError, argument
from serlab.core.progress import say_once
from serlab.corpora.base import Corpus, fingerprint
from serlab.corpora.description import Description
from serlab.corpora.joined import join_tables, listed_clips
from serlab.corpora.locate import locate
from serlab.corpora.names import LEFT_OUT, clip_of, every_name, read_name, read_names, unknown_code
from serlab.corpora.own import NOT_UTF8, is_utf8, left_out
from serlab.corpora.scan import describe_files, scan

_PREFERRED = {suffix: place for place, suffix in enumerate((*AUDIO_SUFFIXES, *MEDIA_SUFFIXES))}
_ANY_DEPTH = "**"


@dataclass(frozen=True)
class Files:
    """The audio files of one copy.

    Attributes:
        folder: where they are.
        clips: clip -> its file, relative to the folder.
        extra: audio files in the folder that are not clips of the corpus.
        twice: second copies of clips.
        excluded: entries that were not read, with the reason.
        aside: files with a label that the description leaves out.
    """

    folder: Path
    clips: dict[str, str]
    extra: list[str]
    excluded: tuple[Exclusion, ...] = ()
    aside: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)


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
    listed = listed_clips(description, root)
    files = find_files(description, root, listed)
    official = official_clips(description, listed)
    ids = official["clip"] if len(official) else pd.Series(sorted(files.clips), name="clip", dtype=object)
    clips = _described(description, ids, listed)
    home = str(files.folder.absolute())
    paths = [home + os.sep + files.clips[clip] if clip in files.clips else "" for clip in ids]
    clips.insert(1, "path", paths)
    clips = pd.concat([clips, scan(paths, f"looking at {description.name}")], axis=1)
    for attribute, values in description.attributes.items():
        of = {speaker: value for value, speakers in values.items() for speaker in speakers.split()}
        clips[attribute] = clips["speaker"].map(of)
    clips = join_tables(description, clips, root)
    _say_left_out(description, files)
    description = replace(description, labels=description.labels or tuple(sorted(clips["label"].unique())))
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


def official_clips(description: Description, listed: pd.DataFrame | None = None) -> pd.DataFrame:
    """List the official clips, sorted by ``clip``; empty if there is no official list.

    Args:
        description: of the corpus.
        listed: what the tables of a copy list, from :func:`serlab.corpora.joined.listed_clips`.

    Returns:
        Column ``clip``, and ``file``, ``sha256`` and ``bytes`` if the corpus publishes them.
    """
    files = description.files
    if files.official:
        return _listed(files.official).copy()
    if listed is not None and len(listed):
        return listed.loc[_used(listed), ["clip"]].reset_index(drop=True)
    names = sorted(every_name(files.every, files.codes)) if files.every.name else []
    return pd.DataFrame({"clip": pd.Series(names, dtype=object)})


def _used(listed: pd.DataFrame) -> pd.Series:
    return listed["label"] != LEFT_OUT if "label" in listed else pd.Series(True, index=listed.index)


def find_files(description: Description, root: Path, listed: pd.DataFrame | None = None) -> Files:
    """Find the audio files of a copy of a corpus.

    Args:
        description: of the corpus.
        root: the copy's folder. The first of the description's folders that contains a clip is
            used, regardless of the others. If a clip exists twice, the official spelling, the
            better format and the shorter path win.
        listed: what the tables of the copy list, if it was read before.

    Raises:
        UserError: none of the folders contains a clip.
    """
    listed = listed_clips(description, root) if listed is None else listed
    official = set(official_clips(description, listed)["clip"])
    aside = set(listed.loc[~_used(listed), "clip"]) if len(listed) else set()
    for name in description.files.folders:
        if name == _ANY_DEPTH:
            found = find_audio([root])
            names = _below(root, found.files)
            passed = [replace(each, clip=os.path.relpath(each.path, root)) for each in found.excluded]
            files = _files_in(description, root, names, official, aside, passed)
        else:
            files = _files_in(description, root / name, _audio_in(root / name), official, aside)
        if files.clips:
            return files
    if not description.homepage:
        first = f" (first {min(files.extra)})" if files.extra else ""
        raise UserError(
            f"no audio file in {root}{first} has a name that fits the description of "
            f"{description.title}; correct its pattern or codes, or give another folder as {argument('data')}."
        )
    example = next(iter(description.files.examples), "")
    folders = description.files.folders
    where = "at any depth" if _ANY_DEPTH in folders else " or ".join(f"in {name}" for name in folders)
    expected = f"files such as {example}.wav {where}" if example else "files whose names fit its pattern"
    raise UserError(
        f"the folder {root} holds no {description.title} clip (expected {expected}); get the corpus from "
        f"{description.obtain}."
    )


def _below(root: Path, paths: Sequence[str]) -> list[str]:
    """Paths from :func:`find_audio`, relative to the folder that was searched."""
    before = "" if str(root) == os.curdir else str(root).rstrip(os.sep) + os.sep
    return [path.removeprefix(before) for path in paths]


def _files_in(
    description: Description,
    folder: Path,
    names: Sequence[str],
    official: set[str],
    aside: set[str],
    excluded: Sequence[Exclusion] = (),
) -> Files:
    """Select the audio files of a folder that are clips; ``names`` are relative to the folder."""
    home = folder.absolute().as_posix()
    found = []
    for name in names:
        if not is_utf8(name):
            excluded = [*excluded, left_out(folder, name, NOT_UTF8)]
            continue
        # Objects of pathlib would take most of the time on 100,000 files.
        stem, _, suffix = name.rpartition("/")[2].rpartition(".")
        place = _PREFERRED.get(f".{suffix.lower()}", len(_PREFERRED))
        clip = clip_of(description, f"{home}/{name.removesuffix(f'.{suffix}')}")
        found.append((clip != stem, place, name.count("/"), name, clip))
    files = Files(folder, {}, [], tuple(excluded))
    for *_, name, clip in sorted(found):
        read = None if official else read_name(description, clip)
        known = clip in official if official else read is not None and _has_label(description, read)
        if known:
            if files.clips.setdefault(clip, name) != name:
                files.twice.append(name)
        elif clip in aside or (read is not None and read.get("label") == LEFT_OUT):
            files.aside.append(name)
        else:
            files.extra.append(name)
    return files


def _has_label(description: Description, read: Mapping[str, str]) -> bool:
    label = read.get("label")
    return label != LEFT_OUT and (not description.labels or label is None or label in description.labels)


def _audio_in(folder: Path) -> list[str]:
    """Names of audio files directly in a folder, if it exists; hidden files are not listed."""
    if not folder.is_dir():
        return []
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be opened ({error.strerror}); check its permissions.") from error
    return [name for name in names if looks_like_audio(name) and not name.startswith(".")]


def _described(description: Description, ids: pd.Series, listed: pd.DataFrame) -> pd.DataFrame:
    """What the names of clips and the tables that list them say, the label last."""
    clips = read_names(description, ids)
    if len(listed):
        rows = listed.set_index("clip").loc[ids]
        for column in rows.columns:
            clips[column] = rows[column].to_numpy()
    clips["label"] = clips.pop("label")
    return clips


def _say_left_out(description: Description, files: Files) -> None:
    """Report files that are not used: labels that the description leaves out or lacks, second copies, other audio."""
    title = description.title
    if files.aside:
        say_once(
            f"{title}: {len(files.aside):,} files have a label that is not one of "
            f"{', '.join(description.labels)}; they are left out, as its description says."
        )
    strange: dict[str, list[str]] = {}
    for name in files.extra:
        strange.setdefault(unknown_code(description, PurePath(name).stem), []).append(name)
    found = [
        ("the name of a clip that is there already", sorted(files.twice), ""),
        ("the name of no clip", strange.pop("", []), ""),
        *(
            (f"the label code {code!r}", names, ", which its description does not list")
            for code, names in sorted(strange.items())
        ),
    ]
    for what, names, more in found:
        if names:
            count = "1 file has" if len(names) == 1 else f"{len(names):,} files have"
            say_once(f"{title}: {count} {what} (first {names[0]}){more}; left out.")


def _describe_copy(description: Description, clips: pd.DataFrame, official: pd.DataFrame) -> str:
    present = clips["path"] != ""
    absent = (description.clips or len(clips)) - int(present.sum())
    lacking = f", {absent:,} of {description.clips or len(clips):,} missing" if absent > 0 else ""
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
    paths = dict(zip(clips["clip"], clips["path"], strict=True))
    faults = {clip: fault for clip, fault in description.faults.items() if clip in paths}
    for wrong, right in description.files.respelled.items():
        if right in paths and PurePath(paths[right]).stem == wrong:
            faults[right] = f"named {wrong} in this copy"
    for suffix, broken in description.faults_in.items():
        there = {clip: fault for clip, fault in broken.items() if clip in paths}
        faults |= {clip: fault for clip, fault in there.items() if PurePath(paths[clip]).suffix.lower() == suffix}
    return faults
