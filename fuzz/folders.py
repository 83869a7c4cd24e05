"""Corpora in folders with odd names, links, formats, places, and entries that are not files."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from fuzz import materials

_ODD_NAMES = (
    "a b.wav", "ä.wav", "a\u0308.wav", "\U0001f600.wav", "a\nb.wav", "a\x1b[31mb.wav", "[red]a.wav", "-rf.wav",
    "a'b\".wav", "a,b.wav", "a.b.c.wav", "a.WAV", "a.Mp3", "x" * 200 + ".wav", "a%20b.wav", "CON.wav", "=a.wav",
    os.fsdecode(b"a\xffb.wav"), "a\u202eb.wav", "a .wav", "~a.wav", "$HOME.wav", "a;b.wav", "a\tb.wav", "a.wav.wav",
    "a..wav",
)  # fmt: skip
_NOT_MEDIA = (
    ".DS_Store",
    "Thumbs.db",
    "notes.txt",
    "cover.jpg",
    "labels.csv",
    ".hidden.wav",
    "._a.wav",
    "a.wav.md5",
    "a.TextGrid",
)


@dataclass
class Tree:
    """A corpus in a folder.

    Attributes:
        root: the folder.
        media: path of each media entry -> its fault, or an empty string.
        labels: label folders.
        how: description of the mutations.
        causes: mutation that added each entry.
    """

    root: Path
    media: dict[Path, str] = field(default_factory=dict)
    causes: dict[Path, str] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)
    how: list[str] = field(default_factory=list)


def put(tree: Tree, path: Path, source: Path, wrong: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, path)
    tree.media[path] = wrong


def _sound(seeds: Path) -> Path:
    return seeds / "corpus" / "s05_sad_1.wav"


def _label(random: Random) -> str:
    return random.choice(materials.LABELS)


def _nothing(random: Random, tree: Tree, seeds: Path) -> None:
    tree.how.append("untouched")


def _odd_name(random: Random, tree: Tree, seeds: Path) -> None:
    name = random.choice(_ODD_NAMES)
    put(tree, tree.root / _label(random) / name, _sound(seeds))
    tree.how.append(f"odd name: {name[:30]!r}")


def _other_format(random: Random, tree: Tree, seeds: Path) -> None:
    path = random.choice(sorted((seeds / "sounds").iterdir()))
    put(tree, tree.root / _label(random) / path.name, path)
    tree.how.append(f"format: {path.name}")


def _damaged(random: Random, tree: Tree, seeds: Path) -> None:
    how = random.choice(("cut", "empty", "text", "pointer", "silent"))
    suffix = random.choice((".wav", ".wav", ".mp3", ".m4a"))
    path = tree.root / _label(random) / f"damaged{suffix}"
    put(tree, path, _sound(seeds), how)
    data = path.read_bytes()
    contents = {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "text": b"not a sound",
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n",
        "silent": data[:44] + bytes(len(data) - 44),
    }
    path.write_bytes(contents[how])
    tree.how.append(f"damaged: {how} as {suffix}")


def _link(random: Random, tree: Tree, seeds: Path) -> None:
    how = random.choice(
        ("dangling", "annex", "to a file", "to itself", "folder", "label folder", "loop", "dangling folder")
    )
    folder = tree.root / _label(random)
    outside = tree.root.parent / "outside"
    outside.mkdir(exist_ok=True)
    if how in ("folder", "label folder"):
        shutil.copyfile(_sound(seeds), outside / "linked.wav")
        link = folder / "more" if how == "folder" else tree.root / "linked"
        if how == "label folder":
            tree.labels.add("linked")
        tree.how.append(f"link: {how}")
        if link.is_symlink():
            return
        link.symlink_to(outside, target_is_directory=True)
        tree.media[link / "linked.wav"] = ""
        return
    elif how == "loop":
        if not (folder / "loop").is_symlink():
            (folder / "loop").symlink_to("..", target_is_directory=True)
    elif how == "dangling folder":
        tree.how.append("link: dangling folder")
        tree.labels.add("gone")
        if not (tree.root / "gone").is_symlink():
            (tree.root / "gone").symlink_to("/nonexistent/gone")
        return
    else:
        path = folder / f"link-{how.replace(' ', '-')}.wav"
        if path.is_symlink():
            tree.how.append("link again")
            return
        if how == "to a file":
            shutil.copyfile(_sound(seeds), outside / "target.wav")
        targets = {
            "dangling": "absent.wav", "annex": "../.git/annex/objects/x1/SHA256E-s9--00.wav", "to itself": path.name,
            "to a file": str(outside / "target.wav"),
        }  # fmt: skip
        path.symlink_to(targets[how])
        tree.media[path] = "" if how == "to a file" else how
    tree.how.append(f"link: {how}")


def _special(random: Random, tree: Tree, seeds: Path) -> None:
    how = random.choice(("socket", "pipe", "folder", "full folder"))
    path = tree.root / _label(random) / f"special-{how.replace(' ', '-')}.wav"
    tree.how.append(f"special: {how}")
    if path.exists():
        return
    if how == "socket":
        before = Path.cwd()
        os.chdir(path.parent)
        with socket.socket(socket.AF_UNIX) as ear, suppress(OSError):
            ear.bind(path.name)
        os.chdir(before)
        tree.media[path] = how
    elif how == "pipe":
        os.mkfifo(path)
        tree.media[path] = how
    elif how == "folder":
        path.mkdir()
    else:
        put(tree, path / "inside.wav", _sound(seeds))


def _odd_label(random: Random, tree: Tree, seeds: Path) -> None:
    """Add a label folder that is empty, has no usable file, or has a name similar to another."""
    how = random.choice(
        (
            "empty",
            "only m4a",
            "only damaged",
            "only text",
            "upper case",
            "blank behind",
            "no UTF-8",
            "decomposed",
            "odd sign",
        )
    )
    names = {
        "upper case": "HAPPY", "blank behind": "happy ", "no UTF-8": os.fsdecode(b"b\xf6se"),
        "decomposed": "wu\u0308tend", "odd sign": random.choice(("[red]", "a\nb", "a\x1b[31m", "-x", "a,b", "=x")),
    }  # fmt: skip
    name = names.get(how, "bored")
    tree.labels.add(name)
    folder = tree.root / name
    if how == "empty":
        folder.mkdir(parents=True, exist_ok=True)
    elif how == "only m4a":
        found = sorted((seeds / "sounds").glob("*.m4a")) or [_sound(seeds)]
        put(tree, folder / "phone.m4a", found[0])
    elif how == "only damaged":
        put(tree, folder / "bad.wav", _sound(seeds), "empty")
        (folder / "bad.wav").write_bytes(b"")
    elif how == "only text":
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "notes.txt").write_text("nothing yet")
    else:
        put(tree, folder / "a.wav", _sound(seeds))
    # Progress bars escape control characters in names.
    tree.how.append(f"odd name of a label: {how}" if how in ("odd sign", "no UTF-8") else f"label folder: {how}")


def _placed(random: Random, tree: Tree, seeds: Path) -> None:
    how = random.choice(("deeper", "at the top", "same stem", "not media", "deep", "trash"))
    label = tree.root / _label(random)
    if how == "deeper":
        put(tree, label / "session1" / "a.wav", _sound(seeds))
    elif how == "at the top":
        put(tree, tree.root / "a.wav", _sound(seeds))
    elif how == "same stem":
        put(tree, label / "twin.wav", _sound(seeds))
        put(tree, label / "twin.flac", seeds / "sounds" / "flac-16.flac")
    elif how == "deep":
        put(tree, label.joinpath(*"abcdefghijklmnopqrstuvwxyz") / "a.wav", _sound(seeds))
    elif how == "trash":
        (tree.root / "__MACOSX" / "happy").mkdir(parents=True, exist_ok=True)
        (tree.root / "__MACOSX" / "happy" / "._s00.wav").write_bytes(b"\0\5\x16\7" + bytes(100))
    else:
        for name in random.sample(_NOT_MEDIA, 3):
            (label / name).write_bytes(b"x")
    tree.how.append(f"placed: {how}")


ODDITIES: tuple[Callable[[Random, Tree, Path], None], ...] = (
    _nothing, _odd_name, _odd_name, _odd_name, _other_format, _other_format, _damaged, _link, _link, _link, _special,
    _odd_label, _odd_label, _placed, _placed,
)  # fmt: skip
