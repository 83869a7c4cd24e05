"""Identify a file and check that it is complete, from its headers, before decoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from serlab.audio import chunks, flac, mpeg, ogg, signatures, tags
from serlab.audio.pointers import LONGEST_HEAD, why_pointer
from serlab.audio.source import FaultError, Part, Source

_START = 1 << 14


@dataclass(frozen=True)
class Container:
    """What a file contains.

    Attributes:
        parts: stretches that libsndfile decodes, one after the other; empty if it cannot.
        media: otherwise FFmpeg's name of the container; empty if libsndfile decodes.
        seconds: duration that FFmpeg must decode, if it was counted.
    """

    parts: tuple[Part, ...] = ()
    media: str = ""
    seconds: Fraction | None = None


_CHUNKED: dict[bytes, tuple[Callable[[Source], list[Part] | None], str]] = {
    b"RIFF": (chunks.wave, ""),
    b"RIFX": (chunks.wave, ""),
    b"RF64": (chunks.wave, ""),
    b"BW64": (chunks.wave, ""),
    b"riff": (chunks.wave64, ""),
    b"FORM": (chunks.aiff, ""),
    b".snd": (chunks.au, ""),
    b"dns.": (chunks.au, ""),
    b"caff": (chunks.caf, "caf"),
    b"NIST": (chunks.nist, ""),
}


def examine(source: Source) -> Container:
    """Identify a file, and check that nothing is missing.

    Args:
        source: the file.

    Returns:
        How to decode it, and the number of samples it must contain.

    Raises:
        FaultError: it is not audio, or not complete.
    """
    if reason := why_pointer(source.at(0, LONGEST_HEAD)):
        raise FaultError(reason)
    start = tags.skip(source, 0, source.size)
    kind = source.at(start, 4)
    form = source.at(start + 8, 4)
    if kind in _CHUNKED and not (kind == b"RIFF" and form != b"WAVE") and not (kind == b"FORM" and form[:3] != b"AIF"):
        parse, media = _CHUNKED[kind]
        parts = parse(source.behind(start) if start else source)
        if parts is None and (start or not media):
            raise FaultError("its kind of sound is not read; convert it to WAV or FLAC")
        moved = [replace(part, start=part.start + start, end=part.end + start) for part in parts or ()]
        return Container(tuple(moved), media="" if parts else media)
    if kind == b"fLaC":
        found = flac.examine(source, start)
        return Container(media="flac", seconds=found) if isinstance(found, Fraction) else Container(tuple(found))
    if kind == b"OggS":
        links = ogg.examine(source, start)
        codecs = {stream.codec for link in links for stream in link.streams.values()}
        single = all(len(link.streams) == 1 for link in links)
        if single and codecs <= {"vorbis", "opus"}:
            return Container(tuple(ogg.parts(links)))
        if len(links) > 1:
            raise FaultError("several Ogg files joined end to end; split them")
        return Container(media="ogg")
    other = signatures.media(source)
    if other is not None:
        return Container(media=other[0], seconds=other[1])
    if mpeg.starts(source, start):
        return Container(tuple(mpeg.examine(source, start, source.size)))
    _refuse_headless(source, start)
    raise FaultError("not audio")


def _refuse_headless(source: Source, start: int) -> None:
    """Refuse an MP3 whose start is missing, with a reason that differs from that of other files."""
    head = source.at(start, 4)
    if mpeg.is_free(head) and source.find(head[:2], start + 4, min(source.size, start + _START)) >= 0:
        raise FaultError("an MP3 of free bit rate is not read; convert it to WAV or FLAC")
    at = source.find(b"\xff", start, min(source.size, start + _START))
    while at >= 0:
        first = mpeg.frame(source.at(at, 4))
        if first and mpeg.starts(source, at) and mpeg.starts(source, at + first.length):
            raise FaultError(f"damaged: {at - start} bytes before its first MPEG frame")
        at = source.find(b"\xff", at + 1, min(source.size, start + _START))
