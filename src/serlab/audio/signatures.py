"""Identify containers that libsndfile cannot read by their first bytes, and check that they are complete.

FFmpeg could guess the format itself, but it also finds audio in other data, and it reads incomplete
files without an error. This module checks the structure that each container declares: lengths of
its pieces, and counters.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from serlab.audio import tags
from serlab.audio.source import FaultError, Source, steps

_MOV = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_SEGMENT, _CLUSTER, _GROUP = 0x18538067, 0x1F43B675, 0xA0
_OUTERMOST = (_CLUSTER, 0x1C53BB6B, 0x1254C367, 0x1941A469, 0x1043A770, 0x114D9B74, 0x1549A966, 0x1654AE6B)
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_AMR = {
    b"#!AMR\n": (13, 14, 16, 18, 20, 21, 27, 32, 6, 0, 0, 0, 0, 0, 0, 1),
    b"#!AMR-WB\n": (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1),
}
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_NOT_READ = {
    b".RMF": "RealMedia", b"Crea": "Creative Voice", b"MAC ": "Monkey's Audio", b"MPCK": "Musepack", b"MP+": "Musepack",
    b"\x0bw": "AC-3", b"\x7f\xfe\x80\x01": "DTS", b"\0\0\1\xba": "MPEG program stream", b"ajkg": "Shorten",
}  # fmt: skip
# After a stream's number: audio, two kinds of video, palette, subtitles; the ends of ix01, JUNK,
# LIST.
_AVI_PIECES = (b"wb", b"dc", b"db", b"pc", b"tx", b"sb", b"NK", b"ST", *(b"%02d" % number for number in range(16)))
_CUT = "truncated: its last piece is not whole"


def media(source: Source) -> tuple[str, Fraction | None] | None:
    """Identify the container of a file, and check that it is complete.

    Args:
        source: the file.

    Returns:
        FFmpeg's name of the container, and the seconds it must contain, if counted; ``None`` for an
        unknown container.

    Raises:
        FaultError: the file is cut off or damaged, or of a kind that can't be checked.
    """
    head = source.at(0, 16)
    checks: list[tuple[bool, str, Callable[[Source], Fraction | None]]] = [
        (head[4:8] in _MOV, "mov", _mov),
        (head[:4] == b"\x1aE\xdf\xa3", "matroska", _matroska),
        (head == _ASF, "asf", _asf),
        (head[:5] == b"#!AMR", "amr", _amr),
        (head[:4] == b"FLV\1", "flv", _flv),
        (head[:4] == b"RIFF" and source.at(8, 4) == b"AVI ", "avi", _avi),
        (head[:4] == b"wvpk", "wv", _wavpack),
        (head[:4] == b"TTA1", "tta", lambda _: None),
        (all(source.at(188 * place, 1) == b"G" for place in range(3)), "mpegts", _transport),
        (_adts_length(source.at(tags.skip(source, 0, source.size), 9)) > 0, "aac", _adts),
    ]
    for found, kind, check in checks:
        if found:
            return kind, check(source)
    for mark, name in _NOT_READ.items():
        if head.startswith(mark):
            raise FaultError(f"{name} is not read; convert it to WAV or FLAC")
    return None


def _mov(source: Source) -> None:
    """Boxes of ISO media files (ISO/IEC 14496-12) fill the file."""
    at = 0
    names: set[bytes] = set()
    for _ in steps():
        head = source.at(at, 16)
        if not head or (names and source.run_of(0, at, source.size) == source.size):
            break
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:
            length = source.size - at
        if len(name) < 4 or length < 8 or at + length > source.size:
            raise FaultError(_CUT)
        if not all(32 <= byte < 127 or byte == 0xA9 for byte in name):
            raise FaultError(f"damaged: no box where one should be, at byte {at}")
        if name == b"ftyp" and names:
            raise FaultError("several files joined end to end; split them")
        names.add(name)
        at += length
    if b"moov" not in names:
        raise FaultError("truncated: its index (moov) is missing, as after a recording that was broken off")


def _matroska(source: Source) -> None:
    """Elements of Matroska and WebM (RFC 8794, RFC 9559) fill the segment, and its clusters."""
    at, ends = 0, [source.size]
    segments = 0
    for _ in steps():
        while len(ends) > 1 and at >= ends[-1]:
            if at > ends[-1]:
                raise FaultError("damaged: its elements don't fit into each other")
            ends.pop()
        if at >= source.size or (segments and len(ends) == 1 and source.run_of(0, at, source.size) == source.size):
            return
        head = source.at(at, 12)
        name, wide = _vint(head, keep=True)
        length, long = _vint(head[wide:])
        if not wide or not long or wide > 4:
            raise FaultError(f"damaged: no element where one should be, at byte {at}" if len(head) == 12 else _CUT)
        unknown = length == (1 << 7 * long) - 1
        if name in _OUTERMOST and len(ends) > 2:
            ends.pop()  # A cluster of unknown length ends here.
        at += wide + long
        if not unknown and at + length > source.size:
            raise FaultError(_CUT)
        if name == _SEGMENT:
            segments += 1
            if segments > 1:
                raise FaultError("several files joined end to end; split them")
        if name in (_SEGMENT, _CLUSTER, _GROUP):
            ends.append(ends[-1] if unknown else at + length)
            continue
        if unknown or at + length > ends[-1]:
            raise FaultError("damaged: its elements don't fit into each other")
        at += length


def _vint(data: bytes, *, keep: bool = False) -> tuple[int, int]:
    """A number of variable length, and its length; (0, 0) if there is none."""
    if not data or not data[0]:
        return 0, 0
    length = 9 - data[0].bit_length()
    if len(data) < length:
        return 0, 0
    value = int.from_bytes(data[:length], "big")
    return (value if keep else value & ~(1 << 7 * length)), length


def _asf(source: Source) -> None:
    """Objects of ASF (WMA, WMV) fill the file, whose length is in its header."""
    header = int.from_bytes(source.at(16, 8), "little")
    at = 30
    while at < min(header, source.size):
        head = source.at(at, 24)
        length = int.from_bytes(head[16:24], "little")
        if len(head) < 24 or length < 24:
            raise FaultError("damaged: its ASF header")
        if head[:16] == _ASF_FILE:
            told, flags = int.from_bytes(source.at(at + 40, 8), "little"), source.at(at + 88, 1)
            if flags and not flags[0] & 1 and told > source.size:
                raise FaultError(_CUT)
        at += length
    head = source.at(header, 24)
    length = int.from_bytes(head[16:24], "little")
    if head[:16] != _ASF_DATA or (length and header + length > source.size):
        raise FaultError(_CUT)


def _amr(source: Source) -> Fraction:
    """Frames of AMR (RFC 4867) of 20 ms each; the first byte of a frame gives its length."""
    mark = next((mark for mark in _AMR if source.at(0, len(mark)) == mark), b"")
    if not mark:
        raise FaultError("AMR of several channels is not read; convert it to WAV or FLAC")
    at, counted = len(mark), 0
    for _ in steps():
        if at >= source.size:
            break
        first = source.at(at, 1)[0]
        length = _AMR[mark][first >> 3 & 15]
        if not length or first & 0x83:
            if source.run_of(0, at, source.size) == source.size and counted:
                break
            raise FaultError(f"damaged: no AMR frame where one should be, at byte {at}")
        at += length
        counted += 1
    if at > source.size:
        raise FaultError(_CUT)
    return Fraction(counted, 50)


def _flv(source: Source) -> None:
    """Tags of Flash video; each gives its length before and after its content."""
    at = int.from_bytes(source.at(5, 4), "big") + 4
    for _ in steps():
        if at >= source.size:
            break
        head = source.at(at, 11)
        length = int.from_bytes(head[1:4], "big") + 11
        if at + length + 4 > source.size:
            raise FaultError(_CUT)
        if int.from_bytes(source.at(at + length, 4), "big") != length:
            raise FaultError(f"damaged: no tag where one should be, at byte {at}")
        at += length + 4


def _avi(source: Source) -> None:
    """RIFF chunks of AVI fill the file, and the pieces of sound and picture the list that holds them."""
    at, movie = 0, 0
    for _ in steps():
        if at >= source.size or (at and source.run_of(0, at, source.size) == source.size):
            break
        head = source.at(at, 12)
        name, length, form = head[:4], int.from_bytes(head[4:8], "little"), head[8:]
        if at and form == b"AVI ":
            raise FaultError("several files joined end to end; split them")
        inside = at < movie
        if len(head) < 8 or not (name[2:] in _AVI_PIECES if inside else name.isalnum() and name.isascii()):
            raise FaultError(f"damaged: no chunk where one should be, at byte {at}")
        if name == b"RIFF" or (name == b"LIST" and form in (b"movi", b"rec ")):
            if at + 8 + length > source.size:
                raise FaultError(_CUT)
            movie = max(movie, at + 8 + length) if name == b"LIST" else 0
            at += 12
        else:
            at += 8 + length + length % 2
    if at > source.size + 1:
        raise FaultError(_CUT)


def _wavpack(source: Source) -> None:
    """Blocks of WavPack follow each other, and so do their samples."""
    at, samples, total = 0, 0, 0
    for _ in steps():
        if at >= source.size:
            break
        at = tags.skip(source, at, source.size)
        head = source.at(at, 32)
        if not head:
            break
        length = int.from_bytes(head[4:8], "little") + 8
        if head[:4] != b"wvpk" or len(head) < 32:
            raise FaultError(f"damaged: no WavPack block where one should be, at byte {at}")
        if at + length > source.size:
            raise FaultError(_CUT)
        index, held, flags = (int.from_bytes(head[place : place + 4], "little") for place in (16, 20, 24))
        total = total or int.from_bytes(head[12:16], "little")
        if held and index != samples:
            raise FaultError("damaged: WavPack blocks are missing in its middle")
        samples += held if flags & 1 << 12 else 0
        at += length
    if total not in (samples, 0xFFFFFFFF):
        raise FaultError("truncated: WavPack blocks are missing at its end")


def _transport(source: Source) -> None:
    """Packets of an MPEG transport stream have one length and are numbered per stream."""
    counters: dict[int, int] = {}
    for at in range(0, source.size, 188):
        head = source.at(at, 6)
        if head[:1] != b"G" or at + 188 > source.size:
            raise FaultError(_CUT if head[:1] == b"G" else f"damaged: no packet where one should be, at byte {at}")
        stream, counter, kind = int.from_bytes(head[1:3], "big") & 0x1FFF, head[3] & 15, head[3] >> 4 & 3
        if stream == 0x1FFF or not kind & 1:
            continue
        broken = kind & 2 and head[4] and head[5] & 0x80
        if stream in counters and not broken and counter not in (counters[stream], counters[stream] + 1 & 15):
            raise FaultError(f"damaged: a packet is missing before byte {at}")
        counters[stream] = counter


def _adts_length(head: bytes) -> int:
    """Length of a frame of raw AAC (ADTS); 0 if there is none."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 >= len(_AAC_RATES):
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length >= 7 else 0


def _adts(source: Source) -> Fraction:
    """Frames of raw AAC with 1,024 samples each."""
    at, blocks = tags.skip(source, 0, source.size), 0
    first = source.at(at, 4)
    rate = _AAC_RATES[first[2] >> 2 & 15]
    while at < source.size:
        head = source.at(at, 9)
        length = _adts_length(head)
        if not length:
            behind = tags.skip(source, at, source.size)
            if behind == source.size and blocks > 1:
                break
            raise FaultError(f"damaged: no AAC frame where one should be, at byte {at}" if blocks else "not audio")
        if head[1] != first[1] or head[2] & 0xFD != first[2] & 0xFD:
            raise FaultError(f"damaged: another kind of AAC frame at byte {at}")
        at += length
        blocks += (head[6] & 3) + 1
    if at > source.size:
        raise FaultError(_CUT)
    return Fraction(blocks * 1024, rate)
