"""Check that an Ogg file is complete (RFC 3533): numbers and checksums of pages, and the mark on the last one."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from serlab.audio.source import FaultError, Part, Source, steps

_PAGE = struct.Struct("<4sBBqIIIB")
# Ogg's checksum processes the highest bit of a byte first, zlib's the lowest.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_AUDIO = {b"\x01vorbis": "vorbis", b"OpusHead": "opus", b"\x7fFLAC": "flac", b"Speex   ": "speex"}


@dataclass
class Stream:
    """One logical stream.

    Attributes:
        codec: its codec; empty if it is not audio.
        head: the start of its first packet.
        granule: the last page's position, in samples.
    """

    codec: str
    head: bytes
    granule: int = -1
    _next: int = 0
    _ended: bool = False


@dataclass
class Link:
    """One recording between two beginnings, of one stream or of several in parallel.

    Attributes:
        start: its first byte.
        end: the byte after its last.
        streams: by serial number.
    """

    start: int
    end: int
    streams: dict[int, Stream] = field(default_factory=dict)


def examine(source: Source, start: int) -> list[Link]:
    """Walk over all pages of an Ogg file.

    Args:
        source: the file.
        start: offset of its first page.

    Returns:
        Its recordings, in order; more than one if files were joined end to end.

    Raises:
        FaultError: a page is missing, damaged or cut off.
    """
    links: list[Link] = []
    at = start
    beginning = False
    for _ in steps():
        if at >= source.size:
            break
        head = source.at(at, 27)
        if head[:4] != b"OggS":
            if links and source.find(b"OggS", at, source.size) < 0:
                break  # Padding or a tag; the mark on the last page is checked below.
            raise FaultError(f"damaged: no Ogg page where one should be, at byte {at}")
        if len(head) < 27:
            raise FaultError("truncated: its last Ogg page is missing")
        _, _, flags, granule, serial, number, checksum, count = _PAGE.unpack(head)
        table = source.at(at + 27, count)
        end = at + 27 + count + sum(table)
        if len(table) < count or end > source.size:
            raise FaultError("truncated: its last Ogg page is missing")
        page = source.at(at, end - at)
        if _checksum(page) != checksum:
            raise FaultError(f"damaged: the Ogg page at byte {at} has another checksum than it says")
        if flags & 2:
            if not beginning:
                _check_ended(links)
                links.append(Link(at, end))
            links[-1].streams[serial] = _stream(page[27 + count :])
        elif not links:
            raise FaultError("damaged: the start of its Ogg stream is missing")
        beginning = bool(flags & 2)
        stream = links[-1].streams.get(serial)
        if stream is None or stream._ended or number != stream._next:
            raise FaultError(f"damaged: an Ogg page is missing before byte {at}")
        stream._next = number + 1 & 0xFFFFFFFF
        stream._ended = bool(flags & 4)
        if granule >= 0:
            if granule < stream.granule:
                raise FaultError(f"damaged: positions go back in the Ogg page at byte {at}")
            stream.granule = granule
        links[-1].end = at = end
    _check_ended(links)
    return links


def parts(links: list[Link]) -> list[Part]:
    """Turn each recording into a part; the parts are decoded one after the other."""
    return [Part(link.start, link.end) for link in links]


def _stream(packet: bytes) -> Stream:
    codec = next((name for mark, name in _AUDIO.items() if packet.startswith(mark)), "")
    return Stream(codec, packet[:64])


def _check_ended(links: list[Link]) -> None:
    if links and not all(stream._ended for stream in links[-1].streams.values()):
        raise FaultError("truncated: its last Ogg page is missing")


def _checksum(page: bytes) -> int:
    blank = page[:22] + bytes(4) + page[26:]
    turned = zlib.crc32(blank.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{turned:032b}"[::-1], 2)
