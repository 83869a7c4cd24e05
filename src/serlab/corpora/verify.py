"""Check a copy of a corpus: missing, extra and unreadable files, and whether they are the official ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from serlab.core import Exclusion
from serlab.corpora import is_description, load_any
from serlab.corpora.described import find_files, find_folder, official_clips
from serlab.corpora.joined import listed_clips
from serlab.corpora.measures import MISSING
from serlab.corpora.remembered import ignored
from serlab.corpora.screening import screen


@dataclass(frozen=True)
class Verification:
    """Result of the check of a copy of a corpus.

    Attributes:
        corpus: its name.
        copy: which copy it is, in words.
        clips: number of clips of the corpus.
        present: number of them with a file.
        missing: clips without a file.
        unlisted: number of clips that are missing too, without known names, because the corpus
            publishes no list of its clips.
        extra: audio files that are not clips of the corpus (only of a described corpus).
        twice: second copies of clips, by name (likewise).
        corrupt: files that cannot be used, with the reason.
        known_faults: files that cannot be used in the official corpus either.
        differing: clips whose file is not the official one, byte for byte.
        left_out: entries that are not clips but contain recordings, or could, with the reason.
        official: whether every file is the official one; None if there are no official hashes.
    """

    corpus: str
    copy: str
    clips: int
    present: int
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    corrupt: list[Exclusion] = field(default_factory=list)
    known_faults: list[Exclusion] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    left_out: list[Exclusion] = field(default_factory=list)
    official: bool | None = None
    unlisted: int = 0
    twice: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is missing, corrupt or left out, and either all or no files are the official ones.

        A copy in which only some files are official is suspect, because the others were changed.
        """
        mixed = 0 < len(self.differing) < self.present
        return not (self.missing or self.unlisted or self.corrupt or self.left_out or mixed)

    def as_dict(self) -> dict[str, Any]:
        """All fields and ``ok`` as plain data for JSON."""
        return {**asdict(self), "ok": self.ok}


def verify(corpus_name: str, data: Path | None = None) -> Verification:
    """Hash, compare and decode every file of a corpus, without the cache.

    Args:
        corpus_name: a name or path, as for :func:`serlab.corpora.load_any`.
        data: the folder of a known corpus.

    Returns:
        What was found.

    Raises:
        UserError: the corpus is not found or cannot be loaded.
    """
    with ignored():
        corpus = load_any(corpus_name, data=data)
        unusable = [exclusion for exclusion in screen(corpus) if exclusion.reason != MISSING]
    faulty = [exclusion for exclusion in unusable if corpus.faults.get(exclusion.clip) == exclusion.reason]
    has_file = corpus.clips["path"] != ""
    differing: list[str] = []
    extra: list[str] = []
    twice: list[str] = []
    known = corpus.description
    published = False
    if known is not None and known.files.pattern:
        beside = Path(corpus_name).absolute().parent if is_description(Path(corpus_name)) else None
        root = find_folder(known, data or beside)
        listed = listed_clips(known, root)
        official = official_clips(known, listed)
        published = "sha256" in official
        if published:
            differing = corpus.clips.loc[has_file & (corpus.clips["sha256"] != official["sha256"]), "clip"].tolist()
        files = find_files(known, root, listed)
        extra = [str(files.folder / name) for name in files.extra]
        twice = [str(files.folder / name) for name in sorted(files.twice)]
    return Verification(
        corpus=corpus.name,
        copy=corpus.copy,
        clips=len(corpus.clips),
        present=int(has_file.sum()),
        missing=corpus.clips.loc[~has_file, "clip"].tolist(),
        extra=extra,
        twice=twice,
        corrupt=[exclusion for exclusion in unusable if exclusion not in faulty],
        known_faults=faulty,
        left_out=list(corpus.excluded),
        differing=differing,
        unlisted=max(known.clips - len(corpus.clips), 0) if known is not None and not corpus.part else 0,
        official=not differing if published else None,
    )
