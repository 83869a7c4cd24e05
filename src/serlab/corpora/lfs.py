"""Files of a Git LFS server over HTTPS: no git is needed, since the official list has the hashes.

Source: the batch API of Git LFS,
https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md (transfer ``basic``).
"""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from serlab.core import MachineError
from serlab.core.progress import bar
from serlab.corpora.downloads import Download, answer_of, download

_TYPE = "application/vnd.git-lfs+json"
_AT_ONCE, _THREADS = 20, 8


def get_from_lfs(server: str, files: Sequence[Download], title: str) -> None:
    """Get files in threads, with a progress bar.

    Args:
        server: its address without ``/objects/batch``.
        files: each with ``size`` and ``sha256``; the server says where they are.
        title: of the bar.

    Raises:
        MachineError: as for :func:`serlab.corpora.downloads.download`, or the server refuses a file.
    """
    batches = [files[start : start + _AT_ONCE] for start in range(0, len(files), _AT_ONCE)]
    pool, stop = ThreadPoolExecutor(_THREADS), threading.Event()
    try:
        with bar(title, len(files)) as progress:
            for count in pool.map(lambda batch: _get_batch(server, batch, stop), batches):
                progress.advance(count)
    finally:
        # After Ctrl-C, as after an error, a thread ends with its file and not with its batch.
        stop.set()
        pool.shutdown(cancel_futures=True)


def _get_batch(server: str, files: Sequence[Download], stop: threading.Event) -> int:
    try:
        for file in _located(server, files):
            if stop.is_set():
                break
            download(file)
    except MachineError:
        stop.set()
        raise
    return len(files)


def _located(server: str, files: Sequence[Download]) -> list[Download]:
    """Ask the server where files are."""
    objects = [{"oid": file.sha256, "size": file.size} for file in files]
    question = {"operation": "download", "transfers": ["basic"], "hash_algo": "sha256", "objects": objects}
    request = urllib.request.Request(
        f"{server}/objects/batch", json.dumps(question).encode(), {"Accept": _TYPE, "Content-Type": _TYPE}
    )
    answer = answer_of(request, files[0].instead)
    try:
        found = {each["oid"]: each for each in answer["objects"]}
        refused = next((found[file.sha256].get("error") for file in files if "error" in found[file.sha256]), None)
        if refused is not None:
            raise MachineError(f"{server} does not give a file ({refused.get('message', refused)}); try again later.")
        actions = [found[file.sha256]["actions"]["download"] for file in files]
        return [
            replace(file, url=str(action["href"]), headers=dict(action.get("header") or {}))
            for file, action in zip(files, actions, strict=True)
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise MachineError(f"the answer of {server} is not that of a Git LFS server; try again later.") from error
