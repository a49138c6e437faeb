"""The one codec between dataclasses of settings and JSON values. Standard library only.

Every value is checked by name and type against the dataclass. What comes from a file that may be a stranger's is read
with `trusted=False`: nothing in it is resolved, followed or executed, and a string that looks like an interpolation, a
path out of a folder, or a URL is refused, as it is when such a file is written.
"""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from typing import Any, Literal, Union

from bindspace.contract import PluginError, UserError, unknown

LARGEST = 2**31 - 1  # of whole numbers in a file that may be a stranger's
LONGEST = 4096  # characters of a string, items of a list in such a file
MISSING_VALUE = "???"  # stands for a value that has to be given
# an interpolation; a URL; an absolute path, a home, a drive; a way up; control characters
_FOLLOWED = re.compile(r"\$\{|://|^[/\\~]|^[A-Za-z]:[/\\]|(^|[/\\])\.\.([/\\]|$)|[\x00-\x08\x0b-\x1f]")
_EXPECTED = {bool: "true or false", int: "a whole number", float: "a number", str: "a string", type(None): "null"}
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class SettingError(UserError):
    """A setting that does not fit; `key` is where it stands, e.g. `data.train[0].path`."""

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


def to_primitives(value: Any) -> Any:
    """A dataclass, an Enum, or a collection of them as JSON values: fields by name, Enums by value, tuples as lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_primitives(getattr(value, item.name)) for item in fields(value) if item.init}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: to_primitives(item) for key, item in value.items()}
    return [to_primitives(item) for item in value] if isinstance(value, list | tuple) else value


def defaults(kind: type) -> dict[str, Any]:
    """The defaults of a dataclass as JSON values, with `MISSING_VALUE` where there is none."""
    found = {}
    for item in fields(kind):
        if item.init:
            default = item.default if item.default_factory is MISSING else item.default_factory()
            found[item.name] = MISSING_VALUE if default is MISSING else to_primitives(default)
    return found


def from_primitives(kind: Any, value: Any, where: str = "", *, trusted: bool = False) -> Any:
    """The value of type `kind` that JSON holds at `where`. Raises `SettingError` that says what was expected and came.

    Fields that the value does not name keep their defaults, so that a plugin may learn new settings. `trusted`: it is
    the user's own, from the command line or a config file: paths and URLs are values like others, numbers become
    strings and strings numbers where the type asks for it, as a shell cannot tell them apart.
    """
    return _Decoder(trusted).value(kind, value, where)


@dataclass(frozen=True)
class _Decoder:
    trusted: bool

    def value(self, kind: Any, value: Any, where: str) -> Any:
        if kind is Any:
            return self._anything(value, where)
        if kind in _EXPECTED:
            return self._plain(kind, value, where)
        if isinstance(kind, type) and is_dataclass(kind):
            return self._dataclass(kind, value, where)
        if isinstance(kind, type) and issubclass(kind, Enum):
            for member in kind:
                if type(member.value) is type(value) and member.value == value:
                    return member
            options = [str(member.value) for member in kind]
            raise SettingError(f"{where}: {unknown('value', _shown(value), options)}", where)
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin in (Union, types.UnionType):
            return self._union(arguments, value, where)
        if origin is Literal:
            if not any(type(value) is type(option) and value == option for option in arguments):
                raise _wrong(where, f"one of {', '.join(map(repr, arguments))}", value)
            return value
        return self._collection(origin or kind, arguments, value, where)

    def _plain(self, kind: Any, value: Any, where: str) -> Any:
        if self.trusted:
            value = _converted(kind, value)
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise _wrong(where, _EXPECTED[kind], value)
        if self.trusted:
            return float(value) if kind is float else value
        if isinstance(value, str):
            return _harmless(value, where)
        if type(value) in (int, float) and not (math.isfinite(value) and (kind is float or abs(value) <= LARGEST)):
            raise _wrong(where, f"{_EXPECTED[kind]} from -{LARGEST} to {LARGEST}", value)
        return float(value) if kind is float else value

    def _dataclass(self, kind: type, value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong(where, "settings by name", value)
        try:
            hints = typing.get_type_hints(kind)
        except Exception as error:  # annotations of a plugin that do not evaluate
            raise PluginError(f"{kind.__qualname__}: its annotations cannot be read: {error}") from error
        known = [item for item in fields(kind) if item.init]
        for name in value:
            if name not in (names := [item.name for item in known]):
                before = f"{where}: " if where else ""
                raise SettingError(before + unknown("setting", str(name)[:80], names), _inside(where, name))
        for item in known:
            needed = item.default is MISSING and item.default_factory is MISSING
            if value.get(item.name, MISSING_VALUE) == MISSING_VALUE and (needed or item.name in value):
                raise SettingError(f"{_inside(where, item.name)} is missing: give it a value", where)
        settings = {name: self.value(hints[name], item, _inside(where, name)) for name, item in value.items()}
        try:
            return kind(**settings)
        except (TypeError, ValueError) as error:
            raise SettingError(f"{where or 'a setting'}: {error}", where) from error

    def _union(self, kinds: Sequence[Any], value: Any, where: str) -> Any:
        errors: list[UserError] = []
        for kind in sorted(kinds, key=lambda kind: kind is str):  # 4 is a number before it is a name
            if (kind is type(None)) != (value is None) and type(None) in kinds:
                continue
            try:
                return self.value(kind, value, where)
            except UserError as error:
                errors.append(error)
        raise errors[0]

    def _collection(self, origin: Any, arguments: Sequence[Any], value: Any, where: str) -> Any:
        if origin in (dict, Mapping):
            if not isinstance(value, dict) or not self._fits(value):
                raise _wrong(where, "values by name", value)
            of = arguments[1] if arguments else Any
            names = [self.value(str, key, where) for key in value]
            return {name: self.value(of, value[key], _inside(where, key)) for name, key in zip(names, value)}
        if origin in (list, tuple, Sequence):
            if not isinstance(value, list) or not self._fits(value):
                raise _wrong(where, "a list", value)
            kinds = arguments or (Any,)
            if origin is tuple and kinds[-1] is not Ellipsis:
                if len(value) != len(kinds):
                    raise SettingError(f"{where}: expected {len(kinds)} values, got {len(value)}", where)
            else:
                kinds = [kinds[0]] * len(value)
            items = [self.value(of, each, f"{where}[{i}]") for i, (of, each) in enumerate(zip(kinds, value))]
            return tuple(items) if origin is tuple else items
        raise PluginError(f"{where}: a setting of type {origin} cannot be kept in a file: use numbers, strings, Enums")

    def _anything(self, value: Any, where: str) -> Any:
        kind = type(value)
        return self._plain(kind, value, where) if kind in _EXPECTED else self._collection(kind, (), value, where)

    def _fits(self, value: Any) -> bool:
        return self.trusted or len(value) <= LONGEST


def _converted(kind: type, value: Any) -> Any:
    """What a user's value means where its type is off: a shell and a config file know no quotes for numbers."""
    if kind is str and type(value) in (int, float, bool):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if kind is bool and isinstance(value, str):
        return _WORDS.get(value.lower(), value)
    if kind in (int, float) and isinstance(value, str):
        try:
            return kind(value)
        except ValueError:
            return value
    return value


def _harmless(value: str, where: str) -> str:
    if len(value) > LONGEST or _FOLLOWED.search(value):
        hint = "interpolations, paths and URLs are never followed"
        raise SettingError(f"{where}: expected a plain string, got {_shown(value)}: {hint}", where)
    return value


def _inside(where: str, name: Any) -> str:
    return f"{where}.{str(name)[:80]}" if where else str(name)[:80]


def _wrong(where: str, expected: str, value: Any) -> SettingError:
    shown = repr(_shown(value)) if isinstance(value, str) else _shown(value)
    return SettingError(f"{where}: expected {expected}, got {shown}", where)


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = str(value) if not isinstance(value, int) or abs(value) < 10**30 else "a number of more than 30 digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
