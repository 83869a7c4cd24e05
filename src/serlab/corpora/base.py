"""A corpus: a table of clips, and what is known about their origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from serlab.core import Exclusion
from serlab.core.files import sha256_json
from serlab.corpora.description import Description, Tracks

if TYPE_CHECKING:
    import pandas as pd


# A table has no truth value, so corpora are compared by identity.
@dataclass(frozen=True, eq=False)
class Corpus:
    """A table of clips with licence, citation, fingerprint and known faults.

    Attributes:
        name: short name, also the folder of its results (``crema-d``, ``synthetic``, or the user's
            folder's name).
        clips: one row per clip, sorted by ``clip``, with a fresh integer index. Columns: ``clip``
            (id), ``path`` (absolute, as text; empty if the official list has a clip that this copy
            lacks), ``speaker``, ``label`` (both text; ``speaker`` empty if unknown),
            ``duration`` (seconds, NaN if unreadable), ``sample_rate`` (Hz, 0 if unreadable),
            ``sha256`` (of the file's bytes), and optional columns (``sentence``,
            ``level``, ``age``, ``sex``, ``votes_voice_angry`` ...). It contains the full official
            clip list, so protocols do not depend on which files exist.
        labels: every label of the corpus, in alphabetical order.
        licence: the licence's name and conditions, in a phrase.
        citation: how to cite it.
        fingerprint: SHA-256 over (clip, sha256, speaker, label) of all clips: equal data have equal
            fingerprints.
        copy: which copy this is, in words, e.g. ``"an 11,025 Hz copy, not the official files"``;
            shown with every figure.
        faults: known faults of the corpus, clip id -> what is wrong.
        speakers_known: False if no speaker column was given.
        synthetic: True if the speech is not human.
        part: which part of the corpus this is, in words; empty if it is the whole corpus.
        smoke: True if the part is only for checking that everything runs.
        sentences_known: True if ``sentence`` is a column.
        excluded: entries of the folder that are not clips, with the reason, such as hidden files
            and folders that cannot be opened; ``clip`` is the path relative to the corpus.
        lost: labels without a clip because of these entries, with the reason.
        description: of a known corpus; None for the user's own corpus.
    """

    name: str
    clips: pd.DataFrame
    labels: tuple[str, ...]
    licence: str
    citation: str
    fingerprint: str
    copy: str
    faults: Mapping[str, str] = field(default_factory=dict)
    speakers_known: bool = True
    synthetic: bool = False
    part: str = ""
    smoke: bool = False
    excluded: tuple[Exclusion, ...] = ()
    lost: Mapping[str, str] = field(default_factory=dict)
    description: Description | None = None

    @property
    def sentences_known(self) -> bool:
        """Whether each clip's sentence is known."""
        return "sentence" in self.clips.columns

    def described(self) -> dict[str, Any]:
        """The corpus's entry in a signature, as plain data."""
        names = ("name", "fingerprint", "copy", "synthetic", "speakers_known", "licence", "citation")
        described = {
            **{name: getattr(self, name) for name in names},
            "clips": len(self.clips),
            "labels": list(self.labels),
            "label_track": (self.description.tracks if self.description else Tracks()).label,
        }
        return described | ({"part": self.part, "smoke": self.smoke} if self.part else {})


@dataclass(frozen=True)
class Columns:
    """Names of the columns of the user's own table.

    Attributes:
        path: the audio file, absolute or relative to the table; None means the usual name.
        label: the emotion, or another target; None means the usual name.
        speaker: the speaker; None means a column ``speaker`` if there is one.
        sentence: the text; None means a column ``sentence`` if there is one.
    """

    path: str | None = None
    label: str | None = None
    speaker: str | None = None
    sentence: str | None = None


def fingerprint(clips: pd.DataFrame) -> str:
    """SHA-256 over (clip, sha256, speaker, label) of all clips, in order of clip, in hexadecimal.

    Args:
        clips: the table of :class:`Corpus`; only these four columns count, so a moved copy keeps
            its fingerprint.
    """
    rows = clips.sort_values("clip")[["clip", "sha256", "speaker", "label"]].astype(str)
    return sha256_json(rows.to_numpy().tolist())
