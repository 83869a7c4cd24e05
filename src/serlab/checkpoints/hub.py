"""The Hugging Face hub: names of its models, downloads, and one sentence for each way to fail."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from serlab.core import MachineError, SerlabError, UserError, causes
from serlab.core.files import unwritable

MODEL_FILES = ("*.json", "*.safetensors", "pytorch_model.bin", "README.md")
"""Files of a model folder that are downloaded; code and other formats are not."""

_NAME = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?")
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
LOGIN = "log in with hf auth login, or set HF_TOKEN"
REFUSED = "the hub refuses your token; log in again with hf auth login, or set another HF_TOKEN."


class UnreachableError(MachineError):
    """The hub cannot be reached, and there is no earlier download."""


def parsed(text: str) -> tuple[str, str | None] | None:
    """Repository and revision of ``owner/name`` or ``owner/name@revision``; None for anything else.

    >>> parsed("me/my-model@v1.0"), parsed("my-model"), parsed("./a/b")
    (('me/my-model', 'v1.0'), None, None)
    """
    found = _NAME.fullmatch(text)
    return None if found is None else (found["name"], found["revision"])


def located(folder: Path | str) -> Path | str:
    """A model as given, or the folder in the hub's cache if it is ``owner/name`` on the hub and not a local path.

    Args:
        folder: a folder, or ``owner/name`` or ``owner/name@revision`` on the hub. If there is a folder ``owner``, the
            text is a path.

    Raises:
        UserError, MachineError: as for :func:`download`.
    """
    path = Path(folder)
    name = os.fspath(folder) if isinstance(folder, str) else path.as_posix()
    if os.path.lexists(path) or path.parent.is_dir() or parsed(name) is None:
        return folder
    return download(name, MODEL_FILES)


def download(text: str, patterns: Sequence[str], *, offline: bool = False) -> Path:
    """Download a model; a broken connection is resumed, and files that were complete are not downloaded again.

    Args:
        text: ``owner/name``, or ``owner/name@revision``.
        patterns: names of the files.
        offline: only find what was downloaded earlier.

    Returns:
        Its folder in the hub's cache.

    Raises:
        UserError: there is no such model or revision, or it needs permission.
        MachineError: the hub cannot be reached, or the disk is full.
    """
    from huggingface_hub import snapshot_download

    name, revision = parsed(text) or (text, None)
    try:
        with quietly():
            return Path(
                snapshot_download(name, revision=revision, allow_patterns=list(patterns), local_files_only=offline)
            )
    except Exception as error:
        if not of_the_hub(error):
            raise
        raise explained(error, text) from error


def explained(error: Exception, text: str) -> SerlabError:
    """The sentence for an error of huggingface_hub, for a download.

    Args:
        error: what it raised.
        text: the model, perhaps with a revision.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, revision = parsed(text) or (text, None)
    if isinstance(error, GatedRepoError):
        return UserError(f"the hub's model {name} is gated: accept its terms on its page, and {LOGIN}.")
    if isinstance(error, RevisionNotFoundError):
        return UserError(f"the hub's model {name} has no revision {revision}; check it, or omit @{revision}.")
    if status_of(error) == 401 and not isinstance(error, RepositoryNotFoundError):
        return UserError(REFUSED)
    if isinstance(error, (RepositoryNotFoundError, HFValidationError)):
        return UserError(f"the hub has no model {name}; check the name, and if it is private, {LOGIN}.")
    if full := next((each for each in causes(error) if isinstance(each, OSError) and each.errno in _DISK), None):
        from huggingface_hub import constants

        return unwritable(Path(full.filename or constants.HF_HUB_CACHE), full)
    return UnreachableError(
        f"{name} was not downloaded before, and the hub cannot be reached: go online and try again."
    )


@contextmanager
def quietly() -> Iterator[None]:
    """Silence huggingface_hub's warnings about each attempt; the last error becomes a sentence."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def of_the_hub(error: Exception) -> bool:
    """Whether huggingface_hub raises such errors for what happens on the network, the hub or the disk."""
    return isinstance(error, (OSError, ValueError)) or any(
        type(link).__module__.startswith(("httpx", "huggingface_hub")) for link in causes(error)
    )


def status_of(error: Exception) -> int | None:
    """HTTP status of the answer behind an error, if there is one."""
    for link in causes(error):
        status = getattr(getattr(link, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
    return None
