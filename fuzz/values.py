"""Damage plain data: fields that are missing, of other types, absurd, nested or duplicated; and invalid JSON."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from random import Random
from typing import Any

Path = tuple[Any, ...]

ABSURD_NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2, 7, 10**9, 2**31, 2**63, 10**30, -(10**30), 0.5, -0.5, 1e-30, 1e308, -1e308,
)  # fmt: skip
NO_NUMBERS: tuple[Any, ...] = (float("nan"), float("inf"), float("-inf"))
OTHER_TYPES: tuple[Any, ...] = (
    "", "abc", "0", "None", [], [1], ["a"], [[]], {}, {"a": 1}, {"0": {}}, [None], "x" * 5000, "\u0000", "../../etc",
    [1] * 1000,
)  # fmt: skip


def paths(data: Any, most: int = 400) -> list[Path]:
    """Return the paths of all fields of nested dictionaries and lists."""
    found: list[Path] = []
    line: list[tuple[Path, Any]] = [((), data)]
    while line and len(found) < most:
        path, value = line.pop(0)
        inner = value.items() if isinstance(value, dict) else enumerate(value[:4]) if isinstance(value, list) else ()
        for key, each in inner:
            found.append((*path, key))
            line.append(((*path, key), each))
    return found


def at(data: Any, path: Sequence[Any]) -> Any:
    """Return the value at a path."""
    for key in path:
        data = data[key]
    return data


def changed(data: Any, path: Sequence[Any], value: Any) -> Any:
    """Return a copy with another value at a path."""
    fresh = copy.deepcopy(data)
    at(fresh, path[:-1])[path[-1]] = value
    return fresh


def without(data: Any, path: Sequence[Any]) -> Any:
    """Return a copy without the value at a path."""
    fresh = copy.deepcopy(data)
    del at(fresh, path[:-1])[path[-1]]
    return fresh


def spoil(random: Random, data: Any) -> tuple[str, str, Any]:
    """Change one field.

    Returns:
        The mutation: ``deleted``, ``null``, ``number`` (another number), ``no-number``,
        ``retyped``, ``flipped`` (a boolean), ``text`` (another text) or ``nested``; a description;
        and the changed copy.
    """
    path = random.choice(paths(data) or [()])
    if not path:
        return "retyped", "the whole", random.choice((None, [], 0, "text"))
    old = at(data, path)
    name = ".".join(map(str, path))
    how = random.choice(("deleted", "null", "typed", "typed", "typed", "value", "value", "nested"))
    if how == "deleted":
        return "deleted", name, without(data, path)
    if how == "null" and old is not None:
        return "null", name, changed(data, path, None)
    if how == "nested":
        return "nested", name, changed(data, path, {"value": [old]} if random.random() < 0.5 else [old, old])
    if how == "value":
        if isinstance(old, bool):
            return "flipped", name, changed(data, path, not old)
        if isinstance(old, int | float):
            value = random.choice(ABSURD_NUMBERS + NO_NUMBERS)
            plain = "no-number" if value in (float("inf"), float("-inf")) or value != value else "number"
            return plain, f"{name} = {value!r}", changed(data, path, value)
        if isinstance(old, str):
            value = random.choice(("", "abc", f"{old}x", old.upper(), "gelu", "x\ny", "\udce9", "../..", "0"))
            return "text", f"{name} = {value!r}", changed(data, path, value)
    choices = [
        value
        for value in (*OTHER_TYPES, *NO_NUMBERS, 10**30, True)
        if type(value) is not type(old) and not (isinstance(old, int | float) and isinstance(value, int | float))
    ]
    value = random.choice(choices)
    return "retyped", f"{name} = {str(value)[:30]!r}", changed(data, path, value)


def spoilt_text(random: Random, text: str) -> tuple[str, bytes]:
    """Return invalid or unusual JSON: a description and the bytes."""
    raw = text.encode("utf-8", "surrogatepass")
    choices: list[tuple[str, bytes]] = [
        ("cut", raw[: random.randrange(len(raw))]),
        ("empty", b""),
        ("null", b"null"),
        ("a list", b"[]"),
        ("a number", b"42"),
        ("a text", b'"text"'),
        ("UTF-16", text.encode("utf-16", "surrogatepass")),
        ("bytes that are no UTF-8", raw[:20] + b"\xff\xfe\x80" + raw[20:]),
        ("a trailing comma", raw.rstrip()[:-1] + b",}"),
        ("deep nesting", b"[" * 100_000),
        ("deep nesting inside", raw.rstrip()[:-1] + b', "deep": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}"),
        ("a long number", raw.rstrip()[:-1] + b', "long": ' + b"9" * 10_000 + b"}"),
        ("an LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"),
        ("HTML", b"<!DOCTYPE html><html><body>404</body></html>"),
        ("twenty megabytes", raw.rstrip()[:-1] + b', "much": "' + b"x" * 20_000_000 + b'"}'),
        ("zeros", bytes(1000)),
    ]
    return random.choice(choices)


def dumped(data: Any) -> bytes:
    """Serialise as Python does, with NaN and lone surrogates."""
    return json.dumps(data, indent=1).encode()
