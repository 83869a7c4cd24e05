"""One file over HTTP: continued after a kill, bounded in size, and checked before it gets its name.

An unfinished file ends in ``.part``. Only a file with the expected hash is renamed.
"""

from __future__ import annotations

import hashlib
import http
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from serlab.core import MachineError
from serlab.core.files import unwritable

_TRIES = 4
_TIMEOUT_SECONDS = 60
_PAUSE_SECONDS = 0.5
_BLOCK = 2**16
_UNFINISHED = ".part"
_PAGE = (b"<!doctype html", b"<html")
_GONE = (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Download:
    """A file to get.

    Attributes:
        path: where it will be.
        url: its address.
        most: the largest number of bytes that it can have.
        size: its number of bytes; 0 if that is not known.
        md5: its hash, in hexadecimal; empty if it is not known.
        sha256: likewise.
        headers: of the request.
        instead: where else to get it, a phrase for errors.
    """

    path: Path
    url: str
    most: int
    size: int = 0
    md5: str = ""
    sha256: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    instead: str = "the corpus's own page"

    @property
    def partial(self) -> Path:
        """The unfinished file."""
        return self.path.with_name(self.path.name + _UNFINISHED)

    @property
    def there(self) -> int:
        """Number of bytes that an earlier call got."""
        return self.partial.stat().st_size if self.partial.exists() else 0

    def differs(self, path: Path) -> str:
        """How a file differs from the official one, a phrase; empty if it does not."""
        for kind, expected in (("md5", self.md5), ("sha256", self.sha256)):
            if expected:
                with path.open("rb") as stream:
                    found = hashlib.file_digest(stream, kind)
                if found.hexdigest() != expected:
                    return f"its {kind} is {found.hexdigest()}, not {expected}"
        return ""


def download(file: Download, at: Callable[[int], None] = lambda _: None) -> None:
    """Get a file. It is complete and has the expected hash, or is not there.

    Args:
        file: what to get.
        at: called with the number of bytes that are there so far.

    Raises:
        MachineError: the server cannot be reached or sends something else, or the disk is full.
    """

    def once() -> None:
        resumed = bool(file.there)
        try:
            _append(file, at)
            if wrong := file.differs(file.partial):
                file.partial.unlink()
                raise (_TryAgainError if resumed else MachineError)(
                    f"{file.url} does not send the official file ({wrong}); nothing was kept: get it from "
                    f"{file.instead}."
                )
        except MachineError:
            # What was sent is not the file.
            file.partial.unlink(missing_ok=True)
            raise
        except urllib.error.URLError:
            raise
        except OSError as error:
            raise unwritable(file.partial, error) from error

    tried(file.path.name, file.url, file.instead, once)
    try:
        file.partial.replace(file.path)
    except OSError as error:
        raise unwritable(file.path, error) from error


def answer_of(request: urllib.request.Request, instead: str) -> Any:
    """The JSON that a server answers.

    Raises:
        MachineError: the server cannot be reached, or it does not answer in JSON.
    """

    def once() -> Any:
        with _opened(request) as answer, _network():
            body = answer.read()
        _check_is_no_page(request.full_url, answer, body, instead)
        return json.loads(body)

    return tried(request.full_url, request.full_url, instead, once)


class _TryAgainError(Exception):
    pass


def _append(file: Download, at: Callable[[int], None]) -> None:
    """Get the rest of a file."""
    file.partial.parent.mkdir(parents=True, exist_ok=True)
    there = file.there
    if there > (file.size or file.most):
        file.partial.unlink()
        there = 0
    if file.size and there == file.size:
        return
    headers = {**file.headers, **({"Range": f"bytes={there}-"} if there else {})}
    try:
        answer = _opened(urllib.request.Request(file.url, headers=headers))
    except urllib.error.HTTPError as error:
        if there and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # The file has changed, or was complete without our knowing.
            file.partial.unlink()
            raise _TryAgainError("the server cannot continue it") from error
        raise
    with answer:
        # A server without ranges sends the whole file.
        if not (there and _continues(answer, there)):
            there = 0
        promised = _length(answer)
        with file.partial.open("ab" if there else "wb") as stream:
            at(there)
            got = 0
            while block := _block(answer):
                if not there and not got:
                    _check_is_no_page(file.url, answer, block, file.instead)
                got += len(block)
                if there + got > (file.size or file.most):
                    raise MachineError(
                        f"{file.url} sends more than {file.size or file.most:,} bytes, the most that the official file "
                        f"can have; get it from {file.instead}."
                    )
                stream.write(block)
                at(there + got)
    if got < promised or there + got < file.size:
        raise http.client.IncompleteRead(b"")


def _continues(answer: http.client.HTTPResponse, there: int) -> bool:
    begins = (answer.headers["Content-Range"] or "").partition("-")[0]
    return answer.status == http.HTTPStatus.PARTIAL_CONTENT and begins in ("", f"bytes {there}")


def _length(answer: http.client.HTTPResponse) -> int:
    length = answer.headers["Content-Length"] or ""
    return int(length) if length.isdecimal() else 0


def _opened(request: urllib.request.Request) -> http.client.HTTPResponse:
    from serlab import __version__

    request.add_header("User-Agent", f"serlab/{__version__}")
    try:
        with _network():
            answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        raise
    return answer


def _block(answer: http.client.HTTPResponse) -> bytes:
    with _network():
        return answer.read(_BLOCK)


@contextmanager
def _network() -> Iterator[None]:
    """Tell faults of the network, any OSError (of SSL, of a route), from those of the disk."""
    try:
        yield
    except urllib.error.URLError:
        raise
    except OSError as error:
        raise urllib.error.URLError(error) from error


def _check_is_no_page(url: str, answer: http.client.HTTPResponse, block: bytes, instead: str) -> None:
    """Refuse what login pages and proxies send."""
    if answer.headers.get_content_type() == "text/html" or block.lstrip().lower().startswith(_PAGE):
        raise MachineError(
            f"{url} sends a web page instead of the file (a login or proxy page?); open the address in a browser "
            f"to see it, or get the file from {instead}."
        )


def tried(what: str, url: str, instead: str, action: Callable[[], Result]) -> Result:
    """Try several times, with longer pauses."""
    for attempt in range(1, _TRIES + 1):
        try:
            return action()
        except (urllib.error.URLError, http.client.HTTPException, ValueError, _TryAgainError) as error:
            code = error.code if isinstance(error, urllib.error.HTTPError) else 0
            if 400 <= code < 500 and code != http.HTTPStatus.TOO_MANY_REQUESTS:
                what_it_says = "does not exist any more" if code in _GONE else "refuses access"
                raise MachineError(f"{url} {what_it_says} (HTTP {code}); get it from {instead}.") from error
            if attempt == _TRIES:
                raise MachineError(
                    f"{what} cannot be fetched ({_why(error)}); run the command again: it continues where it stopped."
                ) from error
            time.sleep(_PAUSE_SECONDS * 2 ** (attempt - 1))
    raise AssertionError


def _why(error: Exception) -> str:
    if isinstance(error, http.client.IncompleteRead):
        return "the connection ended too early"
    # An HTTPError, which is a URLError too, says more than its reason.
    if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError):
        return str(error.reason).rstrip(".")
    return str(error).rstrip(".")
