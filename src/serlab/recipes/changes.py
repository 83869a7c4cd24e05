"""Changes of a recipe's settings, applied to plain data; a setting without effect never makes a variant."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from serlab.approaches.base import Approach
from serlab.core import UserError, setting
from serlab.core.progress import say
from serlab.core.settings import plain, read_yaml

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")
_Parsed = tuple["Change", list[str], Any]


@dataclass(frozen=True)
class Change:
    """One setting to change.

    Attributes:
        text: ``section.key=value``, the value in YAML.
        shared: whether it is for all recipes. Recipes on which it has no effect then ignore it;
            otherwise it is an error.
        option: as the user wrote it, for errors; the text if empty.
    """

    text: str
    shared: bool = False
    option: str = ""

    @property
    def shown(self) -> str:
        """Name of the change in errors."""
        return self.option or self.text

    def parsed(self) -> tuple[list[str], Any]:
        """Keys from the section on, and the value.

        Raises:
            UserError: the text is not of that form.
        """
        path, equals, value = self.text.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise UserError(f"{self.shown} is not of the form section.key=value, e.g. training.epochs=3.")
        # YAML 1.1 reads "1e-5" as text, because it has no dot.
        if _NUMBER.fullmatch(value.strip()):
            return keys, float(value)
        return keys, read_yaml(value, self.shown)


@dataclass(frozen=True)
class Kinds:
    """The existing settings, and which of them affect a kind of model.

    Attributes:
        approaches: name -> approach.
        sections: the settings beside the model.
    """

    approaches: Mapping[str, Approach[Any]]
    sections: Mapping[str, type[Any]]

    def uses(self, kind: str, keys: Sequence[str]) -> bool:
        """Whether a setting has an effect on a kind of model; True for unknown kinds, which the recipe refuses."""
        section, key = keys[:2]
        if kind not in self.approaches:
            return True
        approach = self.approaches[kind]
        if section == "model":
            return key in _names(approach.settings) or not self._any(key)
        known = section in self.sections and key in _names(self.sections[section])
        return not known or approach.supports.uses(f"{section}.{key}")

    def _any(self, key: str) -> bool:
        return any(key in _names(approach.settings) for approach in self.approaches.values())

    def why(self, name: str, kind: str, keys: Sequence[str]) -> str:
        """Explain that a setting has no effect on a recipe."""
        there = [other for other in self.approaches if self.uses(other, keys)]
        *others, last = [self.approaches[each].titles[1] for each in there]
        many = f"{', '.join(others)} and {last}" if others else last
        networks = [other for other, approach in self.approaches.items() if approach.supports.epochs]
        many = "networks" if there == networks else many
        return f"{'.'.join(keys[:2])} is for {many}; {name} is {self.approaches[kind].titles[0]}"

    def defaults(self, kind: str) -> dict[str, Any]:
        """Default of each setting, as plain data."""
        return {
            "model": defaults_of(self.approaches[kind].settings),
            **{name: defaults_of(each) for name, each in self.sections.items()},
        }

    def known(self, kind: str) -> list[str]:
        """Dotted names of the settings that have an effect on a kind."""
        if kind not in self.approaches:
            return []
        return [path for path in flat(self.defaults(kind)) if self.uses(kind, path.split("."))]

    def used(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """A recipe's plain data without settings beside the model that have no effect on its kind."""
        kind = _kind_of(data)
        return {
            section: {key: item for key, item in value.items() if self.uses(kind, (section, str(key)))}
            if section in self.sections and isinstance(value, Mapping)
            else value
            for section, value in data.items()
        }


def apply(data: dict[str, Any], changes: Iterable[Change], name: str, kinds: Kinds) -> None:
    """Change a recipe's plain data in place, later changes last.

    Args:
        data: the recipe's sections.
        changes: what to change.
        name: the recipe's name in messages.
        kinds: which settings have an effect.

    Raises:
        UserError: a change has no section, addresses a key of a plain value, or is only for this
            recipe but has no effect on it.
    """
    parsed: list[_Parsed] = [(change, *change.parsed()) for change in changes]
    kind = _kind_after(data, parsed)
    for change, keys, value in parsed:
        _check_section(change, keys, data, kinds, kind)
        whole = len(keys) == 1 and keys[0] in kinds.sections and isinstance(value, dict)
        paths = [[keys[0], str(key)] for key in value] if whole else [keys] if len(keys) > 1 else []
        ignored = [path for path in paths if not kinds.uses(kind, path)]
        for path in ignored:
            if not change.shared:
                raise UserError(f"{change.shown}: {kinds.why(name, kind, path)}.")
            say(f"{change.shown} is left out for {name}: {kinds.why(name, kind, path)}.")
        if whole:
            value = {key: item for key, item in value.items() if kinds.uses(kind, (keys[0], str(key)))}
        if not ignored or (whole and value):
            _put(data, keys, value, change)


def flat(config: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested settings by dotted name; an empty section is a value.

    >>> flat({"training": {"targets": "soft"}})
    {'training.targets': 'soft'}
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        deeper = isinstance(value, Mapping) and value
        found |= flat(value, f"{above}{key}.") if deeper else {f"{above}{key}": value}
    return found


def _kind_of(data: Mapping[str, Any]) -> str:
    model = data.get("model")
    return str(model.get("kind")) if isinstance(model, Mapping) else ""


def _kind_after(data: Mapping[str, Any], parsed: Iterable[_Parsed]) -> str:
    """The kind of model after all changes; it decides which settings have an effect."""
    draft = copy.deepcopy(dict(data))
    for change, keys, value in parsed:
        if keys in (["model"], ["model", "kind"]):
            _put(draft, keys, copy.deepcopy(value), change)
    return _kind_of(draft)


def _check_section(change: Change, keys: Sequence[str], data: Mapping[str, Any], kinds: Kinds, kind: str) -> None:
    """Refuse a setting without its section and suggest the one that was probably meant."""
    if keys[0] in ("title", "model", *kinds.sections, *data):
        return
    asked = ".".join(keys)
    for paths in (kinds.known(kind), sorted({path for each in kinds.approaches for path in kinds.known(each)})):
        meant = [path for path in paths if path.endswith(f".{asked}")]
        if not meant and len(keys) == 1:
            last = {path: path.rsplit(".", 1)[-1] for path in paths}
            near = difflib.get_close_matches(asked.lower(), set(last.values()), n=1, cutoff=0.75)
            meant = [path for path in paths if last[path] in near]
        if meant:
            value = change.text.partition("=")[2]
            ways = " or ".join(setting(path, value) for path in meant)
            raise UserError(f"{change.shown} has no section; write {ways}.")


def _put(data: dict[str, Any], keys: Sequence[str], value: Any, change: Change) -> None:
    for key in keys[:-1]:
        if data.get(key) is None:
            data[key] = {}
        data = data[key]
        if not isinstance(data, dict):
            raise UserError(f"{change.shown}: {key} is a value, not a section.")
    data[keys[-1]] = value


def _names(kind: type[Any]) -> list[str]:
    return [each.name for each in fields(kind)]


def defaults_of(kind: type[Any]) -> dict[str, Any]:
    """Defaults of a section's fields as plain data."""
    return {
        each.name: plain(each.default_factory() if each.default_factory is not MISSING else each.default)
        for each in fields(kind)
    }
