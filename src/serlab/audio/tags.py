"""Tags before and after the sound of a file: ID3, APE, Lyrics3, and padding."""

from __future__ import annotations

from serlab.audio.source import Source

_LONGEST_LYRICS = 1 << 20
_MOST_TAGS = 1000


def skip(source: Source, at: int, end: int) -> int:
    """Skip tags and zeros.

    Args:
        source: the file.
        at: offset at which they may begin.
        end: offset at which to stop.

    Returns:
        Offset of the first byte after them, at most ``end``.
    """
    for _ in range(_MOST_TAGS):
        if at >= end:
            break
        start = at
        head = source.at(at, 32)
        if head[:3] == b"ID3":
            at += id3_length(head)
        elif head[:4] == b"TAG+":
            at += 227
        elif head[:3] == b"TAG":
            at += 128
        elif head[:8] == b"APETAGEX":
            at += _ape(head)
        elif head[:11] == b"LYRICSBEGIN":
            at = _behind_lyrics(source, at, end)
        elif head[:1] == b"\0":
            at = source.run_of(0, at, end)
        else:
            at = _behind_bare_ape(source, at, end)
        if at <= start:
            return start
    return min(at, end)


def id3_length(head: bytes) -> int:
    """Length of an ID3v2 tag in bytes, including its footer; ``head`` is its first ten or more bytes."""
    if len(head) < 10 or any(byte & 0x80 for byte in head[6:10]):
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _ape(head: bytes) -> int:
    size, flags = int.from_bytes(head[12:16], "little"), int.from_bytes(head[20:24], "little")
    # The size includes the footer but not the header; the flag marks a header.
    return 32 + size if flags & 1 << 29 else 32


def _behind_lyrics(source: Source, at: int, end: int) -> int:
    for mark in (b"LYRICS200", b"LYRICSEND"):
        found = source.find(mark, at, min(end, at + _LONGEST_LYRICS))
        if found >= 0:
            return found + len(mark)
    return at


def _behind_bare_ape(source: Source, at: int, end: int) -> int:
    """Skip an APE tag of the first version, which only a footer marks, at the end or before an ID3v1 tag."""
    for footer in (end - 32, end - 32 - 128):
        if footer >= at:
            head = source.at(footer, 32)
            if head[:8] == b"APETAGEX" and footer + 32 - int.from_bytes(head[12:16], "little") == at:
                return footer + 32
    return at
