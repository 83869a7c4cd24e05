"""Settings: frozen dataclasses, built from plain data (YAML, JSON) with strict checks, and turned back.

The field ``kind`` selects the member of a union of dataclasses.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import types
import typing
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from serlab.core import UserError, unknown

if TYPE_CHECKING:
    import yaml

MOST_CHARACTERS = 100_000
"""Maximum length of YAML."""

_MOST_VALUES, _DEEPEST = 10_000, 32
_MOST = 2**31


def build(kind: Any, value: Any, where: str, *, recorded: bool = False) -> Any:
    """Build a value of the annotated type ``kind`` from plain data.

    Args:
        kind: a dataclass, a union of dataclasses, one type or None, ``tuple[X, ...]``, ``Literal``,
            ``Mapping`` or a plain type.
        value: the data.
        where: name of the place, for errors.
        recorded: the data is a record of settings; missing fields made by :func:`added` came later.

    Raises:
        UserError: a key is unknown, or a value has the wrong type or is out of range.
    """
    origin = typing.get_origin(kind)
    if origin is types.UnionType:
        possible = typing.get_args(kind)
        if types.NoneType in possible:
            (inner,) = (member for member in possible if member is not types.NoneType)
            return None if value is None else build(inner, value, where, recorded=recorded)
        members = {str(member.kind): member for member in possible}
        if not isinstance(value, dict):
            raise UserError(f"{where} must be a section with keys, including kind, not {_short(value)}.")
        chosen = value.get("kind")
        if not isinstance(chosen, str) or chosen not in members:
            raise unknown(f"kind in {where}", str(chosen), members)
        return build(members[chosen], value, where, recorded=recorded)
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where, recorded)
    if origin is tuple:
        if not isinstance(value, list):
            raise UserError(f"{where} must be a list, not {_short(value)}.")
        return tuple(build(typing.get_args(kind)[0], item, where, recorded=recorded) for item in value)
    if origin is Literal:
        if value not in typing.get_args(kind):
            allowed = ", ".join(filter(None, typing.get_args(kind)))
            raise UserError(f"{where} is {_short(value)}; it must be one of {allowed}.")
        return value
    if origin is Mapping:
        inside = typing.get_args(kind)[1]
        _scalar(dict, value, where)
        keys = [_scalar(str, key, f"a key of {where}") for key in value]
        return {key: build(inside, value[key], f"{where}: {key}", recorded=recorded) for key in keys}
    if kind is Any:
        return _any(value, where)
    return _scalar(dict if origin is not None else kind, value, where)


def read_yaml(text: str, where: str) -> Any:
    """Read plain data from a user's YAML, within bounds far above any recipe.

    Args:
        text: the YAML.
        where: name of the place, for errors.

    Raises:
        UserError: it is not valid YAML, too large (every use of an alias counts), too deep, or has
            a duplicate key.
    """
    import yaml

    if len(text) > MOST_CHARACTERS:
        raise UserError(f"{where} has more than {MOST_CHARACTERS:,} characters; that is not a recipe.")
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count_values(node, where, {}, 0)
        return loader.construct_document(node)
    except RecursionError:
        raise _too_deep(where) from None
    except (yaml.YAMLError, ValueError, OverflowError, KeyError, AttributeError, TypeError) as error:
        # ValueError: 31 February, an integer of 5,000 digits. KeyError and the others: !!bool x, !!timestamp x.
        raise UserError(f"{where} is not valid YAML{_problem(error)}.") from error


def _problem(error: Exception) -> str:
    """What is wrong with YAML, and where."""
    mark = getattr(error, "problem_mark", None)
    place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    what = getattr(error, "problem", None) or str(error)
    return f"{place}: {' '.join(what.split()).rstrip('.')}"


def _count_values(node: yaml.Node, where: str, counted: dict[int, int], depth: int) -> int:
    """Count the values of a node, each alias as its content, without visiting a node twice."""
    import yaml

    if depth > _DEEPEST:
        raise _too_deep(where)
    if id(node) in counted:
        return counted[id(node)]
    inside: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        inside = node.value
    elif isinstance(node, yaml.MappingNode):
        inside = [part for pair in node.value for part in pair]
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<")
        if keys and (most := keys.most_common(1)[0])[1] > 1:
            raise UserError(f"{where} has the key {most[0]!r} twice in one section; keep one.")
    total = 1 + sum(_count_values(part, where, counted, depth + 1) for part in inside)
    if total > _MOST_VALUES:
        raise UserError(f"{where} holds more than {_MOST_VALUES:,} values, counting its aliases; that is not a recipe.")
    counted[id(node)] = total
    return total


def _too_deep(where: str) -> UserError:
    return UserError(f"{where} is nested more than {_DEEPEST} levels deep; that is not a recipe.")


_SAME = object()


def added(default: Any, *, before: Any = _SAME) -> Any:
    """A field that was added later, and the value that older settings imply.

    Identities omit the field if it has that value, so older identities stay the same.

    Args:
        default: for settings that do not name the field.
        before: the behaviour before the field existed; by default ``default``.
    """
    metadata = {"before": default if before is _SAME else before}
    if isinstance(default, (dict, list)):
        return dataclasses.field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def plain(value: Any, *, omit_added: bool = False) -> Any:
    """Turn settings into plain data, the inverse of :func:`build`.

    Args:
        value: the settings.
        omit_added: omit fields made by :func:`added` that have the value from before the field
            existed.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name), omit_added=omit_added)
            for field in dataclasses.fields(value)
            if not (omit_added and getattr(value, field.name) == field.metadata.get("before", _SAME))
        }
    if isinstance(value, (list, tuple)):
        return [plain(item, omit_added=omit_added) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item, omit_added=omit_added) for key, item in value.items()}
    return value


def check_at_least(section: str, settings: object, low: float, *names: str) -> None:
    """Check that fields of ``settings`` are at least ``low``; ``section`` names the settings in errors."""
    for name in names:
        value = getattr(settings, name)
        if value < low:
            raise UserError(f"{section}.{name} is {value}; it must be at least {low:g}.")


def check_at_most(section: str, settings: object, high: float, *names: str) -> None:
    """Check that fields of ``settings`` are at most ``high``."""
    for name in names:
        value = getattr(settings, name)
        if value > high:
            raise UserError(f"{section}.{name} is {value}; it must be at most {high:g}.")


def check_positive(section: str, settings: object, *names: str) -> None:
    """Check that fields are above 0."""
    for name in names:
        value = getattr(settings, name)
        if value <= 0:
            raise UserError(f"{section}.{name} is {value}; it must be above 0.")


def check_share(section: str, settings: object, *names: str) -> None:
    """Check that fields are at least 0 and below 1."""
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value < 1:
            raise UserError(f"{section}.{name} is {value}; it must be at least 0 and below 1.")


def _build_dataclass(kind: Any, value: Any, where: str, recorded: bool) -> Any:
    if not isinstance(value, dict):
        raise UserError(f"{where} must be a section with keys, not {_short(value)}.")
    hints = typing.get_type_hints(kind)
    for key in value:
        if key not in hints:
            raise unknown(f"key in {where}", str(key), hints)
    given = {key: build(hints[key], item, f"{where}: {key}", recorded=recorded) for key, item in value.items()}
    former = {field.name: field.metadata["before"] for field in dataclasses.fields(kind) if "before" in field.metadata}
    required = (
        field.name
        for field in dataclasses.fields(kind)
        if field.default is field.default_factory is dataclasses.MISSING and field.init
    )
    if missing := [name for name in required if name not in given and not (recorded and name in former)]:
        raise UserError(f"{where} lacks the key {missing[0]!r}; add it.")
    try:
        return kind(**(former | given if recorded else given))
    except TypeError as error:
        raise UserError(f"{where}: {error}.") from error


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]} …"


def _any(value: Any, where: str) -> Any:
    """Anything that JSON can hold."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, list):
        return [_any(item, where) for item in value]
    if isinstance(value, dict):
        return {_scalar(str, key, f"a key of {where}"): _any(item, f"{where}: {key}") for key, item in value.items()}
    for kind in (str, int, float):
        if isinstance(value, kind):
            return _scalar(kind, value, where)
    raise UserError(f"{where} is {_short(value)}; it must be a number, a text, true, false, null, or a list of these.")


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, str):
        # YAML 1.1 reads "1e-5" as text, because it expects a dot.
        try:
            value = float(value)
        except ValueError:
            raise UserError(f"{where} is {_short(value)}; it must be a number.") from None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _MOST:
        raise UserError(f"{where} is a number of {len(str(abs(value)))} digits; it must be below {_MOST:,}.")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            raise UserError(f"{where} is a number of more than 300 digits; it must be a finite number.") from None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"{where} is {_short(value)}; it must be of type {kind.__name__}.")
    if kind is float and not math.isfinite(value):
        raise UserError(f"{where} is {value}; it must be a finite number.")
    return value
