"""Dataclasses to JSON values and back, for files that may be a stranger's. Standard library only.

Every value is checked by name and type against the dataclass. Nothing in a file is resolved, followed or executed: a
string that looks like an interpolation, a path out of a folder, or a URL is refused when it is written and when it is
read.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Literal, Union

from bindspace.errors import PluginError, UserError, unknown

LARGEST = 2**31 - 1  # of whole numbers
LONGEST = 4096  # characters of a string, items of a list
# an interpolation; a URL; an absolute path, a home, a drive; a way up; control characters
_FOLLOWED = re.compile(r"\$\{|://|^[/\\~]|^[A-Za-z]:[/\\]|(^|[/\\])\.\.([/\\]|$)|[\x00-\x08\x0b-\x1f]")
_PLAIN: dict[Any, tuple[str, tuple[type, ...]]] = {
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    str: ("a string", (str,)),
    type(None): ("null", (type(None),)),
}


def to_primitives(value: Any) -> Any:
    """A dataclass, an Enum, or a collection of them as JSON values: fields by name, Enums by value, tuples as lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_primitives(getattr(value, item.name)) for item in dataclasses.fields(value) if item.init}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: to_primitives(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_primitives(item) for item in value]
    return value


def from_primitives(kind: Any, value: Any, where: str) -> Any:
    """The value of type `kind` that JSON holds at `where`. Raises `UserError` that says what was expected and came.

    Fields that the file does not name keep their defaults, so that a plugin may learn new settings.
    """
    if kind is Any:
        return _anything(value, where)
    if kind in _PLAIN:
        return _plain(kind, value, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _union(arguments, value, where)
    if origin is Literal:
        if not any(type(value) is type(option) and value == option for option in arguments):
            raise UserError(f"{where}: expected one of {', '.join(map(repr, arguments))}, got {_shown(value)}")
        return value
    return _collection(kind, origin or kind, arguments, value, where)


def _plain(kind: type, value: Any, where: str) -> Any:
    expected, accepted = _PLAIN[kind]
    if type(value) not in accepted:
        raise UserError(f"{where}: expected {expected}, got {_shown(value)}")
    if isinstance(value, str):
        return _harmless(value, where)
    if type(value) in (int, float) and not (math.isfinite(value) and (kind is float or abs(value) <= LARGEST)):
        raise UserError(f"{where}: expected {expected} from -{LARGEST} to {LARGEST}, got {_shown(value)}")
    return float(value) if kind is float else value


def _harmless(value: str, where: str) -> str:
    if len(value) > LONGEST or _FOLLOWED.search(value):
        raise UserError(
            f"{where}: expected a plain string, got {_shown(value)}: interpolations, paths and URLs are never followed"
        )
    return value


def _dataclass(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise UserError(f"{where}: expected settings by name, got {_shown(value)}")
    try:
        hints = typing.get_type_hints(kind)
    except Exception as error:  # annotations of a plugin that do not evaluate
        raise PluginError(f"{kind.__qualname__}: its annotations cannot be read: {error}") from error
    names = [item.name for item in dataclasses.fields(kind) if item.init]
    for name in value:
        if name not in names:
            raise UserError(f"{where}: {unknown('setting', name[:80], names)}")
    settings = {name: from_primitives(hints[name], item, f"{where}.{name}") for name, item in value.items()}
    try:
        return kind(**settings)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {error}") from error


def _enum(kind: type[Enum], value: Any, where: str) -> Enum:
    for member in kind:
        if type(member.value) is type(value) and member.value == value:
            return member
    options = ", ".join(str(member.value) for member in kind)
    raise UserError(f"{where}: expected one of {options}, got {_shown(value)}")


def _union(kinds: Sequence[Any], value: Any, where: str) -> Any:
    errors = []
    for kind in kinds:
        try:
            return from_primitives(kind, value, where)
        except UserError as error:
            if kind is not type(None):
                errors.append(error)
    raise errors[0]


def _collection(kind: Any, origin: Any, arguments: Sequence[Any], value: Any, where: str) -> Any:
    if origin in (dict, Mapping):
        if not isinstance(value, dict) or len(value) > LONGEST:
            raise UserError(f"{where}: expected values by name, got {_shown(value)}")
        of = arguments[1] if arguments else Any
        return {_harmless(key, where): from_primitives(of, item, f"{where}.{key[:80]}") for key, item in value.items()}
    if origin in (list, tuple, Sequence):
        if not isinstance(value, list) or len(value) > LONGEST:
            raise UserError(f"{where}: expected a list, got {_shown(value)}")
        if origin is tuple and arguments and arguments[-1] is not Ellipsis:
            if len(value) != len(arguments):
                raise UserError(f"{where}: expected {len(arguments)} values, got {len(value)}")
            return tuple(
                from_primitives(of, item, f"{where}[{i}]") for i, (of, item) in enumerate(zip(arguments, value))
            )
        of = arguments[0] if arguments else Any
        items = [from_primitives(of, item, f"{where}[{i}]") for i, item in enumerate(value)]
        return tuple(items) if origin is tuple else items
    raise PluginError(f"{where}: a setting of type {kind} cannot be kept in a file: use numbers, strings, Enums, lists")


def _anything(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return _collection(dict, dict, (str, Any), value, where)
    if isinstance(value, list):
        return _collection(list, list, (Any,), value, where)
    return (
        _plain(type(value), value, where) if type(value) in _PLAIN else _collection(type(value), None, (), value, where)
    )


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a number of more than 30 digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
