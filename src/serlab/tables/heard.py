"""What a model has heard: the corpora and speakers of its own training, and of all models it was made with.

A record is plain data, part of a run's signature and of an encoder's ``heard.json``:

    {"what": "itself", "corpus": "crema-d", "fingerprint": "3f…", "train": ["1001", …], "dev": ["1007", …]}

``what`` is the model itself, a teacher, or pretrained weights. ``train`` are the speakers that it
was trained on, ``dev`` those by whom it chose an epoch or settings. None: unknown. ``fold``, if
known, is the fold that held out its clips: ``{"protocol": "random-5", "version": "1", "fold": 2}``.
It decides where speakers cannot: in corpora without them, and if a speaker is in several subsets.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ITSELF = "itself"
_MARK = re.compile(r"(-own)?(-smoke|-limit\d+)?$")

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Overlap:
    """Speakers of a fold that something behind a model has heard before.

    Attributes:
        what: the teacher or the pretrained weights.
        subset: the subset with those speakers, ``test`` or ``dev``.
        speakers: the speakers, sorted; None if the record does not name the speakers of this corpus.
        chose: whether it only made a choice by them, and was not trained on them.
        elsewhere: the other fold that it was trained in, if speakers do not tell what it has heard.
    """

    what: str
    subset: str
    speakers: tuple[str, ...] | None
    chose: bool = False
    elsewhere: str = ""

    @property
    def allowed(self) -> bool:
        """Whether it is a choice on the fold's own dev subset, which uses that subset but is not a leak."""
        return self.chose and self.subset == "dev"

    @property
    def text(self) -> str:
        """A sentence that names it."""
        did = "chose its settings by" if self.chose else "was trained on"
        if self.elsewhere:
            return f"{self.what} {did} this corpus in {self.elsewhere}, so it may have heard {self.subset} clips."
        if self.speakers is None:
            return f"{self.what} {did} this corpus, and does not say on which speakers."
        several = len(self.speakers) > 1
        whom = f"{len(self.speakers)} {self.subset} speakers" if several else f"a {self.subset} speaker"
        return f"{self.what} {did} {whom} of this fold ({'the first is ' if several else ''}{self.speakers[0]})."


def record(
    what: str, corpus: str | None, fingerprint: str | None, train: Collection[str] | None, dev: Collection[str] | None
) -> dict[str, Any]:
    """Build a record; see the module."""
    names = {"train": train, "dev": dev}
    speakers = {name: None if found is None else sorted(found) for name, found in names.items()}
    return {"what": what, "corpus": corpus, "fingerprint": fingerprint, **speakers}


def behind(what: str, records: Sequence[Record]) -> list[dict[str, Any]]:
    """A model's records, renamed for a model that was made with it.

    >>> behind("teacher a", [{"what": "itself"}, {"what": "pretrained weights b"}])
    [{'what': 'teacher a'}, {'what': 'teacher a: pretrained weights b'}]
    """
    return [{**each, "what": what if each["what"] == ITSELF else f"{what}: {each['what']}"} for each in records]


def overlaps(
    records: Sequence[Record],
    *,
    corpus: str,
    fingerprint: str | None,
    train: Collection[str],
    dev: Collection[str],
    test: Collection[str],
    fold: Mapping[str, Any] | None = None,
    known: bool = True,
) -> Iterator[Overlap]:
    """Find speakers of a fold's dev and test subsets that teachers or pretrained weights have heard.

    The model itself hears speakers who are in the fold's own training subset; a teacher may have
    heard other clips of theirs, if it was trained in another fold.

    Args:
        records: of the model.
        corpus: name of the corpus.
        fingerprint: of the corpus.
        train: the fold's training speakers.
        dev: its dev speakers.
        test: its test speakers.
        fold: the fold, as in a record; if None, only speakers decide.
        known: whether the corpus names its speakers.
    """
    subsets = {"test": {*test} - {*train}, "dev": {*dev} - {*train} - {*test}} if known else {}
    for each in records:
        same = _name(each.get("corpus")) == _name(corpus) or (fingerprint and each.get("fingerprint") == fingerprint)
        if each["what"] == ITSELF or not same:
            continue
        for subset, speakers in subsets.items():
            if not speakers:
                continue
            for key in ("train", "dev"):
                heard = each.get(key)
                if heard is None and key == "train" and subset == "test":
                    yield Overlap(each["what"], subset, None)
                elif found := sorted(speakers & {*(heard or ())}):
                    yield Overlap(each["what"], subset, tuple(found), chose=key == "dev")
        there, heard = each.get("fold"), each.get("train")
        if fold and there and (there != fold or (fingerprint and each.get("fingerprint") != fingerprint)):
            for subset, names in {"test": {*test}, "dev": {*dev}}.items():
                shared = names & {*train} if known else names
                if shared if heard is None else shared & {*heard}:
                    where = f"{there['protocol']}, fold {there['fold']}"
                    yield Overlap(each["what"], subset, (), elsewhere=where)
                    break


def fold_of(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The fold of a run, for records, from the identity in its signature.

    >>> fold_of({"protocol": "random-5", "fold": 2, "seed": 0})
    {'protocol': 'random-5', 'version': '1', 'fold': 2}
    """
    version = identity.get("protocol_version", "1")
    return {"protocol": identity["protocol"], "version": version, "fold": identity["fold"]}


def _name(corpus: Any) -> str | None:
    """A corpus's name without the marks of a part of it, and of a user's table with the name of a known corpus."""
    return _MARK.sub("", corpus) if isinstance(corpus, str) else None
