"""Speech without labels, for pretraining: the clips of a known corpus, or all recordings below a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from serlab.audio.find import find_audio
from serlab.core import Exclusion, UserError
from serlab.core.files import absent, whole
from serlab.corpora import descriptions, load_corpus
from serlab.corpora.own import NOT_UTF8, is_utf8, shown_name
from serlab.corpora.scan import scan

_COLUMNS = ["clip", "path", "duration", "sha256"]


@dataclass(frozen=True, eq=False)
class Speech:
    """Recordings of speech without labels.

    Attributes:
        name: of the corpus, or of the folder.
        clips: one row per recording: ``clip`` (id in the corpus, or path relative to the folder),
            ``path``, ``duration`` (seconds, NaN if unreadable) and ``sha256`` (of the file's
            bytes, empty if there is no file to read).
        speakers: sorted; None if unknown.
        excluded: entries that are not recordings, with the reason.
    """

    name: str
    clips: pd.DataFrame
    speakers: tuple[str, ...] | None = None
    excluded: tuple[Exclusion, ...] = ()

    @classmethod
    def of(cls, name: str, clips: pd.DataFrame) -> Speech:
        """The clips of a corpus, or some of them.

        Args:
            name: the corpus's name.
            clips: rows of its table.
        """
        speakers = tuple(sorted(set(clips["speaker"]) - {""}))
        return cls(name, clips[_COLUMNS].reset_index(drop=True), speakers or None)

    def heard(self) -> dict[str, Any]:
        """What was heard, as plain data: name, clips with their SHA-256, hours, speakers."""
        return {
            "name": self.name,
            "clips": len(self.clips),
            "hours": round(float(self.clips["duration"].sum()) / 3600, 3),
            "speakers": None if self.speakers is None else list(self.speakers),
            "sha256": dict(sorted(zip(self.clips["clip"], self.clips["sha256"], strict=True))),
        }


def find_speech(name: str) -> Speech:
    """Find speech by name.

    Args:
        name: a known corpus, or the path of a folder.

    Raises:
        UserError: there is no such corpus or folder, or it holds no recording.
    """
    if name in descriptions():
        corpus = load_corpus(name)
        there = corpus.clips[corpus.clips["sha256"] != ""]
        return Speech.of(corpus.name, there)
    folder = whole(Path(name).expanduser())
    if not folder.exists():
        raise absent("known corpus or folder of speech", name)
    if not folder.is_dir():
        raise UserError(f"{name} is not a folder; give a folder of speech, or a known corpus.")
    found = find_audio([folder])
    names = {Path(path).relative_to(folder).as_posix(): path for path in found.files}
    files = {clip: path for clip, path in names.items() if is_utf8(path)}
    odd = [Exclusion(shown_name(clip), shown_name(path), NOT_UTF8) for clip, path in names.items() if clip not in files]
    if not files:
        raise UserError(f"{name} has no recording whose path is UTF-8; rename its folders or files.")
    clips = scan(list(files.values()), f"reading {folder.name}")
    clips.insert(0, "path", list(files.values()))
    clips.insert(0, "clip", list(files))
    lost = clips[clips["sha256"] == ""]
    pairs = zip(lost["clip"], lost["path"], strict=True)
    missing = [Exclusion(str(clip), str(path), "not a file") for clip, path in pairs]
    there = clips[clips["sha256"] != ""][_COLUMNS].reset_index(drop=True)
    return Speech(folder.name, there, None, (*found.excluded, *odd, *missing))
