"""Check that files of uncompressed audio are complete: WAV and its variants, AIFF, AU, CAF, NIST SPHERE.

Each header gives the number of bytes of audio in the file. libsndfile reads as many of them as
exist and stops early if the header is damaged. This module therefore checks that all bytes exist,
and that what follows them does not look like more audio. It completes headers that the writing
program left incomplete.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from serlab.audio import mpeg, tags
from serlab.audio.source import FaultError, Part, Source

# Programs that write into a pipe don't know the length and leave one of these or more in the
# header; others leave zero.
_UNKNOWN = 0x7FFF0000
_UNKNOWN_64 = (1 << 64) - 4096
_MOST_CHUNKS = 10_000
_MOST_STRAY = 3
_MOST_HEADER = 1 << 16
_PCM, _FLOAT, _ALAW, _ULAW, _MP2, _MP3, _EXTENSIBLE = 1, 3, 6, 7, 0x50, 0x55, 0xFFFE
# Microsoft's and IMA's ADPCM, GSM 6.10 and others, whose samples per block libsndfile knows.
_BLOCKS = (2, 0x11, 0x31, 0x38, 0x40)
_W64_NAME = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_KNOWN = (
    b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"smpl", b"fact", b"PEAK", b"JUNK", b"iXML", b"_PMX", b"afsp",
    b"acid", b"inst", b"DISP", b"axml", b"chna", b"umid", b"FLLR", b"PAD ", b"plst", b"NAME", b"ANNO", b"AUTH", b"(c) ",
    b"COMT", b"MARK", b"INST", b"APPL",
)  # fmt: skip
_AIFF_WIDTHS = {
    b"NONE": 0, b"twos": 0, b"sowt": 0, b"raw ": 1, b"in24": 3, b"42ni": 3, b"in32": 4, b"23ni": 4,
    b"fl32": 4, b"FL32": 4, b"fl64": 8, b"FL64": 8, b"ulaw": 1, b"ULAW": 1, b"alaw": 1, b"ALAW": 1,
}  # fmt: skip
_AU_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}


@dataclass
class _Chunk:
    name: bytes
    start: int
    length: int


class _Chunks:
    """How chunks are laid out in one file format."""

    def __init__(self, source: Source, head: str, *, names: int = 4, align: int = 2, inclusive: bool = False) -> None:
        self._source, self._head, self._names, self._align = source, struct.Struct(head), names, align
        self._inclusive = self._head.size if inclusive else 0
        self.odd = False

    def at(self, at: int) -> _Chunk | None:
        """The chunk at an offset, if there is a plausible one."""
        head = self._source.at(at, self._head.size)
        if len(head) < self._head.size:
            return None
        name, length = self._head.unpack(head)
        if self._names == 16 and name[4:] != _W64_NAME:
            return None
        if not all(32 <= byte < 127 for byte in name[:4]):
            return None
        return _Chunk(name[:4], at + self._head.size, max(0, length - self._inclusive))

    def behind(self, chunk: _Chunk) -> int:
        """Offset of the next chunk; some programs omit the byte that makes a length even."""
        end = chunk.start + chunk.length
        padded = end + -chunk.length % self._align
        if padded != end and padded < self._source.size:
            even, odd = self.at(padded), self.at(end)
            if odd is not None and (even is None or (self._fits(odd) and not self._fits(even))):
                self.odd = True
                return end
        return padded

    def _fits(self, chunk: _Chunk) -> bool:
        return chunk.start + chunk.length <= self._source.size

    def walk(self, at: int) -> Iterator[_Chunk]:
        """All chunks from ``at`` on, up to the first implausible one."""
        for _ in range(_MOST_CHUNKS):
            chunk = self.at(at)
            if chunk is None:
                return
            yield chunk
            at = self.behind(chunk)

    def account_for(self, at: int) -> bool:
        """Whether the rest of the file is only chunks, tags and padding."""
        for _ in range(_MOST_CHUNKS):
            at = tags.skip(self._source, at, self._source.size)
            if at >= self._source.size:
                return True
            chunk = self.at(at)
            if chunk is None or chunk.name in (self._source.at(0, 4), b"data", b"SSND"):
                return False
            if not self._fits(chunk):
                return chunk.name in _KNOWN
            at = self.behind(chunk)
        return False


def wave(source: Source) -> list[Part] | None:
    """Read the header of a WAV (RIFF, RIFX, RF64, BW64) that starts at byte 0.

    Args:
        source: the file.

    Returns:
        Its parts; ``None`` if libsndfile cannot read this encoding.

    Raises:
        FaultError: the file is cut off or contradicts itself.
    """
    order = ">" if source.at(0, 4) == b"RIFX" else "<"
    wide = source.at(0, 4) in (b"RF64", b"BW64")
    chunks = _Chunks(source, order + "4sI")
    form, fact, real = b"", b"", 0
    outer = int.from_bytes(source.at(4, 4), "big" if order == ">" else "little") + 8
    for chunk in chunks.walk(12):
        if chunk.name == b"ds64" and wide:
            outer = int.from_bytes(source.at(chunk.start, 8), "little") + 8
            real = int.from_bytes(source.at(chunk.start + 8, 8), "little")
        elif chunk.name == b"fmt ":
            form = source.at(chunk.start, min(chunk.length, _MOST_HEADER))
        elif chunk.name == b"fact":
            fact = source.at(chunk.start - 8, 12)
        elif chunk.name == b"data":
            length = real if wide and chunk.length == 0xFFFFFFFF else chunk.length
            span = _Span(source, chunks, chunk.start, length, outer, unknown=_UNKNOWN_64 if wide else _UNKNOWN)
            return _wave_parts(source, form, order, fact, span)
    raise FaultError("damaged: it holds no data behind its WAV header")


def wave64(source: Source) -> list[Part] | None:
    """Read the header of a Sony Wave64, whose audio is then read as that of a WAV; otherwise like :func:`wave`."""
    chunks = _Chunks(source, "<16sQ", names=16, align=8, inclusive=True)
    form = b""
    for chunk in chunks.walk(40):
        if chunk.name == b"fmt ":
            form = source.at(chunk.start, min(chunk.length, _MOST_HEADER))
        elif chunk.name == b"data":
            outer = int.from_bytes(source.at(16, 8), "little")
            span = _Span(source, chunks, chunk.start, chunk.length, outer, unknown=_UNKNOWN_64)
            return _wave_parts(source, form, "<", b"", span)
    raise FaultError("damaged: it holds no data behind its Wave64 header")


def aiff(source: Source) -> list[Part] | None:
    """Read the header of an AIFF or AIFF-C; see :func:`wave`."""
    chunks = _Chunks(source, ">4sI")
    common, sound = b"", None
    for chunk in chunks.walk(12):
        if chunk.name == b"COMM":
            common = source.at(chunk.start, min(chunk.length, _MOST_HEADER))
        elif chunk.name == b"SSND":
            if sound is not None:
                raise FaultError("damaged, or its sound is in several pieces; convert it to WAV or FLAC")
            sound = chunk
            if chunk.length == 0 or chunk.start + chunk.length > source.size:
                break
    if len(common) < 18 or sound is None:
        raise FaultError("damaged: its AIFF header has no format or no sound")
    channels, promised, bits = struct.unpack(">HIH", common[:8])
    coding = common[18:22] if source.at(8, 4) == b"AIFC" else b"NONE"
    outer = int.from_bytes(source.at(4, 4), "big") + 8
    span = _Span(source, chunks, sound.start, sound.length, outer, ahead=8)
    offset = int.from_bytes(source.at(sound.start, 4), "big")
    if coding not in _AIFF_WIDTHS:
        span.check(0)
        return [Part(0, source.size)]
    width = channels * (_AIFF_WIDTHS[coding] or -(-bits // 8))
    start, end = sound.start + 8 + offset, span.check(width * _extended(common[8:18]))
    frames = max(0, end - start) // width if width else 0
    if span.regular and promised == frames:
        return [Part(0, source.size, frames=frames)]
    if span.closed and promised not in (0, 0xFFFFFFFF, frames):
        raise FaultError(f"damaged: its header contradicts itself ({promised} samples in {end - start} bytes)")
    common = common[:2] + frames.to_bytes(4, "big") + common[6:]
    body = source.at(8, 4) + b"COMM" + len(common).to_bytes(4, "big") + common + bytes(len(common) % 2)
    body += b"SSND" + (end - start + 8).to_bytes(4, "big") + bytes(8)
    return [Part(start, end, b"FORM" + (len(body) + end - start).to_bytes(4, "big") + body, frames)]


def au(source: Source) -> list[Part] | None:
    """Read the header of a Sun or NeXT AU; see :func:`wave`."""
    order = ">" if source.at(0, 4) == b".snd" else "<"
    head = source.at(4, 20)
    if len(head) < 20:
        raise FaultError("truncated: it ends within its AU header")
    start, length, coding, rate, channels = struct.unpack(order + "5I", head)
    width = channels * _AU_WIDTHS.get(coding, 0)
    if start < 24 or start > source.size:
        raise FaultError("damaged: its AU header contradicts itself")
    span = _Span(source, None, start, length, 0)
    end = span.check(width * rate)
    frames = (end - start) // width if width else None
    head = source.at(0, 4) + struct.pack(order + "5I", 24, end - start, coding, rate, channels)
    return [Part(start, end, head, frames)]


def caf(source: Source) -> list[Part] | None:
    """Read the header of an Apple CAF; see :func:`wave`."""
    chunks = _Chunks(source, ">4sQ", align=1)
    form, valid = b"", None
    data: _Chunk | None = None
    for chunk in chunks.walk(8):
        if chunk.name == b"desc":
            form = source.at(chunk.start, 32)
        elif chunk.name == b"pakt":
            valid = int.from_bytes(source.at(chunk.start + 8, 8), "big")
        elif chunk.name == b"data":
            if data is not None:
                raise FaultError("damaged, or its sound is in several pieces; convert it to WAV or FLAC")
            data = chunk
    if len(form) < 32 or data is None:
        raise FaultError("damaged: its CAF header has no format or no sound")
    rate, coding, _, packet, per_packet, channels, bits = struct.unpack(">d4s5I", form)
    if coding in (b"aac ", b"ima4", b"opus", b".mp3"):
        _Span(source, chunks, data.start, data.length, 0, unknown=_UNKNOWN_64, ahead=4).check(0)
        return None
    if coding not in (b"lpcm", b"ulaw", b"alaw", b"alac"):
        raise FaultError("damaged, or its kind of sound is not read; convert it to WAV or FLAC")
    linear = coding != b"alac"
    if linear and (packet != channels * -(-bits // 8) or per_packet != 1 or not packet):
        raise FaultError(
            f"damaged: its header contradicts itself ({channels} channels of {bits} bits in {packet} bytes)"
        )
    span = _Span(source, chunks, data.start, data.length, 0, unknown=_UNKNOWN_64, ahead=4)
    end = span.check(int(packet * rate) if linear and 0 < rate < 1e9 else 0)
    frames = (end - data.start - 4) // packet if linear else valid
    far = data.start > _MOST_HEADER
    if span.closed and not far:
        return [Part(0, source.size, frames=frames)]
    if far and not linear:
        raise FaultError("its kind of sound is not read behind a header so long; convert it to WAV or FLAC")
    # If a long header precedes the audio, libsndfile reads the wrong bytes.
    ahead = b"caff\0\1\0\0" + b"desc" + len(form).to_bytes(8, "big") + form if far else source.at(0, data.start - 12)
    return [Part(data.start, end, ahead + b"data" + (end - data.start).to_bytes(8, "big"), frames)]


def nist(source: Source) -> list[Part] | None:
    """Read the header of a NIST SPHERE; see :func:`wave`."""
    lines = source.at(0, 1024).decode("latin-1").split("\n")
    fields = {words[0]: words[2] for words in map(str.split, lines[2:]) if len(words) == 3}
    try:
        start = int(lines[1])
        frames, channels, width = (int(fields[name]) for name in ("sample_count", "channel_count", "sample_n_bytes"))
        rate = int(float(fields["sample_rate"]))
    except (IndexError, KeyError, ValueError, OverflowError):
        raise FaultError("damaged: a number is missing from its NIST header") from None
    if "shorten" in fields.get("sample_coding", ""):
        raise FaultError("compressed NIST SPHERE (shorten) is not read; convert it to WAV or FLAC")
    if min(start, channels, width) <= 0 or frames < 0:
        raise FaultError("damaged: its NIST header contradicts itself")
    _Span(source, None, start, frames * channels * width, 0, unknown=_UNKNOWN_64).check(rate * channels * width)
    return [Part(0, source.size, frames=frames)]


class _Span:
    """A section of audio as described by a header."""

    def __init__(
        self, source: Source, chunks: _Chunks | None, start: int, length: int, outer: int, *, unknown: int = _UNKNOWN,
        ahead: int = 0,
    ) -> None:  # fmt: skip
        self.source, self.start, self.closed = source, start, True
        self._chunks, self._length, self._outer, self._unknown = chunks, length, outer, unknown
        self._ahead = ahead

    @property
    def regular(self) -> bool:
        """Whether libsndfile can read the header unchanged; known after the check."""
        return self.closed and not (self._chunks and self._chunks.odd)

    def check(self, byte_rate: int) -> int:
        """Return the end of the audio; refuse a file that ends earlier or continues with possible audio."""
        size, left = self.source.size, self.source.size - self.start
        chunks = self._chunks or _Chunks(self.source, ">4sI")
        if self._length <= self._ahead < left and not (self._chunks and chunks.account_for(self.start + self._length)):
            self.closed = False
            return size
        if self._length > left:
            if self._length >= self._unknown:
                self.closed = False
                return size
            raise FaultError(truncated(self._length, left, byte_rate))
        end = self.start + self._length
        behind = size - end
        if self.source.at(end, 4) == self.source.at(0, 4):
            raise FaultError("several files joined end to end; split them")
        # If the outer length agrees with the inner one, what follows does not belong to the
        # recording.
        padded = behind <= _MOST_STRAY or self.source.run_of(self.source.at(end, 1)[0], end, size) == size
        agreed = self._outer in (end, end + self._length % 2) and padded
        padding = tags.skip(self.source, end, size) == size
        if agreed or padding or (self._chunks and chunks.account_for(end + self._length % 2)):
            return end
        if self._chunks and chunks.account_for(end):
            return end
        raise FaultError(f"damaged: its header leaves {behind} bytes at its end unexplained")


def truncated(promised: int, held: int, byte_rate: int) -> str:
    """Describe how much of a recording is missing."""
    if not byte_rate:
        return "truncated: its header promises more than it holds"
    return f"truncated: header says {promised / byte_rate:.1f} s, holds {held / byte_rate:.1f} s"


def _wave_parts(source: Source, form: bytes, order: str, fact: bytes, span: _Span) -> list[Part] | None:
    if len(form) < 14:
        raise FaultError("damaged: its header does not name its format")
    tag, channels, rate, byte_rate, align = struct.unpack(order + "HHIIH", form[:14])
    bits = struct.unpack(order + "H", form[14:16])[0] if len(form) > 15 else 0
    if tag == _EXTENSIBLE and len(form) >= 26:
        tag = struct.unpack(order + "H", form[24:26])[0]
    end = span.check(byte_rate or rate * align)
    if tag in (_MP2, _MP3):
        return mpeg.examine(source, span.start, end)
    if tag not in (_PCM, _FLOAT, _ALAW, _ULAW, *_BLOCKS):
        return None
    frames = None
    if tag not in _BLOCKS:
        _check_form(tag, channels, rate, byte_rate, align, bits)
        frames = (end - span.start) // align
        fact = b""
    # libsndfile would read the last block of GSM from the bytes after the audio.
    if span.regular and tag not in _BLOCKS and source.at(0, 4) in (b"RIFF", b"RIFX"):
        return [Part(0, source.size, frames=frames)]
    # Any other header is rewritten, because libsndfile reads it in another way or not at all.
    length = end - span.start
    body = b"fmt " + struct.pack(order + "I", len(form)) + form + bytes(len(form) % 2) + fact
    if length + len(body) < _UNKNOWN:
        head = (b"RIFX" if order == ">" else b"RIFF") + struct.pack(order + "I", length + len(body) + 12) + b"WAVE"
        return [Part(span.start, end, head + body + b"data" + struct.pack(order + "I", length), frames)]
    sizes = struct.pack("<IQQQI", 28, length + len(body) + 56, length, frames or 0, 0)
    head = b"RF64\xff\xff\xff\xffWAVEds64" + sizes + body + b"data\xff\xff\xff\xff"
    return [Part(span.start, end, head, frames)]


def _check_form(tag: int, channels: int, rate: int, byte_rate: int, align: int, bits: int) -> None:
    """Check a WAV's format fields against each other; a single changed field would give a different clip."""
    depths = {_FLOAT: (32, 64), _ALAW: (8,), _ULAW: (8,)}.get(tag, range(1, 33))
    if bits not in depths or not align or align != channels * -(-bits // 8):
        raise FaultError(
            f"damaged: its header contradicts itself ({channels} channels of {bits} bits in {align} bytes)"
        )
    # The correct value, and known mistakes of programs.
    if byte_rate not in (rate * align, 0, rate, rate * align * 8, rate * align // channels, rate * bits):
        raise FaultError(f"damaged: its header contradicts itself ({rate} Hz, but {byte_rate} bytes per second)")


def _extended(data: bytes) -> int:
    """An 80-bit float that holds a sample rate, as an integer; 0 if it is not one."""
    shift = 16383 + 63 - (int.from_bytes(data[:2], "big") & 0x7FFF)
    return int.from_bytes(data[2:], "big") >> shift if 0 < shift < 64 else 0
