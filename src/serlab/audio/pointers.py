"""Placeholders of Git LFS, git-annex or DVC whose content was not fetched."""

from __future__ import annotations

import re
from pathlib import Path

LONGEST_HEAD = 256
"""Number of first bytes that :func:`why_pointer` needs."""

_GIT_LFS = b"version https://git-lfs"
# Unlocked files contain the first one; the others are links that became text on some file systems
# and in archives.
_GIT_ANNEX = re.compile(rb"/annex/objects/|[./]{1,300}\.git/annex/objects/")
_ANNEX_HINT = "(git annex get fetches it)"


def why_pointer(head: bytes) -> str:
    """Why a file is a pointer instead of audio.

    Args:
        head: its first bytes.

    Returns:
        A phrase; empty if it is not a pointer.

    >>> why_pointer(b"version https://git-lfs.github.com/spec/v1")
    'a Git LFS pointer, not the audio itself (git lfs pull gets it)'
    """
    if head.startswith(_GIT_LFS):
        return "a Git LFS pointer, not the audio itself (git lfs pull gets it)"
    if _GIT_ANNEX.match(head):
        return f"a git-annex pointer, not the audio itself {_ANNEX_HINT}"
    return ""


def why_absent(path: Path | str) -> str:
    """Why a path does not lead to a file, as a phrase."""
    try:
        target = str(Path(path).readlink())
    except OSError:
        return "no such file"
    if "annex/objects/" in target:
        return f"a git-annex link without its content {_ANNEX_HINT}"
    if ".dvc/" in target or "/dvc/" in target or "/files/md5/" in target:
        return "a link to DVC data that is not here (dvc pull fetches it)"
    return "a link to a file or folder that is not there"
