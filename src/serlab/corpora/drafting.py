"""Draft a description of a corpus from the names of its files."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from serlab.audio import find_audio
from serlab.core import UserError
from serlab.corpora.emotions import key, table
from serlab.corpora.levels import read_levels
from serlab.corpora.spelling import is_emotion, named_like_people

_SEPARATORS = re.compile(r"([-_. ]+)")
_ENOUGH = 0.5
_MOST_LABELS = 20
# Values in fewer files are those of odd files; a label in one of 200 files cannot be learned anyway.
_RARE = 0.005
_CODE = re.compile(r"[A-Z]{2,3}\d{1,2}")
_CLEARLY = 2
_FOLDER = "[^/]+"
_LETTERS = re.compile(r"[\d_]+")
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

    Names are divided at ``-``, ``_``, ``.`` and blanks. The label is the part with the largest share
    of names of emotions, at least half, or else a part with one value per folder if the folders
    have names of emotions. The speaker is the part whose values look most like people, or else the
    file's folder if folders have names of people, or else the first other part with several values.

    Args:
        folder: with audio files at any depth.

    Raises:
        UserError: it is not a folder, there are no audio files, fewer than half of their names have the same parts, or
            no part looks like a label or a speaker.
    """
    if folder.is_file():
        raise UserError(f"{folder} is a file; expected a folder, whose file names the draft is made from.")
    files = find_audio([folder]).files
    stems = [PurePath(name).stem for name in files]
    shapes = Counter(_shape(stem) for stem in stems)
    if not shapes:
        raise UserError(f"the folder {folder} holds no audio that can be used.")
    shape, count = shapes.most_common(1)[0]
    fitting = [(name, stem) for name, stem in zip(files, stems, strict=True) if _shape(stem) == shape]
    folders = [PurePath(os.path.relpath(name, folder)).parts[:-1] for name, _ in fitting]
    people = _people_in(folders, [stem for _, stem in fitting])
    if count < _ENOUGH * len(stems) or not (shape or people):
        raise UserError(
            f"the names of the files in {folder} have no common form (first {os.path.relpath(files[0], folder)}); list "
            "them in a table with path, label and speaker."
        )
    rows = [_SEPARATORS.split(stem)[::2] for _, stem in fitting]
    columns = [Counter(column) for column in zip(*rows, strict=True)]
    label, codes = _label(columns, rows, folders, folder)
    roles = _roles(columns, label, folder, people=bool(people))
    pattern = "".join(
        separator.replace(".", r"\.") + _group(roles.get(place, ""), values)
        for place, (separator, values) in enumerate(zip(("", *shape), columns, strict=True))
    )
    read = [found for stem in stems if (found := re.fullmatch(pattern, stem)) and found["label"] in codes]
    files_of = {"pattern": pattern, "codes": {"label": codes}}
    if "speaker" in roles.values():
        speakers = {found["speaker"] for found in read}
    else:
        speakers = set(people)
        files_of["pattern"] = f"(?P<speaker>{_FOLDER})_{pattern}"
        files_of["paths"] = {f"(?P<speaker>{_FOLDER})/(?P<rest>{pattern})": r"\g<speaker>_\g<rest>"}
    return Draft(_text(folder, files_of, len(speakers), len(read), len(stems)), len(read), len(stems))


def _people_in(folders: Sequence[Sequence[str]], stems: Sequence[str]) -> list[str]:
    """The names of the files' own folders, if they are names of people and not of emotions; else empty.

    Names of people are not always known, but most files then have the name of one in another folder.
    """
    if not all(folders):
        return []
    places = {(names[-1], stem) for names, stem in zip(folders, stems, strict=True)}
    own, counts = sorted({place for place, _ in places}), Counter(stem for _, stem in places)
    repeated = sum(count for count in counts.values() if count > 1) > len(places) / 2
    return own if len(own) > 1 and (named_like_people(own) or (repeated and not any(map(is_emotion, own)))) else []


def _shape(stem: str) -> tuple[str, ...]:
    return tuple(_SEPARATORS.split(stem)[1::2])


def _label(
    columns: Sequence[Counter[str]], rows: Sequence[Sequence[str]], folders: Sequence[Sequence[str]], folder: Path
) -> tuple[int, dict[str, str]]:
    """The part of the names that is the label, and the meaning of each of its codes."""
    frequent = {place: _frequent(values) for place, values in enumerate(columns)}
    shares = {
        place: sum(map(is_emotion, values)) / len(values)
        for place, values in frequent.items()
        if 1 < len(values) <= _MOST_LABELS
    }
    label = max(shares, key=lambda place: shares[place], default=-1)
    same = next((value for values in columns if len(values) == 1 for value in values if _emotion(value)), "")
    if same and not any(map(_emotion, frequent.get(label, ()))):
        raise UserError(
            f"all names in {folder} have the same emotion, {same}, but a corpus needs several; give the folder with "
            "all of its clips."
        )
    if shares.get(label, 0) >= _ENOUGH:
        return label, _meanings({code: code for code in frequent[label]})
    for place in shares:
        if codes := _codes_of_folders([row[place] for row in rows], frequent[place], folders):
            return place, _meanings(codes)
    levels = read_levels(["/".join((*names, "clip")) for names in folders])
    by_folder = (
        f"give {folder} itself as the corpus, whose folders name labels, or " if _say_labels(levels, folders) else ""
    )
    raise UserError(
        f"no part of the names in {folder} has mostly names of emotions; {by_folder}write the description by hand, or "
        "list the files in a table with path, label and speaker."
    )


def _say_labels(levels: Mapping[str, int] | None, folders: Sequence[Sequence[str]]) -> bool:
    return levels is not None and all(is_emotion(names[levels["label"]]) for names in folders)


def _frequent(values: Counter[str]) -> list[str]:
    """The values without those of a few odd files."""
    least = _RARE * values.total()
    return sorted(value for value, count in values.items() if count >= least)


def _codes_of_folders(
    values: Sequence[str], frequent: Sequence[str], folders: Sequence[Sequence[str]]
) -> dict[str, str]:
    """Frequent value -> name of its folder, if a level of folders has names of emotions, one per value; or empty."""
    for place in range(min(map(len, folders), default=0)):
        pairs = {(value, names[place]) for value, names in zip(values, folders, strict=True) if value in frequent}
        codes = dict(pairs)
        one_to_one = len(pairs) == len(codes) == len(set(codes.values()))
        if len(codes) > 1 and one_to_one and all(map(is_emotion, codes.values())):
            return codes
    return {}


def _emotion(name: str) -> str | None:
    return table().names.get(key(_LETTERS.sub(" ", name)))


def _meanings(names: Mapping[str, str]) -> dict[str, str]:
    """Code -> the emotion that its name means, or the name itself if that is not known or not unique."""
    known = {code: _emotion(name) for code, name in names.items()}
    counts = Counter(known.values())
    return {
        code: emotion if (emotion := known[code]) and counts[emotion] == 1 else names[code].lower()
        for code in sorted(names)
    }


def _roles(columns: Sequence[Counter[str]], label: int, folder: Path, *, people: bool) -> dict[int, str]:
    """The role of each part that varies; without a speaker if folders have names of people and no part looks so."""
    others = {place: list(values) for place, values in enumerate(columns) if len(values) > 1 and place != label}
    like = {place: _like_people(_frequent(columns[place])) for place in others}
    if people and max(like.values(), default=0) < _CLEARLY:
        return {label: "label"} | {place: f"part{place + 1}" for place in others}
    if not others:
        raise UserError(
            f"no part of the names in {folder} can be a speaker; list the files in a table with path, label and "
            "speaker."
        )
    speaker = max(others, key=lambda place: (like[place], -place))
    roles = {label: "label", speaker: "speaker"}
    rest = [place for place in others if place not in roles]
    return roles | {place: f"part{place + 1}" for place in rest}


def _like_people(values: Sequence[str]) -> int:
    """How much values look like speakers: 3 for ``WR0``, ``p01`` or ``1001``, 2 for ``DC``, 1 for ``1`` to ``24``."""
    if not values or not named_like_people(values):
        return 3 * (len(values) > 1 and all(map(_CODE.fullmatch, values)))
    if all(value.isalpha() and value.isupper() for value in values):
        return 2
    few_digits = all(value.isdecimal() and len(str(int(value))) < 3 for value in values)
    return 1 if few_digits else 3


def _group(role: str, values: Counter[str]) -> str:
    if not role:
        return re.escape(next(iter(values)))
    kind = r"\d+" if all(value.isdecimal() for value in values) else r"[^-_. /]+"
    return f"(?P<{role}>{kind})"


def _text(folder: Path, files: Mapping[str, object], speakers: int, fitting: int, found: int) -> str:
    import yaml

    described = {
        "title": _NOT_A_WORD.sub(" ", folder.resolve().name).strip() or "my corpus",
        "clips": fitting,
        "speakers": speakers,
        "files": dict(files),
    }
    head = (
        f"# A draft from the names of {fitting:,} of {found:,} files. Check which part is the speaker and which the\n"
        "# label, and the meaning of each code; an empty meaning leaves clips out. Rename partN to sentence if it is\n"
        "# the sentence, or to level if it is the intensity.\n"
    )
    text: str = yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=1000)
    return head + text
