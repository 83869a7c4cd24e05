"""Descriptions of known corpora: YAML files, read and validated here.

The descriptions of the known corpora are in the folder ``known``, one ``<name>.yaml`` each; every
key is an attribute of :class:`Description`. Adding a corpus means adding a file there. If YAML
cannot express something, ``python`` names a module of this package. The module may define

- ``load(description, folder)``: load the whole corpus (the synthetic corpus makes its clips);
- ``list_clips(description, folder)``: list the official clips with their labels, from files that
  are not tables;
- ``add_columns(description, clips, folder)``: add columns from tables of the corpus (votes of
  raters);
- ``PROTOCOLS``: name -> function of the table of clips that returns the (train, dev, test) clips of
  each fold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

NOT_STATED = "not stated"

Parts = tuple[Collection[str], Collection[str], Collection[str]]
"""The clips of one fold: train, dev and test."""


@dataclass(frozen=True)
class Every:
    """An official list of clips that the naming scheme implies: every combination of values.

    Attributes:
        name: a clip's id with a ``{field}`` for each part that varies.
        values: field -> its values, separated by blanks; the values of other fields are the codes
            of the column of that name.
        without: shell patterns of names that do not exist.
    """

    name: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    @property
    def fields(self) -> list[str]:
        """The parts of a name that vary, in order."""
        return list(dict.fromkeys(re.findall(r"{(\w+)}", self.name)))


@dataclass(frozen=True)
class Files:
    r"""The location of the audio files, and the meaning of their names.

    Attributes:
        pattern: regular expression for a whole file name without extension; its named groups become
            columns. ``speaker`` and ``label`` are required unless a table gives them, ``sentence``
            and ``level`` are usual.
        codes: column -> the meaning of each code in a name. A file with another code is not a clip.
            Codes with the same meaning are merged, and clips with a label code that has an empty
            meaning are left out.
        made: column -> how it is put together from groups of the pattern, such as
            ``{session}{sex}``.
        paths: for copies in which folders carry a part of the name: regular expression for the end
            of a path without extension -> the clip's name, with ``\1`` or ``\g<name>`` for groups.
        folders: where to look, below the corpus's folder: the first one that contains a clip is
            used. ``**`` matches any depth.
        official: CSV in ``known`` with the official clips (``file``, ``sha256``, ``bytes``); empty
            if there is none.
        every: the official list, if the naming scheme implies it.
        respelled: wrong names found in copies -> the right ones.
        examples: file names without extension, as published -> what they say.
        copies: paths without extension as found in copies -> their clips.
        others: names of files that are not clips of the corpus.
    """

    pattern: str = ""
    codes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ("**",)
    official: str = ""
    every: Every = Every()
    respelled: Mapping[str, str] = field(default_factory=dict)
    examples: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()

    @cached_property
    def ends(self) -> list[tuple[re.Pattern[str], str]]:
        """``paths``, anchored at a folder's name and at the end."""
        return [(re.compile(f"(?:^|/)(?:{pattern})$"), name) for pattern, name in self.paths.items()]

    @cached_property
    def whole_name(self) -> re.Pattern[str]:
        """The pattern, anchored at both ends."""
        return re.compile(f"^(?:{self.pattern})$")


@dataclass(frozen=True)
class Table:
    """A table that comes with a corpus: CSV, or TSV if its name says so.

    Attributes:
        file: its path below the corpus's folder; ``**/name.csv`` is found at any depth.
        also: other places, or names, that the table has in some releases.
        key: its column to join by, or a text with ``{column}`` for each column that is a part of
            the key. An audio extension is removed from clips.
        column: the column of the corpus's clips with the same values.
        columns: its columns to use -> their names here.
        codes: column (its name here) -> the meaning of each code, as in :class:`Files`.
        same: column -> its value for all rows of this table, such as ``partition: train``.
        lists_clips: whether its rows are the official clips. The copy must then contain it.
            Otherwise it is joined if the copy contains it.
    """

    file: str
    key: str
    columns: Mapping[str, str]
    also: tuple[str, ...] = ()
    column: str = "clip"
    codes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    same: Mapping[str, str] = field(default_factory=dict)
    lists_clips: bool = False


@dataclass(frozen=True)
class Raters:
    """One group of raters.

    Attributes:
        votes: the group's name in columns ``votes_<group>_<label>``; ``voice`` means that they only
            heard the voice.
        words: what they rated, as an adjective for "votes".
    """

    votes: str
    words: str


@dataclass(frozen=True)
class Tracks:
    """The labels that a clip of the corpus has.

    Attributes:
        label: name of the track of the column ``label``.
        votes: name of a track -> the raters whose plurality vote it is.
        levels: values of the column ``level`` that can be evaluated separately.
    """

    label: str = "intended"
    votes: Mapping[str, Raters] = field(default_factory=dict)
    levels: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeldOut:
    """One fold: speakers, separated by blanks; all others are for training."""

    dev: str
    test: str


@dataclass(frozen=True)
class Partitions:
    """One fold, by a column of the clips; clips with another value are in no subset.

    Attributes:
        column: the column, such as ``partition``.
        train: its values for training, separated by blanks.
        dev: for development.
        test: for the test.
    """

    column: str
    train: str
    dev: str
    test: str


@dataclass(frozen=True)
class Protocol:
    """A published split of the corpus.

    Attributes:
        definition: what it does, one sentence.
        folds: speakers of each fold.
        partitions: the official partitions. Without these and without ``folds``, the Python module
            computes the folds.
        without: clips that it leaves out.
    """

    definition: str
    folds: tuple[HeldOut, ...] = ()
    partitions: Partitions | None = None
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Archive:
    """A ZIP archive with the official files.

    Attributes:
        url: its address.
        unpacked: the largest number of bytes that its content can have.
        size: its number of bytes; 0 if its server makes it for each call.
        md5: its hash, as published with it; empty if ``tree`` is given.
        tree: SHA-1 of the git tree that its content is, for an archive of a git commit.
    """

    url: str
    unpacked: int
    size: int = 0
    md5: str = ""
    tree: str = ""


@dataclass(frozen=True)
class Fetch:
    """Where serlab can get the official files: from a Git LFS server or from an archive.

    Attributes:
        folder: the folder for the files, below the corpus's folder.
        lfs: address of a Git LFS server without ``/objects/batch``; the list ``files: official`` has
            the hashes.
        archive: the archive.
    """

    folder: str
    lfs: str = ""
    archive: Archive | None = None


@dataclass(frozen=True)
class Description:
    """A known corpus.

    Attributes:
        title: its name in a sentence.
        summary: one line about it.
        homepage: where it is published.
        licence: the licence's name, and its conditions in a phrase.
        commercial: whether the licence allows commercial use; None if that is not stated.
        citation: how to cite it.
        obtain: where to get it and under which licence, a phrase.
        language: BCP 47 tags, separated by blanks.
        kind: how the emotions were elicited.
        people: what its speakers are called, in the plural.
        sample_rate: of the official files, Hz.
        clips: number of official clips; 0 if it is not fixed.
        speakers: number of speakers; 0 if it is not fixed.
        labels: every label, in alphabetical order; by default, the meanings of the label codes.
        hours: of speech; 0 if unknown.
        default_protocol: the protocol that is used by default.
        unchecked: what could not be checked against the corpus's paper, its pages or its files.
        name: the file's name without extension.
        files: the location of its files and the meaning of their names.
        attributes: what is known about speakers: attribute -> value -> speakers, separated by
            blanks.
        tables: tables that come with it.
        tracks: labels of a clip.
        protocols: published splits, by name.
        faults: known faults of the official files, clip -> what is wrong.
        faults_in: known faults of the official files of one format, by extension.
        fetch: where serlab can get the files; None if the user has to.
        by_hand: why the user has to, a phrase after "because".
        python: module of this package for what YAML cannot express; empty if there is none.
    """

    title: str = ""
    summary: str = ""
    homepage: str = ""
    licence: str = NOT_STATED
    commercial: bool | None = None
    citation: str = NOT_STATED
    obtain: str = "its owner"
    language: str = ""
    kind: Literal["acted", "elicited", "natural", "synthetic", ""] = ""
    people: str = "speakers"
    sample_rate: int = 0
    clips: int = 0
    speakers: int = 0
    labels: tuple[str, ...] = ()
    hours: float = 0.0
    default_protocol: str = "speaker-5"
    unchecked: tuple[str, ...] = ()
    name: str = ""
    files: Files = Files()
    attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    tracks: Tracks = Tracks()
    protocols: Mapping[str, Protocol] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    faults_in: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    fetch: Fetch | None = None
    by_hand: str = ""
    python: str = ""

    @property
    def listing(self) -> list[Table]:
        """The tables whose rows are the official clips."""
        return [table for table in self.tables if table.lists_clips]

    @property
    def module(self) -> ModuleType | None:
        """The module named by ``python``."""
        return import_module(f"serlab.corpora.{self.python}") if self.python else None

    def computed(self, protocol: str) -> Callable[[pd.DataFrame], list[Parts]]:
        """The function that computes the folds of a protocol without ``folds``."""
        found: Callable[[pd.DataFrame], list[Parts]] = getattr(self.module, "PROTOCOLS", {})[protocol]
        return found
