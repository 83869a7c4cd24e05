"""Draft a description of a corpus from the names of its files."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from serlab.audio import find_audio
from serlab.core import UserError
from serlab.corpora.spelling import is_emotion, named_like_people

_SEPARATORS = re.compile(r"([-_. ]+)")
_ENOUGH = 0.5
_MOST_LABELS = 20
_NOT_A_WORD = re.compile(r"\W+")


@dataclass(frozen=True)
class Draft:
    """A draft.

    Attributes:
        text: the description as YAML.
        fitting: number of files whose names fit it.
        found: number of audio files.
    """

    text: str
    fitting: int
    found: int


def draft(folder: Path) -> Draft:
    """Draft a description from the names of the files below a folder.

    Names are divided at ``-``, ``_``, ``.`` and blanks. The part with the largest share of names of
    emotions, at least half, is the label. The first part with names of people, or else the first
    other part with several values, is the speaker.

    Args:
        folder: with audio files at any depth.

    Raises:
        UserError: there are no audio files, fewer than half of their names have the same parts, or
            no part looks like a label or a speaker.
    """
    files = find_audio([folder]).files
    stems = [PurePath(name).stem for name in files]
    shapes = Counter(_shape(stem) for stem in stems)
    if not shapes:
        raise UserError(f"the folder {folder} holds no audio that can be used.")
    shape, count = shapes.most_common(1)[0]
    if count < _ENOUGH * len(stems) or not shape:
        raise UserError(
            f"the names of the files in {folder} have no common form (first {os.path.relpath(files[0], folder)}); list "
            "them in a table with path, label and speaker."
        )
    rows = [_SEPARATORS.split(stem)[::2] for stem in stems if _shape(stem) == shape]
    columns = [Counter(column) for column in zip(*rows, strict=True)]
    roles = _roles(columns, folder)
    pattern = "".join(
        separator.replace(".", r"\.") + _group(roles.get(place, ""), values)
        for place, (separator, values) in enumerate(zip(("", *shape), columns, strict=True))
    )
    fitting = sum(re.fullmatch(pattern, stem) is not None for stem in stems)
    return Draft(_text(folder, pattern, columns, roles, fitting, len(stems)), fitting, len(stems))


def _shape(stem: str) -> tuple[str, ...]:
    return tuple(_SEPARATORS.split(stem)[1::2])


def _roles(columns: Sequence[Counter[str]], folder: Path) -> dict[int, str]:
    several = {place: list(values) for place, values in enumerate(columns) if len(values) > 1}
    shares = {
        place: sum(map(is_emotion, values)) / len(values)
        for place, values in several.items()
        if len(values) <= _MOST_LABELS
    }
    label = max(shares, key=lambda place: shares[place], default=-1)
    if shares.get(label, 0) < _ENOUGH:
        raise UserError(
            f"no part of the names in {folder} has mostly names of emotions; write the description by hand, or list "
            "the files in a table with path, label and speaker."
        )
    others = {place: values for place, values in several.items() if place != label}
    if not others:
        raise UserError(
            f"no part of the names in {folder} can be a speaker; list the files in a table with path, label and "
            "speaker."
        )
    people = [place for place, values in others.items() if named_like_people(values)]
    speaker = people[0] if people else min(others)
    roles = {label: "label", speaker: "speaker"}
    rest = [place for place in others if place not in roles]
    return roles | {place: f"part{place + 1}" for place in rest}


def _group(role: str, values: Counter[str]) -> str:
    if not role:
        return re.escape(next(iter(values)))
    kind = r"\d+" if all(value.isdecimal() for value in values) else r"[^-_. ]+"
    return f"(?P<{role}>{kind})"


def _text(
    folder: Path, pattern: str, columns: Sequence[Counter[str]], roles: dict[int, str], fitting: int, found: int
) -> str:
    import yaml

    codes = {code: code.lower() for place, role in roles.items() if role == "label" for code in sorted(columns[place])}
    speakers = sum(len(columns[place]) for place, role in roles.items() if role == "speaker")
    described = {
        "title": _NOT_A_WORD.sub(" ", folder.resolve().name).strip() or "my corpus",
        "clips": fitting,
        "speakers": speakers,
        "files": {"pattern": pattern, "codes": {"label": codes}},
    }
    head = (
        f"# A draft from the names of {fitting:,} of {found:,} files. Check which part is the speaker and which the\n"
        "# label, and write each label's name behind its code; an empty name leaves clips out. Rename partN to\n"
        "# sentence if it is the sentence, or to level if it is the intensity.\n"
    )
    text: str = yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=1000)
    return head + text
