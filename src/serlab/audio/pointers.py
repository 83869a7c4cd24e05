"""Recordings that are not there: what stands for one that Git LFS, git-annex or DVC has not fetched yet."""

from __future__ import annotations

import re
from pathlib import Path

LONGEST_HEAD = 256
"""Bytes of a file's beginning that :func:`why_pointer` wants to see."""

_GIT_LFS = b"version https://git-lfs"
# An unlocked file holds the first; the others are links that a file system or an archive has turned into text.
_GIT_ANNEX = re.compile(rb"/annex/objects/|[./]{1,300}\.git/annex/objects/")
_ANNEX_HINT = "(git annex get fetches it)"


def why_pointer(head: bytes) -> str:
    """Why a file is none of the audio that its name promises.

    Args:
        head: its first bytes.

    Returns:
        A phrase; empty where it is no pointer.

    >>> why_pointer(b"version https://git-lfs.github.com/spec/v1")
    'a Git LFS pointer, not the audio itself (git lfs pull gets it)'
    """
    if head.startswith(_GIT_LFS):
        return "a Git LFS pointer, not the audio itself (git lfs pull gets it)"
    if _GIT_ANNEX.match(head):
        return f"a git-annex pointer, not the audio itself {_ANNEX_HINT}"
    return ""


def why_absent(path: Path | str) -> str:
    """Why there is no file behind a path, as a phrase."""
    try:
        target = str(Path(path).readlink())
    except OSError:
        return "no such file"
    if "annex/objects/" in target:
        return f"a git-annex link without its content {_ANNEX_HINT}"
    if ".dvc/" in target or "/dvc/" in target or "/files/md5/" in target:
        return "a link to DVC data that is not here (dvc pull fetches it)"
    return "a link to a file or folder that is not there"
