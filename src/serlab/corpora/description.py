"""Descriptions of known corpora: YAML files, read and validated here.

The descriptions of the known corpora are in the folder ``known``, one ``<name>.yaml`` each; every
key is an attribute of :class:`Description`. Adding a corpus means adding a file there. If YAML
cannot express something, ``python`` names a module of this package. The module may define

- ``load(description, folder)``: load the whole corpus (the synthetic corpus makes its clips);
- ``add_columns(description, clips, folder)``: add columns from tables of the corpus (votes of
  raters);
- ``PROTOCOLS``: name -> function of the table of clips that returns the (train, dev, test) clips of
  each fold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib import import_module, resources
from importlib.resources.abc import Traversable
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from serlab.core import UserError
from serlab.core.settings import build, read_yaml

if TYPE_CHECKING:
    import pandas as pd

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
    """The location of the audio files, and the meaning of their names.

    Attributes:
        pattern: regular expression for a whole file name without extension; its named groups become
            columns. ``speaker`` and ``label`` are required, ``sentence`` and ``level`` are usual.
        codes: column -> the meaning of each code in a name; a file with another code is not a clip.
        folders: where to look, below the corpus's folder: the first one that contains a clip is
            used. ``**`` matches any depth.
        official: CSV in ``known`` with the official clips (``file``, ``sha256``, ``bytes``); empty
            if there is none.
        every: the official list, if the naming scheme implies it.
        respelled: wrong names found in copies -> the right ones.
        examples: file names without extension, as published -> what they say.
        others: names of files that are not clips of the corpus.
    """

    pattern: str = ""
    codes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    folders: tuple[str, ...] = ("**",)
    official: str = ""
    every: Every = Every()
    respelled: Mapping[str, str] = field(default_factory=dict)
    examples: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    others: tuple[str, ...] = ()

    @cached_property
    def whole_name(self) -> re.Pattern[str]:
        """The pattern, anchored at both ends."""
        return re.compile(f"^(?:{self.pattern})$")


@dataclass(frozen=True)
class Table:
    """A table that comes with a corpus and is joined if the copy contains it.

    Attributes:
        file: its path below the corpus's folder.
        key: its column to join by.
        column: the column of the corpus's clips with the same values.
        columns: its columns to use -> their names here.
    """

    file: str
    key: str
    column: str
    columns: Mapping[str, str]


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
class Protocol:
    """A published split of the corpus.

    Attributes:
        definition: what it does, one sentence.
        folds: speakers of each fold; empty if the Python module computes the folds.
        without: clips that it leaves out.
    """

    definition: str
    folds: tuple[HeldOut, ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Description:
    """A known corpus.

    Attributes:
        title: its name in a sentence.
        summary: one line about it.
        homepage: where it is published.
        licence: the licence's name, and its conditions in a phrase.
        commercial: whether the licence allows commercial use.
        citation: how to cite it.
        obtain: where to get it and under which licence, a phrase.
        language: BCP 47 tags, separated by blanks.
        kind: how the emotions were elicited.
        people: what its speakers are called, in the plural.
        sample_rate: of the official files, Hz.
        clips: number of official clips.
        speakers: number of speakers.
        labels: every label, in alphabetical order.
        default_protocol: the protocol that is used by default.
        name: the file's name without extension.
        files: the location of its files and the meaning of their names.
        attributes: what is known about speakers: attribute -> value -> speakers, separated by
            blanks.
        tables: tables that come with it.
        tracks: labels of a clip.
        protocols: published splits, by name.
        faults: known faults of the official files, clip -> what is wrong.
        faults_in: known faults of the official files of one format, by extension.
        python: module of this package for what YAML cannot express; empty if there is none.
    """

    title: str
    summary: str
    homepage: str
    licence: str
    commercial: bool
    citation: str
    obtain: str
    language: str
    kind: Literal["acted", "elicited", "natural", "synthetic"]
    people: str
    sample_rate: int
    clips: int
    speakers: int
    labels: tuple[str, ...]
    default_protocol: str = "speaker-5"
    name: str = ""
    files: Files = Files()
    attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    tracks: Tracks = Tracks()
    protocols: Mapping[str, Protocol] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    faults_in: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    python: str = ""

    @property
    def module(self) -> ModuleType | None:
        """The module named by ``python``."""
        return import_module(f"serlab.corpora.{self.python}") if self.python else None

    def computed(self, protocol: str) -> Callable[[pd.DataFrame], list[Parts]]:
        """The function that computes the folds of a protocol without ``folds``."""
        found: Callable[[pd.DataFrame], list[Parts]] = getattr(self.module, "PROTOCOLS", {})[protocol]
        return found


def read_description(text: str, name: str) -> Description:
    """Read a description.

    Args:
        text: YAML.
        name: the corpus's name.

    Returns:
        The description, with that name.

    Raises:
        UserError: it is not valid YAML, a key is missing, unknown or of the wrong type, or two keys
            contradict each other.
    """
    where = f"the description of the corpus {name}"
    description: Description = replace(build(Description, read_yaml(text, where), where), name=name)
    wrong = next(_contradictions(description), "")
    if wrong:
        raise UserError(f"{where}: {wrong}.")
    return description


def _contradictions(described: Description) -> Iterator[str]:
    files = described.files
    if list(described.labels) != sorted(set(described.labels)):
        yield "labels must be in alphabetical order, each once"
    unfolded = [name for name, protocol in described.protocols.items() if not protocol.folds]
    if unfolded and not described.python:
        yield f"protocols: {unfolded[0]} has no folds; give them, or a Python module that computes them"
    if not files.pattern:
        if not described.python:
            yield "files: pattern is missing; write how a file name gives speaker and label"
        return
    try:
        groups = set(files.whole_name.groupindex)
    except re.error as error:
        yield f"files: pattern is not a regular expression ({error})"
        return
    if lacking := {"speaker", "label"} - groups:
        yield f"files: pattern has no group {min(lacking)!r}; write it (?P<{min(lacking)}>...)"
    if spare := set(files.codes) - groups:
        yield f"files: codes has {min(spare)!r}, which is not a group of files: pattern"
    if unsaid := set(files.every.fields) - set(files.every.values) - set(files.codes):
        yield f"files: every: {min(unsaid)} has no values; give them, or codes"
    if "label" in files.codes and set(files.codes["label"].values()) != set(described.labels):
        yield f"files: codes: label must name each of the labels {', '.join(described.labels)} and no other"


_FOLDER = "known"


def _known_folder() -> Traversable:
    return resources.files("serlab.corpora") / _FOLDER


@cache
def descriptions() -> Mapping[str, Description]:
    """Read the descriptions of all known corpora, by name."""
    found = (item for item in _known_folder().iterdir() if item.name.endswith(".yaml"))
    names = {item.name.removesuffix(".yaml"): item for item in found}
    return {name: read_description(names[name].read_text(encoding="utf-8"), name) for name in sorted(names)}


_PART = re.compile(r"-(?:smoke|limit\d+)$")


def describe(name: str) -> Description | None:
    """Find the description of a known corpus.

    Args:
        name: its name, or the name of a part of it, such as ``crema-d-limit20``.

    Returns:
        The description, or None if the corpus is not a known one.
    """
    return descriptions().get(_PART.sub("", name))
