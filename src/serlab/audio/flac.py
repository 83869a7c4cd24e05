"""Check that a FLAC file is complete (RFC 9639), by its first block or, failing that, by its frames."""

from __future__ import annotations

from fractions import Fraction

from serlab.audio.source import FaultError, Part, Source, steps

_RATES = (0, 88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
_BITS = (0, 8, 12, 0, 16, 20, 24, 32)
# FFmpeg holds everything that it considers one frame in memory.
_MOST_BEHIND = 1 << 20
_READ_BITS = (8, 16, 24)
_CRC8 = [0] * 256
for _byte in range(256):
    _value = _byte
    for _ in range(8):
        _value = _value << 1 ^ (0x107 if _value & 0x80 else 0)
    _CRC8[_byte] = _value


def examine(source: Source, start: int) -> list[Part] | Fraction:
    """Read the headers of a FLAC file.

    Args:
        source: the file.
        start: offset of ``fLaC``.

    Returns:
        Its one part, with the number of samples and their checksum; or its counted seconds, if
        libsndfile does not read its number of bits per sample.

    Raises:
        FaultError: the file contradicts itself, is cut off, or is several files in one.
    """
    info = source.at(start + 8, 34)
    if source.at(start + 4, 1) not in (b"\0", b"\x80") or len(info) < 34:
        raise FaultError("damaged: its first FLAC block is not what it should be")
    rate = int.from_bytes(info[10:13], "big") >> 4
    channels = (info[12] >> 1 & 7) + 1
    bits = ((info[12] & 1) << 4 | info[13] >> 4) + 1
    total = int.from_bytes(info[13:18], "big") & (1 << 36) - 1
    md5 = info[18:34] if any(info[18:34]) else None
    first = _behind_metadata(source, start)
    header = _Header(source.at(first, 20))
    if not header.valid:
        if total == 0 and source.run_of(0, first, source.size) == source.size:
            raise FaultError("no samples")
        raise FaultError("damaged: its first FLAC frame is not where it should be")
    if header.contradicts(rate, channels, bits):
        raise FaultError("damaged: its FLAC header contradicts its frames")
    # The length of the first block is always 34, so this is a second file, as "cat a.flac b.flac"
    # makes it.
    if source.find(b"fLaC\0\0\0\x22", first, source.size) >= 0:
        raise FaultError("several FLAC files joined end to end; split them")
    if md5 is not None and total and bits in _READ_BITS:
        return [Part(start, source.size, frames=total, md5=md5, bits=bits)]
    counted = _count(source, first, (rate, channels, bits))
    if total and counted != total:
        raise FaultError(f"truncated: header says {total / rate:.1f} s, holds {counted / rate:.1f} s")
    if bits not in _READ_BITS:
        if source.size - first > counted * channels * 5 + _MOST_BEHIND:
            raise FaultError("damaged: it holds far more bytes than its samples need")
        return Fraction(counted, rate)
    # libsndfile does not read to the end of a file without the number of samples in its header, so
    # it is inserted.
    told = bytearray(source.at(start, first - start))
    told[21:26] = (int.from_bytes(told[21:26], "big") & ~((1 << 36) - 1) | counted).to_bytes(5, "big")
    return [Part(first, source.size, prefix=bytes(told), frames=counted, md5=md5, bits=bits)]


def _behind_metadata(source: Source, start: int) -> int:
    at = start + 4
    for _ in steps():
        head = source.at(at, 4)
        if len(head) < 4:
            raise FaultError("truncated: it ends within its FLAC header")
        at += 4 + int.from_bytes(head[1:], "big")
        if head[0] & 0x80:
            break
    return at


class _Header:
    """The header of a frame: properties of the whole stream, number of the frame, number of its samples."""

    def __init__(self, data: bytes) -> None:
        self.valid = False
        if len(data) < 6 or data[0] != 0xFF or data[1] & 0xFE != 0xF8:
            return
        block_code, rate_code = data[2] >> 4, data[2] & 15
        self._channels, self._bits_code = data[3] >> 4, data[3] >> 1 & 7
        at = 4
        more = next((count for count in range(7) if not data[4] << count & 0x80), 7)
        if block_code == 0 or rate_code == 15 or self._channels > 10 or data[3] & 1 or more in (1, 7):
            return
        self.number = data[4] & (0x7F if more == 0 else (0x7F >> more))
        for byte in data[5 : 4 + max(more, 1)]:
            self.number = self.number << 6 | byte & 0x3F
        at += max(more, 1)
        self.variable = bool(data[1] & 1)
        if block_code in (6, 7):
            self.samples = int.from_bytes(data[at : at + block_code - 5], "big") + 1
            at += block_code - 5
        else:
            self.samples = (
                192 if block_code == 1 else 576 << block_code - 2 if block_code < 6 else 256 << block_code - 8
            )
        self._rate = _RATES[rate_code] if rate_code < 12 else 0
        if rate_code >= 12:
            wide = 1 if rate_code == 12 else 2
            self._rate = int.from_bytes(data[at : at + wide], "big") * (1000, 1, 10)[rate_code - 12]
            at += wide
        self.valid = len(data) > at and _crc8(data[:at]) == data[at]

    def contradicts(self, rate: int, channels: int, bits: int) -> bool:
        held = self._channels + 1 if self._channels < 8 else 2
        told = _BITS[self._bits_code]
        return held != channels or self._rate not in (0, rate) or told not in (0, bits)


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value = _CRC8[value ^ byte]
    return value


def _count(source: Source, first: int, stream: tuple[int, int, int]) -> int:
    """Count samples frame by frame; the decoder then checks each frame's content by the frame's own checksum."""
    sync = source.at(first, 2)
    at, counted, frames = first, 0, 0
    for _ in steps():
        if at < 0:
            break
        header = _Header(source.at(at, 20))
        if header.valid and not header.contradicts(*stream):
            expected = counted if header.variable else frames
            if header.number == expected:
                counted += header.samples
                frames += 1
            elif header.number > expected:
                raise FaultError("damaged: FLAC frames are missing in its middle")
        at = source.find(sync, at + 2, source.size)
    return counted
