"""Read descriptions of corpora from YAML and check them."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from serlab.core import UserError
from serlab.core.settings import build, read_yaml
from serlab.corpora.description import Description


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
    return _read(text, name, f"the description of the corpus {name}")


def read_own(path: Path) -> Description:
    """Read a user's own description.

    Args:
        path: a YAML file; its name without extension is the corpus's name. All keys of
            :class:`Description` are optional, except ``files``.

    Raises:
        UserError: as for :func:`read_description`, or it needs a file that only serlab's own
            descriptions have.
    """
    where = f"the description {path}"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UserError(f"{where} cannot be read ({why}); save it as YAML in UTF-8.") from error
    found = _read(text, path.stem, where)
    for key, value in (("python", found.python), ("files: official", found.files.official)):
        if value:
            raise UserError(f"{where}: {key} is for the corpora that serlab knows by name; leave it out.")
    return found


def _read(text: str, name: str, where: str) -> Description:
    described: Description = replace(build(Description, read_yaml(text, where), where), name=name)
    meanings = {*described.files.codes.get("label", {}).values()}
    for table in described.tables:
        meanings |= {*table.codes.get("label", {}).values()}
    labels = described.labels or tuple(sorted(meanings - {""}))
    described = replace(described, title=described.title or name, labels=labels)
    wrong = next(_contradictions(described), "")
    if wrong:
        raise UserError(f"{where}: {wrong}{'' if wrong.endswith('?') else '.'}")
    return described


def _contradictions(described: Description) -> Iterator[str]:
    if list(described.labels) != sorted(set(described.labels)):
        yield "labels must be in alphabetical order, each once"
    for name, protocol in described.protocols.items():
        if not re.fullmatch(r"[\w-]+", name):
            yield f"protocols: {name!r} is not a name of letters, digits, _ and -; choose another"
        if not (protocol.folds or protocol.partitions or described.python):
            yield f"protocols: {name} has no folds; give them, or a Python module that computes them"
    yield from _contradictions_of_fetch(described)
    if described.files.pattern:
        yield from _contradictions_of_names(described)
    elif not described.python:
        yield "files: pattern is missing; write how a file name gives speaker and label"


def _contradictions_of_fetch(described: Description) -> Iterator[str]:
    fetch = described.fetch
    if fetch is None:
        return
    if not _FOLDER_NAME.fullmatch(fetch.folder):
        yield f"fetch: folder is {fetch.folder!r}; write the name of one folder"
    if bool(fetch.lfs) == (fetch.archive is not None):
        yield "fetch has no source, or two; give lfs or archive"
    if fetch.lfs and not described.files.official:
        yield "fetch: lfs needs files: official, a list with hashes"
    if not (fetch.lfs or (fetch.archive and fetch.archive.url) or "").startswith("https://"):
        yield "fetch has an address that does not begin with https://"
    archive = fetch.archive
    if archive is None:
        return
    if bool(archive.md5) == bool(archive.tree):
        yield "fetch: archive needs md5 or tree, and not both"
    for key, digits in (("md5", 32), ("tree", 40)):
        value = getattr(archive, key)
        if value and not re.fullmatch(rf"[0-9a-f]{{{digits}}}", value):
            yield f"fetch: archive: {key} is {value!r}; write {digits} hexadecimal digits"
    if archive.unpacked <= 0 or archive.size < 0:
        yield "fetch: archive: unpacked must be a number of bytes"


def _contradictions_of_names(described: Description) -> Iterator[str]:
    files = described.files
    try:
        groups = set(files.whole_name.groupindex)
    except re.error as error:
        yield f"files: pattern is not a regular expression ({error})"
        return
    try:
        _ = files.ends
    except re.error as error:
        yield f"files: paths has a key that is not a regular expression ({error})"
    for column, text in files.made.items():
        if unsaid := set(re.findall(r"{(\w+)}", text)) - groups:
            yield f"files: made: {column} uses {min(unsaid)!r}, which is not a group of files: pattern"
    given = [*groups, *files.made, *described.attributes]
    given += [column for table in described.tables for column in (*table.columns.values(), *table.same)]
    if taken := _OWN & set(given):
        yield f"{min(taken)!r} is a column that serlab makes itself; choose another name"
    listed = {name for table in described.listing for name in (*table.columns.values(), *table.same)}
    columns = groups | set(files.made) | listed
    joined = [column for table in described.tables if not table.lists_clips for column in table.columns.values()]
    counts = Counter([*columns, *described.attributes, *joined])
    if twice := [name for name, count in counts.items() if count > 1]:
        yield f"the column {min(twice)!r} is given twice, by names, attributes or tables; keep one"
    if (lacking := {"speaker", "label"} - columns) and not described.python:
        yield f"files: pattern has no group {min(lacking)!r}; write it (?P<{min(lacking)}>...)"
    if spare := set(files.codes) - groups:
        near = difflib.get_close_matches(min(spare), groups, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        yield f"files: codes has {min(spare)!r}, which is not a group of files: pattern{hint}"
    if unsaid := set(files.every.fields) - set(files.every.values) - set(files.codes):
        yield f"files: every: {min(unsaid)} has no values; give them, or codes"
    meant = [
        codes["label"] for codes in (files.codes, *(table.codes for table in described.tables)) if "label" in codes
    ]
    for codes in meant:
        if set(codes.values()) - {""} != set(described.labels):
            yield f"files: codes: label must name each of the labels {', '.join(described.labels)} and no other"


_OWN = frozenset({"clip", "path", "duration", "sample_rate", "sha256"})
_FOLDER = "known"
_FOLDER_NAME = re.compile(r"[\w-][\w .-]*")


def _known_folder() -> Traversable:
    return resources.files("serlab.corpora") / _FOLDER


@cache
def _files() -> Mapping[str, Traversable]:
    """The description's file of each known corpus."""
    found = (item for item in _known_folder().iterdir() if item.name.endswith(".yaml"))
    return {item.name.removesuffix(".yaml"): item for item in found}


@cache
def _description(name: str) -> Description:
    return read_description(_files()[name].read_text(encoding="utf-8"), name)


class _Descriptions(Mapping[str, Description]):
    """Descriptions by name, each read when it is asked for: YAML takes 10 ms per corpus."""

    def __getitem__(self, name: str) -> Description:
        return _description(name)

    def __contains__(self, name: object) -> bool:
        return name in _files()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(_files()))

    def __len__(self) -> int:
        return len(_files())


_KNOWN = _Descriptions()


def descriptions() -> Mapping[str, Description]:
    """The descriptions of all known corpora, by name."""
    return _KNOWN


_PART = re.compile(r"-(?:smoke|limit\d+)$")


def describe(name: str) -> Description | None:
    """Find the description of a known corpus.

    Args:
        name: its name, or the name of a part of it, such as ``crema-d-limit20``.

    Returns:
        The description, or None if the corpus is not a known one.
    """
    name = _PART.sub("", name)
    return _KNOWN.get(name)
