"""Damaged and odd audio files: a clip must be refused with a reason or have exactly the recorded length."""

from __future__ import annotations

import os
import re
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from fuzz import sounds
from fuzz.cases import FREE, KEPT, REFUSED, WHOLE, Case, Fault, sentence_faults, short
from fuzz.sounds import Sound

WARM = ("serlab.audio", "fuzz.sounds")

_RATE = 16000
_LONGEST_REASON = 300
# Rounding by containers, in samples at 16 kHz.
_ROUNDING = 2


@dataclass(frozen=True)
class Damaged:
    """A test file: its mutations, its bytes, and the expected result of reading it."""

    how: str
    data: bytes
    expect: str
    seconds: float
    slack: float


def prepare(seeds: Path) -> None:
    """Do nothing; sounds are made when they are needed."""


def make(random: Random, seeds: Path, folder: Path) -> Case:
    """Write a sound, damaged in one or two ways, or something else."""
    if random.random() < 0.04:
        return _special(random, folder)
    sound = sounds.make(random)
    form = sound.format
    damaged = random.choice(_DAMAGES)(random, sound)
    if random.random() < 0.15 and damaged.expect != WHOLE:
        again = _twice(sound, damaged)
        second = random.choice(_PLAIN)(random, again)
        expect = FREE if FREE in (damaged.expect, second.expect) else KEPT
        damaged = Damaged(f"{damaged.how}; {second.how}", second.data, expect, damaged.seconds, damaged.slack)
    suffix = sound.suffix
    if random.random() < 0.08:
        suffix = random.choice((".wav", ".mp3", ".flac", ".ogg", ".m4a", ".dat", ".WAV", "", ".raw", ".aac"))
    path = folder / f"clip{suffix}"
    path.write_bytes(damaged.data)
    text = f"{form}: {damaged.how}; {sound.rate} Hz, {sound.seconds:.3f} s, as {path.name}; expected: {damaged.expect}"
    return Case(text, partial(_judge, sound, damaged, path, folder))


def _twice(sound: Sound, damaged: Damaged) -> Sound:
    return Sound(
        sound.format, sound.suffix, damaged.data, sound.seconds, sound.rate, sound.slack, sound.promises,
        sound.unguarded,
    )  # fmt: skip


def _judge(sound: Sound, damaged: Damaged, path: Path, folder: Path) -> Iterator[Fault]:
    where = f"{sound.format}: {damaged.how.partition(' ')[0]}"
    heard = _heard(path)
    if isinstance(heard, str):
        yield from _reason_faults(heard, where)
        if damaged.expect == WHOLE:
            yield Fault("refused", f"refused: {heard}", where)
    elif damaged.expect == REFUSED:
        yield Fault("length", f"no audio became a clip of {heard} samples", where)
    elif damaged.expect != FREE:
        yield from _length_faults(sound, damaged, heard, folder, where)
    yield from printed(where)


def _length_faults(sound: Sound, damaged: Damaged, heard: int, folder: Path, where: str) -> Iterator[Fault]:
    wanted = damaged.seconds * _RATE
    slack = damaged.slack * _RATE + _ROUNDING
    if damaged.data != sound.data and damaged.seconds == sound.seconds:
        # The closest reference is the undamaged file, read in the same way.
        whole = folder / f"undamaged{sound.suffix}"
        whole.write_bytes(sound.data)
        reference = _heard(whole)
        if isinstance(reference, int) and abs(reference - wanted) <= slack:
            wanted = reference
    if abs(heard - wanted) > slack:
        how = "shorter" if heard < wanted else "longer"
        yield Fault("length", f"{how}: {heard / _RATE:.3f} s instead of {wanted / _RATE:.3f} s", f"{where}: {how}")


def _heard(path: Path) -> int | str:
    """Return the samples of a clip at 16 kHz, or the reason for its exclusion."""
    from serlab import audio

    try:
        return len(audio.Audio.from_file(path).samples)
    except audio.AudioError as error:
        return error.reason


def _reason_faults(reason: str, where: str) -> Iterator[Fault]:
    if not reason or "\n" in reason or len(reason) > _LONGEST_REASON:
        yield Fault("sentence", f"the reason is not a phrase: {short(reason)!r}", f"{where}: reason")
    yield from (fault for fault in sentence_faults(f"{reason}.", where) if fault.column == "noise")


def printed(where: str) -> Iterator[Fault]:
    """Yield a fault if a library printed something; reading a file must print nothing."""
    sys.stdout.flush()
    sys.stderr.flush()
    with Path("/proc/self/fd/2").open("rb") as stream:
        text = stream.read(2000).decode(errors="replace").strip()
    if text:
        plain = re.sub(r"0x\w+|\d+", "N", short(text, 40))
        yield Fault("noise", f"printed: {short(text)}", f"{where.partition('-')[0]}: {plain}")


# Mutations of a sound
# --------------------------------------------------------------------------------------------


def _damaged(sound: Sound, how: str, data: bytes, *, touched: int | None = None, expect: str = KEPT) -> Damaged:
    """A damaged sound; if changes from byte ``touched`` on may be valid, every result is accepted."""
    if touched is not None and (not sound.promises or sound.is_unguarded(touched)):
        expect = FREE
    return Damaged(how, data, expect, sound.seconds, sound.slack)


def _untouched(random: Random, sound: Sound) -> Damaged:
    return _damaged(sound, "untouched", sound.data, expect=WHOLE)


def _place(random: Random, sound: Sound) -> int:
    """Choose a position in a file: anywhere, near its ends, at a block, or at a page or frame."""
    size = len(sound.data)
    chosen = random.randrange(6)
    if chosen == 0:
        return random.randrange(min(size, 128))
    if chosen == 1:
        return max(0, size - random.randrange(1, 16))
    if chosen == 2:
        return random.randrange(0, size, 512)
    mark = {"ogg": b"OggS", "mp3": b"\xff\xfb", "flac": b"\xff\xf8"}.get(sound.family, b"\0\0")
    place = sound.data.find(mark, random.randrange(size))
    return place if chosen == 3 and place > 0 else random.randrange(size)


def _truncate(random: Random, sound: Sound) -> Damaged:
    place = max(1, _place(random, sound))
    expect = KEPT if sound.promises else FREE
    return _damaged(sound, f"cut at {place:,} of {len(sound.data):,}", sound.data[:place], expect=expect)


def _flip(random: Random, sound: Sound) -> Damaged:
    data, places = bytearray(sound.data), []
    for _ in range(random.choice((1, 1, 1, 2, 8))):
        place = _place(random, sound)
        data[place] ^= 1 << random.randrange(8)
        places.append(place)
    free = any(sound.is_unguarded(place) for place in places) or not sound.promises
    return _damaged(sound, f"bits flipped at {places}", bytes(data), expect=FREE if free else KEPT)


def _overwrite(random: Random, sound: Sound) -> Damaged:
    place = _place(random, sound)
    count = random.choice((1, 4, 64, 512, 4096))
    value = random.choice((b"\0", b"\xff", None))
    filler = random.randbytes(count) if value is None else value * count
    data = sound.data[:place] + filler[: len(sound.data) - place] + sound.data[place + count :]
    name = "noise" if value is None else value.hex()
    return _damaged(sound, f"overwritten {count} bytes at {place:,} by {name}", data, touched=place)


def _remove(random: Random, sound: Sound) -> Damaged:
    place = _place(random, sound)
    count = random.choice((1, 2, 100, 512, 4096, 10_000))
    return _damaged(
        sound, f"removed {count} bytes at {place:,}", sound.data[:place] + sound.data[place + count :], touched=place
    )


def _repeat(random: Random, sound: Sound) -> Damaged:
    place = _place(random, sound)
    count = random.choice((1, 2, 100, 512, 4096))
    data = sound.data[: place + count] + sound.data[place:]
    return _damaged(sound, f"repeated {count} bytes at {place:,}", data, touched=place)


def _splice(random: Random, sound: Sound) -> Damaged:
    other = sounds.make(random, like=sound)
    place, from_there = _place(random, sound), _place(random, other)
    data = sound.data[:place] + other.data[from_there:]
    # Header fields are unambiguous only at the front.
    expect = KEPT if sound.promises and sound.unguarded != (range(len(sound.data)),) else FREE
    if sound.suffix in (".m4a", ".mov", ".3gp") or place < 1024:
        expect = FREE
    return _damaged(sound, f"spliced at {place:,} with another from {from_there:,}", data, expect=expect)


def _join(random: Random, sound: Sound) -> Damaged:
    parts = [sound, *(sounds.make(random, like=sound) for _ in range(random.choice((1, 1, 2))))]
    return Damaged(
        f"joined {len(parts)} end to end", b"".join(part.data for part in parts), KEPT,
        sum(part.seconds for part in parts), sum(part.slack for part in parts) + (len(parts) - 1) / _RATE,
    )  # fmt: skip


def _append(random: Random, sound: Sound) -> Damaged:
    count = random.choice((1, 7, 128, 1000, 5000))
    return _damaged(sound, f"appended {count} random bytes", sound.data + random.randbytes(count))


def _prepend(random: Random, sound: Sound) -> Damaged:
    count = random.choice((1, 7, 128, 1000, 5000))
    expect = KEPT if sound.promises else FREE
    return _damaged(sound, f"prepended {count} random bytes", random.randbytes(count) + sound.data, expect=expect)


def _field(random: Random, sound: Sound) -> Damaged:
    """Change a number in the header: two, four or eight bytes in either byte order."""
    ranges = [each for each in sound.unguarded if len(each)]
    if not ranges:
        return _flip(random, sound)
    chosen = random.choice(ranges)
    width = random.choice((2, 4, 4, 8))
    place = min(random.randrange(chosen.start, min(chosen.stop, chosen.start + 600)) & ~1, len(sound.data) - width)
    order = random.choice(("little", "big"))
    old = int.from_bytes(sound.data[place : place + width], order)  # type: ignore[arg-type]
    top = 256**width - 1
    value = random.choice((0, 1, top, top // 2, max(0, old - 1), min(top, old + 1), min(top, 2 * old), old // 2))
    data = sound.data[:place] + value.to_bytes(width, order) + sound.data[place + width :]  # type: ignore[arg-type]
    return _damaged(sound, f"field of {width} bytes at {place} from {old} to {value}", data, expect=FREE)


def _wav_sizes(random: Random, sound: Sound) -> Damaged:
    """A WAV whose header was never finalised, or promises more than the file contains."""
    place = sound.data.find(b"data") + 4
    if sound.family != "wav" or sound.format in ("wav-rf64", "wav-adpcm", "wav-mp3"):
        return _flip(random, sound)
    order = ">" if sound.format == "wav-rifx" else "<"
    size = len(sound.data) - place - 4
    unclosed = random.random() < 0.6
    value = (
        random.choice((0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000))
        if unclosed
        else size + 2 * random.choice((1, 2, 100, 10_000, size))
    )
    riff = value if value in (0, 0xFFFFFFFF) else min(value + place - 4, 0xFFFFFFFF)
    data = (
        sound.data[:4] + struct.pack(f"{order}I", riff) + sound.data[8:place] + struct.pack(f"{order}I", value)
        + sound.data[place + 4 :]
    )  # fmt: skip
    if unclosed:
        return _damaged(sound, f"unclosed header, size {value:#x}", data, expect=WHOLE)
    return _damaged(sound, f"header-too-large by {value - size}", data)


def _harmless(random: Random, sound: Sound) -> Damaged:
    """Add harmless data that players and recorders write."""
    choices: list[tuple[str, bytes]] = []
    if sound.format == "wav-mp3":
        return _untouched(random, sound)
    if sound.family == "mp3":
        tags = {"ID3v1": sounds.id3v1(), "APEv2": sounds.apev2(), "APEv2 and ID3v1": sounds.apev2() + sounds.id3v1()}
        choices += [(f"tag-behind {name}", sound.data + tag) for name, tag in tags.items()]
        choices += [
            (f"tag-ahead ID3v2 of {size}", sounds.id3v2(size) + sound.data)
            for size in (20, 2000, 70_000)
            if not sound.data.startswith(b"ID3")
        ]
        choices += [(f"padding {count} zeros", sound.data + bytes(count)) for count in (1, 32, 4096)]
    elif sound.family == "wav" and sound.format not in ("wav-rifx", "wav-rf64"):
        odd = len(sound.data) % 2
        pad = sound.data + bytes(odd)
        listed = b"LIST" + (26).to_bytes(4, "little") + b"INFOISFT" + (14).to_bytes(4, "little") + b"Lavf60.3.100\0\0"
        bext = b"bext" + (602).to_bytes(4, "little") + bytes(602)
        junk = b"JUNK" + (28).to_bytes(4, "little") + bytes(28)
        choices = [
            ("chunk-behind LIST", pad + listed),
            ("chunk-behind id3", pad + b"id3 " + (40).to_bytes(4, "little") + sounds.id3v2(30)[:40].ljust(40, b"\0")),
            ("chunk-ahead JUNK", sound.data[:12] + junk + sound.data[12:]),
            ("chunk-ahead bext", sound.data[:12] + bext + sound.data[12:]),
            ("padding 2048 zeros", pad + bytes(2048)),
            ("padding 1 zero", pad + bytes(1)),
        ]
    elif sound.format in ("flac-16", "flac-24"):
        choices = [("tag-ahead ID3v2 of 300", sounds.id3v2(300) + sound.data)]
    if not choices:
        return _untouched(random, sound)
    how, data = random.choice(choices)
    return _damaged(sound, how, data, expect=WHOLE)


_PLAIN: tuple[Callable[[Random, Sound], Damaged], ...] = (_truncate, _flip, _overwrite, _remove, _append)
_DAMAGES: tuple[Callable[[Random, Sound], Damaged], ...] = (
    _untouched, _truncate, _truncate, _truncate, _flip, _flip, _overwrite, _remove, _repeat, _splice, _join, _join,
    _append, _prepend, _field, _field, _wav_sizes, _harmless, _harmless,
)  # fmt: skip


# Inputs that are not sound files
# ------------------------------------------------------------------------------------


def _special(random: Random, folder: Path) -> Case:
    """A pipe, a socket, a folder, a broken link, or bytes that are not audio."""
    suffix = random.choice((".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".webm", ".aac"))
    path = folder / f"clip{suffix}"
    contents = {
        "text": b"This is no sound.\n" * random.choice((1, 1000)),
        "utf-16 text": "Kein Ton.\n".encode("utf-16"),
        "JSON": b'{"audio": [0, 1, 2]}',
        "HTML": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "PNG": b"\x89PNG\r\n\x1a\n" + random.randbytes(500),
        "ZIP": b"PK\x03\x04" + random.randbytes(500),
        "random bytes": random.randbytes(random.choice((1, 3, 100, 20_000))),
        "zeros": bytes(random.choice((1, 44, 20_000))),
        "LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n",
        "annex pointer": b"/annex/objects/SHA256E-s123--" + b"0" * 64 + b".wav\n",
        "only a header": b"RIFF\x24\0\0\0WAVEfmt ",
        "empty": b"",
    }
    how = random.choice([*contents, "pipe", "socket", "folder", "dangling link", "link to itself", "long name"])
    if how in contents:
        path.write_bytes(contents[how])
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "socket":
        with socket.socket(socket.AF_UNIX) as ear, suppress(OSError):
            ear.bind(
                path.name
            )  # The full path may be too long for a socket, so use a path relative to the current folder.
    elif how == "folder":
        path.mkdir()
    elif how == "dangling link":
        path.symlink_to("../.git/annex/objects/absent.wav")
    elif how == "link to itself":
        path.symlink_to(path.name)
    else:
        path = folder / f"{'x' * 300}{suffix}"
    sound = Sound("special", suffix, b"", 0.0, _RATE, 0.0, False, ())
    return Case(
        f"special: {how} as {suffix}; expected: refused",
        partial(_judge, sound, Damaged(how, b"", REFUSED, 0.0, 0.0), path, folder),
    )
