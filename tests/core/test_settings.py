"""YAML from users: any content gives plain data or a one-sentence error, without delay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from serlab.core import UserError
from serlab.core.settings import build, read_yaml

BOMB = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)
])  # fmt: skip
MERGED = "a0: &a0 {x: 1}\n" + "\n".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 9))


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        (BOMB, "more than 10,000 values"),
        (MERGED, "more than 10,000 values"),
        ("&a [*a]", "levels deep"),
        ("&a {b: *a}", "levels deep"),
        ("[" * 5000, "levels deep"),
        ("{a: " * 5000, "levels deep"),
        ("- " * 5000, "levels deep"),
        ("[" * 40 + "]" * 40, "levels deep"),
        ("a" * 100_001, "more than 100,000 characters"),
        ("9" * 5000, "not valid YAML"),
        ("2001-02-31", "not valid YAML"),
        ("a: 1\na: 2", "the key 'a' twice"),
        ("{[a]: 1}", "not valid YAML"),
        ("!!python/object/apply:os.getcwd []", "not valid YAML"),
        ("!!binary x", "not valid YAML"),
        ("*nowhere", "not valid YAML"),
        ("a\x00b", "not valid YAML"),
        ("a: b\n---\nc: d", "not valid YAML"),
        ("\ud800", "not valid YAML"),
    ],
)
def test_what_is_not_plain_data_is_a_sentence(text, phrase):
    with pytest.raises(UserError) as caught:
        read_yaml(text, "the recipe mine.yaml")
    message = str(caught.value)
    assert message.startswith("the recipe mine.yaml ")
    assert phrase in message
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 500


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("3", 3),
        ("a: {b: [1, 2.5, true]}", {"a": {"b": [1, 2.5, True]}}),
        ("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}", {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}),
    ],
)
def test_plain_data_is_read(text, value):
    assert read_yaml(text, "it") == value


@dataclass(frozen=True)
class Nested:
    names: Mapping[str, tuple[int, ...]]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["a"], "it: names is .'a'.; it must be of type dict"),
        ({1: [2]}, "a key of it: names is 1; it must be of type str"),
        ({"a": [2, "b"]}, "it: names: a is 'b'; it must be of type int"),
    ],
)
def test_keys_and_values_of_a_mapping_are_checked(names, sentence):
    assert build(Nested, {"names": {"a": [2]}}, "it") == Nested({"a": (2,)})
    with pytest.raises(UserError, match=sentence):
        build(Nested, {"names": names}, "it")
