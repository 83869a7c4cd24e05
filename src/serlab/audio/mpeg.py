"""Check that MPEG audio (MP3, MP2) is complete: count its frames and compare with the tag in the first one.

The tag (Xing, Info or VBRI) gives the number of frames, and LAME's extension of the tag has a
checksum of all frames. Anything that is not a frame (ID3, APE and Lyrics3 tags, padding) is not
passed to the decoder, because libmpg123 would write warnings to standard error.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serlab.audio import tags
from serlab.audio.reservoir import HEAD, Reservoir
from serlab.audio.source import FaultError, Part, Source

_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_KBITS = {
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_CRC_PERIOD = 32767
_DECODER_DELAY = 529
# Encoders that store a checksum of the tag in the tag.
_SEALING = (b"LAME3.9", b"LAME3.1", b"Lavc", b"Lavf")
_MOST_PADDING = 4096
_MOST_STRAY = 3
_MOST_JUNK = 1 << 16


class Frame(NamedTuple):
    """The content of a frame header of four bytes.

    Attributes:
        length: bytes of the whole frame.
        samples: samples per channel in it.
        stream: properties shared by all frames of a stream: sample rate, layer, whether MPEG-1,
            channels.
        start: offset of the side information of layer III in it.
        side: number of bytes of the side information.
    """

    length: int
    samples: int
    stream: tuple[int, int, bool, int]
    start: int
    side: int

    @property
    def rate(self) -> int:
        """Sample rate, Hz."""
        return self.stream[0]

    @property
    def layer(self) -> int:
        """I, II or III."""
        return self.stream[1]


@dataclass
class _Run:
    """Consecutive frames without a gap."""

    start: int
    first: Frame
    tag: bytes
    reservoir: Reservoir
    end: int = 0
    counted: int = 0


@lru_cache(maxsize=4096)
def frame(head: bytes) -> Frame | None:
    """Read a frame header; ``None`` if the four bytes are not one (or have a free bit rate, which is rare)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, bitrate, rate = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3), head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3 or head[3] & 3 == 2:
        return None
    mpeg1 = version == 3
    hertz = _RATES[version][rate]
    bits = _KBITS[mpeg1, layer][bitrate] * 1000
    padding = head[2] >> 1 & 1
    if layer == 1:
        length, samples = (12 * bits // hertz + padding) * 4, 384
    else:
        samples = 1152 if mpeg1 or layer == 2 else 576
        length = samples // 8 * bits // hertz + padding
    channels = 1 if head[3] >> 6 == 3 else 2
    side = (17 if mpeg1 else 9) if channels == 1 else (32 if mpeg1 else 17)
    return Frame(length, samples, (hertz, layer, mpeg1, channels), 4 if head[1] & 1 else 6, side)


def is_free(head: bytes) -> bool:
    """Whether four bytes are the header of a frame with a free bit rate, which does not give its length."""
    return len(head) == 4 and head[2] >> 4 == 0 and frame(head[:2] + bytes([head[2] | 0x10, head[3]])) is not None


def starts(source: Source, at: int) -> bool:
    """Whether MPEG audio begins there: a frame, followed by one of the same stream or the end of the file."""
    first = frame(source.at(at, 4))
    if first is None:
        return False
    behind = at + first.length
    second = frame(source.at(behind, 4))
    if second is not None:
        return second.stream == first.stream
    return behind >= source.size or tags.skip(source, behind, source.size) > behind


def examine(source: Source, start: int, end: int) -> list[Part]:
    """Walk over all frames.

    Args:
        source: the file.
        start: offset of its first frame or the tags before it.
        end: offset of the end of the stream.

    Returns:
        Its streams, in order; more than one if files were joined end to end.

    Raises:
        FaultError: frames are missing, damaged or cut off.
    """
    runs: list[_Run] = []
    at = tags.skip(source, start, end)
    joined = True
    while at < end:
        head = source.at(at, HEAD)
        header = frame(head[:4])
        if header is not None and at + header.length <= end:
            tag = _tag(head, header)
            if joined or tag or header.stream != runs[-1].first.stream:
                mpeg1, channels = header.stream[2:]
                runs.append(_Run(at, header, tag, Reservoir(header.side, mpeg1, channels)))
                joined = False
            run = runs[-1]
            if not (tag and run.start == at):
                run.counted += 1
                if header.layer == 3:
                    run.reservoir.add(head, header.length)
            at += header.length
            run.end = at
            continue
        behind = tags.skip(source, at, end)
        if behind == at:
            _check_rest(source, runs, at, end, header)
            break
        _check_gap(source, runs, at, behind, end)
        joined = True
        at = behind
    if not runs:
        raise FaultError("not audio")
    if len({run.first.stream for run in runs}) > 1:
        raise FaultError("damaged, or joined from streams of different rates or channels")
    return [part for run in runs for part in _parts(source, run)]


def _tag(head: bytes, header: Frame) -> bytes:
    if header.layer != 3:
        return b""
    at = header.start + header.side
    return next(
        (mark for mark, place in ((b"Xing", at), (b"Info", at), (b"VBRI", 36)) if head[place:].startswith(mark)), b""
    )


def _check_gap(source: Source, runs: list[_Run], at: int, behind: int, end: int) -> None:
    """Refuse zeros between frames, and many zeros after them, which may have replaced frames."""
    if not runs or source.run_of(0, at, behind) < behind or (runs[-1].counted == _promised(source, runs[-1])):
        return
    if behind < end or behind - at > _MOST_PADDING or not any(source.at(at - 4, 4)):
        raise FaultError(f"damaged: {behind - at} bytes at byte {at} are zeros, not MPEG audio")


def _check_rest(source: Source, runs: list[_Run], at: int, end: int, header: Frame | None) -> None:
    """Refuse what is neither frame nor tag, unless it follows a frame that is known to be the last."""
    if not runs:
        raise FaultError("not audio")
    run = runs[-1]
    promised = _promised(source, run)
    padded = source.run_of(source.at(at, 1)[0], at, end) == end
    if promised and run.counted < promised:
        rate = run.first.rate / run.first.samples
        kind = "truncated" if header else "truncated or damaged"
        raise FaultError(f"{kind}: header says {promised / rate:.1f} s, holds {run.counted / rate:.1f} s")
    if header is not None or (not promised and end - at < 4 and source.at(at, 1) == b"\xff"):
        raise FaultError("truncated: its last frame is not whole")
    more = source.find(b"\xff", at, min(end, at + _MOST_JUNK))
    while more >= 0:
        if starts(source, more):
            raise FaultError(f"damaged: {more - at} bytes at byte {at} are no MPEG audio")
        more = source.find(b"\xff", more + 1, min(end, at + _MOST_JUNK))
    if not promised and not padded and end - at > _MOST_STRAY:
        raise FaultError(f"truncated or damaged: its last {end - at} bytes are no MPEG audio")


def _promised(source: Source, run: _Run) -> int:
    """Number of frames stated by the tag; 0 if it has none."""
    if run.tag == b"VBRI":
        return int.from_bytes(source.at(run.start + 36 + 14, 4), "big")
    if not run.tag:
        return 0
    at = run.start + run.first.start + run.first.side
    return int.from_bytes(source.at(at + 8, 4), "big") if source.at(at + 7, 1)[0] & 1 else 0


def _parts(source: Source, run: _Run) -> list[Part]:
    promised = _promised(source, run)
    size, music = run.end - run.start, 0
    ahead, behind = _DECODER_DELAY, 0
    if run.tag in (b"Xing", b"Info"):
        size, music, delay, padding = _check_tag(source, run)
        # libmpg123 removes what LAME added in this way.
        ahead, behind = delay + _DECODER_DELAY, max(0, padding - _DECODER_DELAY)
    if not run.counted:
        raise FaultError("no samples" if promised == 0 else "truncated: it holds no frames")
    rate = run.first.rate / run.first.samples
    # Some encoders count the frame that holds the tag; then the number of bytes is right.
    slack = promised - run.counted == 1 and size == run.end - run.start
    if promised > run.counted and not slack:
        raise FaultError(f"truncated: header says {promised / rate:.1f} s, holds {run.counted / rate:.1f} s")
    if promised and promised < run.counted:
        raise FaultError(f"damaged, or joined: header says {promised / rate:.1f} s, holds {run.counted / rate:.1f} s")
    if run.first.layer == 3 and not music:
        _check_lost_tag(source, run)
        run.reservoir.check()
    if promised and run.tag != b"VBRI":
        whole = max(0, promised * run.first.samples - ahead - behind)
        slack_samples = run.first.samples if slack else 0
        if size == run.end - run.start:
            return [Part(run.start, run.end, frames=whole, slack=slack_samples)]
        tag = _tag_of_real_size(source, run)
        return [Part(run.start + len(tag), run.end, tag, whole, slack_samples)]
    frames = run.counted * run.first.samples
    if run.first.layer != 3:
        return [Part(run.start, run.end, frames=frames)]
    start = run.start + (run.first.length if run.tag else 0)
    return [Part(start, run.end, _start_of_known_length(source, run), frames)]


def _tag_of_real_size(source: Source, run: _Run) -> bytes:
    """The tag's frame with the real number of bytes; libmpg123 would print a warning about a wrong one."""
    inside = bytearray(source.at(run.start, run.first.length))
    at = run.first.start + run.first.side
    place = at + 8 + 4 * (inside[at + 7] & 1)
    inside[place : place + 4] = (run.end - run.start).to_bytes(4, "big")
    return bytes(inside)


def _start_of_known_length(source: Source, run: _Run) -> bytes:
    """A tag with the number of frames, and silent frames. Without it, libmpg123 guesses the number from a bit rate.

    With the tag, libmpg123 removes its own delay at the start. The silent frames absorb this loss.
    Their number brings the buffer of its filter back to its initial position, so the samples equal
    those of the stream without a tag, to the bit.
    """
    head = bytearray(source.at(run.start, 4))
    head[1] |= 1
    head[2] = head[2] & 0x0D | 9 << 4
    made = frame(bytes(head))
    assert made is not None
    silent = 4608 // made.samples
    delays = 4608 - _DECODER_DELAY << 12 | _DECODER_DELAY
    tag = b"Info\0\0\0\1" + (run.counted + silent).to_bytes(4, "big") + b"LAME3.100".ljust(21, b"\0")
    tagged = bytes(head) + bytes(made.side) + tag + delays.to_bytes(3, "big")
    return tagged.ljust(made.length, b"\0") + bytes(head).ljust(made.length, b"\0") * silent


def _check_tag(source: Source, run: _Run) -> tuple[int, bool, int, int]:
    """Check LAME's checksums, if there are any.

    Returns:
        The number of bytes of the stream according to its tag (the actual number if the tag has
        none), whether a checksum has confirmed them, and the samples that the encoder added before
        and after the audio.
    """
    at = run.start + run.first.start + run.first.side
    flags = source.at(at + 7, 1)[0]
    ahead = 8 + 4 * (flags & 1)
    size = run.end - run.start
    promised = int.from_bytes(source.at(at + ahead, 4), "big") if flags & 2 else size
    extension = at + ahead + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
    inside = source.at(run.start, run.first.length)
    lame = inside[extension - run.start : extension - run.start + 36].ljust(36, b"\0")
    delay, padding = int.from_bytes(lame[21:24], "big") >> 12, int.from_bytes(lame[21:24], "big") & 0xFFF
    length, checksum, own = (int.from_bytes(lame[a:b], "big") for a, b in ((28, 32), (32, 34), (34, 36)))
    # LAME covers the bytes before the checksum; FFmpeg covers 190 bytes, even past the end of the
    # frame.
    before = inside[: extension - run.start + 34]
    around = (before + b"\0\0" + inside[len(before) + 2 :]).ljust(190, b"\0")[:190]
    sealed = own in (crc16(np.frombuffer(data, np.uint8)) for data in (before, around))
    named = all(32 <= byte < 127 for byte in lame[:4]) or not delay | padding
    if not sealed and (not named or any(name in inside[at - run.start :] for name in _SEALING)):
        raise FaultError("damaged: its first frame has another checksum than it says")
    if not (sealed and checksum and length == size):
        return promised or size, False, delay, padding
    first = run.start + run.first.length
    behind, folded = run.end, np.zeros(0, np.uint8)
    # Backwards from the end, because a byte's effect on the checksum depends on its distance to it.
    while behind > first:
        begin = max(first, behind - _CRC_PERIOD)
        data = np.frombuffer(source.at(begin, behind - begin), np.uint8)
        folded = data if not len(folded) else folded ^ np.pad(data, (_CRC_PERIOD - len(data), 0))
        behind = begin
    value = crc16(folded)
    if value != checksum and source.find(b"MP3GAIN_", run.end, source.size) < 0:
        raise FaultError("damaged: its frames have another checksum than its LAME tag says")
    return promised or size, value == checksum, delay, padding


@lru_cache(maxsize=1)
def _crc_shares() -> NDArray[np.uint16]:
    """Effect of each bit on the checksum, by its position in a byte and that byte's distance to the end.

    The effects repeat after 32,767 bytes, because 32,767 is the order of x modulo the polynomial.
    """
    powers = np.empty(_CRC_PERIOD, np.uint16)
    value = 0xA001
    for power in range(_CRC_PERIOD):
        powers[power] = value
        value = value >> 1 ^ (0xA001 if value & 1 else 0)
    shares: NDArray[np.uint16] = powers[(8 * np.arange(_CRC_PERIOD) + 7 - np.arange(8)[:, None]) % _CRC_PERIOD]
    return shares


def crc16(data: NDArray[np.uint8]) -> int:
    """CRC-16 (polynomial 0x8005, bits reflected, from 0) of up to 32,767 bytes, as LAME's tag has it.

    >>> hex(crc16(np.frombuffer(b"123456789", np.uint8)))
    '0xbb3d'
    """
    value = np.uint16(0)
    for place, shares in enumerate(_crc_shares()):
        value ^= np.bitwise_xor.reduce(shares[: len(data)] * (data[::-1] >> place & 1))
    return int(value)


def _check_lost_tag(source: Source, run: _Run) -> None:
    """Recognise a tag with a damaged mark by the encoder's name, which comes much later."""
    inside = source.at(run.start, run.first.length)
    place = min((at for at in map(inside.find, _SEALING) if at >= 0), default=0)
    if not run.tag and place > 100 and not any(inside[6 : 4 + run.first.side]):
        raise FaultError("damaged: the tag in its first frame")
