"""Get a corpus from its Git LFS server over HTTPS: no git is needed, since the official list has the hashes.

Source: the batch API of Git LFS,
https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md (transfer ``basic``).
"""

from __future__ import annotations

import http
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serlab.core import MachineError, UserError, argument
from serlab.core.files import sha256_file, unwritable
from serlab.core.progress import bar
from serlab.corpora.described import official_clips
from serlab.corpora.description import Description
from serlab.corpora.scan import in_threads

_TYPE = "application/vnd.git-lfs+json"
_AT_ONCE, _THREADS = 20, 8
_TRIES = 4
_TIMEOUT_SECONDS = 60
_PAUSE_SECONDS = 0.5
_BLOCK = 2**16
_UNFINISHED = ".part"


@dataclass(frozen=True)
class Wanted:
    """One file to get.

    Attributes:
        path: where it will be.
        sha256: its official hash.
        size: its official size in bytes.
    """

    path: Path
    sha256: str
    size: int


def wanted(description: Description, folder: Path) -> tuple[list[Wanted], int]:
    """List the files that are still to be fetched.

    Args:
        description: of the corpus.
        folder: where the corpus is, or will be.

    Returns:
        These files, and the number of official files that are there already.

    Raises:
        UserError: serlab cannot get this corpus, or the folder contains other files with official
            names.
    """
    how = description.fetch
    if how is None:
        raise UserError(
            f"serlab cannot get {description.title}; get it from {description.obtain}, and give its folder as "
            f"{argument('data')}."
        )
    rows = official_clips(description)
    files = [
        Wanted(folder / how.folder / str(row["file"]), str(row["sha256"]), int(row["bytes"]))
        for row in rows.to_dict("records")
    ]
    there = [file for file in files if file.path.exists()]
    same = in_threads(_is_official, there, f"checking {description.name}") if there else []
    differing = [file for file, official in zip(there, same, strict=True) if not official]
    if differing:
        raise UserError(
            f"{folder} contains {len(differing):,} of the official names with other content (first "
            f"{differing[0].path}); choose another folder, or remove these files."
        )
    have = {file.path for file in there}
    return [file for file in files if file.path not in have], len(have)


def _is_official(file: Wanted) -> bool:
    return file.path.stat().st_size == file.size and sha256_file(file.path) == file.sha256


def get(description: Description, files: Sequence[Wanted]) -> None:
    """Fetch files; each is complete and has its official hash, or is not there.

    An unfinished file ends in ``.part``, and a later call resumes it.

    Args:
        description: of the corpus.
        files: from :func:`wanted`.

    Raises:
        MachineError: the server cannot be reached or sends wrong bytes, or the disk is full.
    """
    if description.fetch is None or not files:
        return
    server = description.fetch.lfs
    batches = [files[start : start + _AT_ONCE] for start in range(0, len(files), _AT_ONCE)]
    pool = ThreadPoolExecutor(_THREADS)
    try:
        with bar(f"getting {description.name}", len(files)) as progress:
            for count in pool.map(lambda batch: _get_batch(server, batch), batches):
                progress.advance(count)
    finally:
        pool.shutdown(cancel_futures=True)


def _get_batch(server: str, files: Sequence[Wanted]) -> int:
    actions = _actions(server, files)
    for file in files:
        _get_file(file, actions[file.sha256])
    return len(files)


def _actions(server: str, files: Sequence[Wanted]) -> dict[str, Mapping[str, Any]]:
    """Ask the server where the files are: hash -> address and headers."""
    objects = [{"oid": file.sha256, "size": file.size} for file in files]
    question = {"operation": "download", "transfers": ["basic"], "hash_algo": "sha256", "objects": objects}
    request = urllib.request.Request(
        f"{server}/objects/batch", json.dumps(question).encode(), {"Accept": _TYPE, "Content-Type": _TYPE}
    )
    answer = _tried(server, lambda: _json(request))
    try:
        found = {each["oid"]: each for each in answer["objects"]}
        refused = next((found[file.sha256].get("error") for file in files if "error" in found[file.sha256]), None)
        if refused is not None:
            raise MachineError(f"{server} does not give a file ({refused.get('message', refused)}); try again later.")
        return {oid: each["actions"]["download"] for oid, each in found.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise MachineError(f"the answer of {server} is not that of a Git LFS server; try again later.") from error


def _json(request: urllib.request.Request) -> Any:
    with _opened(request) as answer:
        return json.loads(answer.read())


def _get_file(file: Wanted, action: Mapping[str, Any]) -> None:
    partial = file.path.with_name(file.path.name + _UNFINISHED)

    def once() -> None:
        try:
            _append(partial, file.size, action)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError):
            raise
        except OSError as error:
            raise unwritable(partial, error) from error
        if sha256_file(partial) != file.sha256:
            partial.unlink()
            raise _WrongBytesError("its bytes are not the official ones")

    _tried(str(file.path.name), once)
    try:
        partial.replace(file.path)
    except OSError as error:
        raise unwritable(file.path, error) from error


class _WrongBytesError(Exception):
    pass


def _append(partial: Path, size: int, action: Mapping[str, Any]) -> None:
    """Get the rest of a file."""
    partial.parent.mkdir(parents=True, exist_ok=True)
    there = partial.stat().st_size if partial.exists() else 0
    if there > size:
        partial.unlink()
        there = 0
    if there == size:
        return
    headers = dict(action.get("header") or {})
    if there:
        headers["Range"] = f"bytes={there}-"
    with _opened(urllib.request.Request(str(action["href"]), headers=headers)) as answer:
        # A server without ranges sends the whole file.
        resumed = there and answer.status == http.HTTPStatus.PARTIAL_CONTENT
        with partial.open("ab" if resumed else "wb") as stream:
            while block := answer.read(_BLOCK):
                stream.write(block)
    if partial.stat().st_size < size:
        raise http.client.IncompleteRead(b"")


def _opened(request: urllib.request.Request) -> http.client.HTTPResponse:
    answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    return answer


def _tried(what: str, action: Any) -> Any:
    """Try several times, with longer pauses."""
    for attempt in range(1, _TRIES + 1):
        try:
            return action()
        except (
            urllib.error.URLError,
            http.client.HTTPException,
            TimeoutError,
            ConnectionError,
            ValueError,
            _WrongBytesError,
        ) as error:
            lost = isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500
            if attempt == _TRIES or lost:
                why = "the connection ended too early" if isinstance(error, http.client.IncompleteRead) else error
                raise MachineError(
                    f"{what} cannot be fetched ({str(why).rstrip('.')}); run the command again: it continues where it "
                    "stopped."
                ) from error
            time.sleep(_PAUSE_SECONDS * 2 ** (attempt - 1))
    raise AssertionError
