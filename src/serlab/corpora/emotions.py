"""Names of emotions: from the labels of a corpus or model to a common set, so that corpora can be compared.

``emotions.yaml`` lists the emotions, their names in several languages and the codes of corpora, with a
reason for each judgement. The user's own map comes first:

    # map.yaml: label -> emotion; null drops the clips of a label
    calm: neutral
    LABEL_3: sad
    my-corpus:          # for the labels of one corpus or model alone
      exc: happy
    new: [positive]     # emotions that the table lacks
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from serlab.core import UserError, argument
from serlab.core.files import absent
from serlab.core.progress import say_once
from serlab.core.settings import MOST_CHARACTERS, read_yaml
from serlab.corpora.base import Corpus, fingerprint
from serlab.corpora.spelling import plain

_NEW = "new"


@dataclass(frozen=True)
class Table:
    """The shipped table.

    Attributes:
        names: emotion of each name, by its key (see :func:`key`); None for a label that is not an emotion.
        emotions: the emotions, in alphabetical order.
        conventions: changes to choose by name.
        reasons: why a label has no emotion, by its key.
    """

    names: Mapping[str, str | None]
    emotions: tuple[str, ...]
    conventions: Mapping[str, Mapping[str, str | None]]
    reasons: Mapping[str, str]


def key(name: str) -> str:
    """What is compared of a name: without case, accents, and marks between words.

    >>> key("Dégoût"), key("pleasant_surprise"), key("PLEASANT  surprise")
    ('degout', 'pleasant surprise', 'pleasant surprise')
    """
    # The dotless i of Turkish has no decomposition, but its capital does.
    letters = unicodedata.normalize("NFKD", plain(name).casefold().replace("ı", "i").replace("ł", "l"))
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return " ".join(bare.replace("_", " ").replace("-", " ").split())


@lru_cache(maxsize=1)
def table() -> Table:
    """The shipped table of emotions."""
    text = (resources.files("serlab.corpora") / "emotions.yaml").read_text(encoding="utf-8")
    content = read_yaml(text, "the table of emotions")
    names: dict[str, str | None] = {key(name): None for name in content["none"]}
    for emotion, languages in content["emotions"].items():
        names |= {key(name): emotion for listed in languages.values() for name in listed}
    conventions = {
        name: {key(label): emotion for label, emotion in changes.items()}
        for name, changes in content["conventions"].items()
    }
    reasons = {key(name): reason for name, reason in content["none"].items()}
    return Table(names, tuple(content["emotions"]), conventions, reasons)


@dataclass(frozen=True)
class LabelMap:
    """From labels to emotions.

    Attributes:
        own: emotion of each key, for all corpora; None drops a label.
        of_one: the same for the labels of one corpus or model, by its name.
        shown: how the map is called in reports.
    """

    own: Mapping[str, str | None] = field(default_factory=dict)
    of_one: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    shown: str = "serlab's table of emotions"

    def emotion(self, label: str, owner: str) -> str | None:
        """The emotion of a label; None if the label is to be dropped.

        Args:
            label: as the corpus or model spells it.
            owner: name of the corpus or model.

        Raises:
            UserError: the label is not known; the nearest known name is given.

        >>> LabelMap().emotion("Wut", "my-corpus"), LabelMap().emotion("xxx", "iemocap")
        ('angry', None)
        """
        sought = key(label)
        known = table()
        for place in (self.of_one.get(owner, {}), self.own):
            if sought in place:
                return place[sought]
        if sought in known.names:
            emotion = known.names[sought]
            # A change of an emotion is also one of its other names: `excited: happy` holds for `exc`.
            for place in (self.of_one.get(owner, {}), self.own):
                if emotion is not None and emotion in place:
                    return place[emotion]
            return emotion
        raise self._unknown(label, sought, owner)

    def say_idle(self, owners: Collection[str]) -> None:
        """Report sections of the map that are for none of the corpora and models at hand."""
        for name in sorted(self.of_one.keys() - set(owners)):
            near = difflib.get_close_matches(name, owners, n=1, cutoff=0.6)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            say_once(f"the map of labels has a section {name!r}, which is none of the corpora and models here{hint}")

    def why_dropped(self, label: str, owner: str) -> str:
        """Why a label has no emotion, a phrase; empty if the user's map drops it.

        >>> LabelMap().why_dropped("low", "baved")
        'a level of expression, not an emotion'
        """
        sought = key(label)
        own = sought in self.own or sought in self.of_one.get(owner, {})
        return "" if own else table().reasons.get(sought, "")

    def _unknown(self, label: str, sought: str, owner: str) -> UserError:
        near = difflib.get_close_matches(sought, [*table().names, *self.own], n=1, cutoff=0.6)
        guess = f"did you mean {near[0]!r}? Map" if near and len(sought) > 2 else "map"
        letter = " (corpora use single letters differently)" if len(sought) == 1 else ""
        return UserError(
            f"{label!r} of {owner} is not a known emotion{letter}; {guess} it in a YAML file for "
            f"{argument('labels')}, e.g. the line '{label}: sad', or '{label}: null' to drop its clips."
        )


def read_map(named: str | Path | Sequence[str | Path] | Mapping[str, Any] | LabelMap | None) -> LabelMap:
    """Read a map of labels.

    Args:
        named: a YAML file, the name of a convention in ``emotions.yaml``, a list of these (later ones
            win), the content of such a file, a map, or None for the shipped table alone.

    Raises:
        UserError: there is no such file or convention, or the file is not a map of labels.
    """
    if named is None:
        return LabelMap()
    if isinstance(named, LabelMap):
        return named
    if isinstance(named, Mapping):
        return _parsed(named, "the map of labels", LabelMap())
    found = LabelMap()
    for each in [named] if isinstance(named, str | Path) else named:
        found = _joined(found, each)
    return found


def _joined(before: LabelMap, named: str | Path) -> LabelMap:
    conventions = table().conventions
    if str(named) in conventions:
        shown = f"{before.shown} with {named}"
        return replace(before, own={**before.own, **conventions[str(named)]}, shown=shown)
    path = Path(named)
    if not path.is_file():
        if path.suffix in (".yaml", ".yml"):
            raise absent("map of labels", str(named))
        raise UserError(
            f"{argument('labels', named)} is neither a YAML file nor one of {', '.join(sorted(conventions))}."
        )
    try:
        with path.open(encoding="utf-8") as stream:
            content = read_yaml(stream.read(MOST_CHARACTERS + 1), f"the map of labels {path}")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read the map of labels {path}: {getattr(error, 'strerror', None) or error}."
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a map of labels; expected lines such as 'calm: neutral'.")
    return _parsed(content, str(path), before)


def _parsed(content: Mapping[Any, Any], where: str, before: LabelMap) -> LabelMap:
    new = content.get(_NEW, [])
    if not isinstance(new, list) or not all(isinstance(name, str) for name in new):
        raise UserError(f"{where}: {_NEW} must be a list of names of emotions.")
    own, of_one = dict(before.own), dict(before.of_one)
    for label, value in content.items():
        if label == _NEW:
            continue
        if isinstance(value, Mapping):
            inner = {key(str(each)): _emotion(emotion, str(each), where, new) for each, emotion in value.items()}
            of_one[str(label)] = {**of_one.get(str(label), {}), **inner}
        else:
            own[key(str(label))] = _emotion(value, str(label), where, new)
    return LabelMap(own, of_one, f"{before.shown} with {Path(where).name}")


def _emotion(value: object, label: str, where: str, new: Sequence[str]) -> str | None:
    """The emotion that a label is mapped to: one of the table, by any of its names, or a new one."""
    if value is None or (isinstance(value, str) and value in new):
        return value
    known = table()
    found = known.names.get(key(value)) if isinstance(value, str) else None
    if found is None:
        near = difflib.get_close_matches(key(str(value)), [*known.names, *new], n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise UserError(
            f"{where} maps {label!r} to {value!r}, which is not a known emotion{hint} Known: "
            f"{', '.join(known.emotions)}; list others under '{_NEW}'."
        )
    return found


@dataclass(frozen=True)
class Mapped:
    """A corpus whose labels are emotions.

    Attributes:
        corpus: the corpus, without the dropped clips; its fingerprint is that of the mapped clips.
        original: the corpus as loaded.
        emotions: emotion of each of its labels; None for dropped ones.
        dropped: number of clips of each dropped label.
    """

    corpus: Corpus
    original: Corpus
    emotions: Mapping[str, str | None]
    dropped: Mapping[str, int]


def mapped(corpus: Corpus, labels: LabelMap) -> Mapped:
    """Map the labels of a corpus; clips of labels without an emotion are dropped and counted.

    Args:
        corpus: the corpus.
        labels: the map.

    Raises:
        UserError: a label is not known.
    """
    emotions = {label: labels.emotion(label, corpus.name) for label in corpus.labels}
    table_ = corpus.clips
    counts = table_["label"].value_counts()
    dropped = {label: int(counts.get(label, 0)) for label, emotion in emotions.items() if emotion is None}
    kept = table_[~table_["label"].isin(list(dropped))]
    clips = kept.assign(label=kept["label"].map(emotions)).reset_index(drop=True)
    return Mapped(_part(corpus, clips), corpus, emotions, dropped)


def only(found: Mapped, emotions: Sequence[str]) -> Mapped:
    """Reduce a mapped corpus to some emotions; the clips of the others are added to the dropped ones."""
    clips = found.corpus.clips
    kept = clips["label"].isin(list(emotions))
    counts = found.original.clips["label"].value_counts()
    without = {
        label: int(counts.get(label, 0))
        for label, emotion in found.emotions.items()
        if emotion is not None and emotion not in emotions
    }
    return replace(
        found,
        corpus=_part(found.corpus, clips[kept].reset_index(drop=True)),
        dropped=dict(sorted({**found.dropped, **without}.items())),
    )


def _part(corpus: Corpus, clips: Any) -> Corpus:
    labels = tuple(sorted(clips["label"].unique()))
    return replace(corpus, clips=clips, labels=labels, fingerprint=fingerprint(clips), lost={})
