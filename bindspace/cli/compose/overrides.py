"""Overrides of the command line: parsed by Hydra's grammar, sorted into groups and settings, put into a config."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException

from bindspace.cli.compose.options import GROUPS, LISTS, MODALITY, options
from bindspace.contract import UserError, unknown


@dataclass
class Overrides:
    """What the command line asks for: options of groups, settings, modalities by name, and what is Hydra's own."""

    groups: list[str] = field(default_factory=list)
    settings: list[Override] = field(default_factory=list)
    listed: list[str] | None = None  # by `modality=...`
    added: list[str] = field(default_factory=list)  # by `+modality=...`
    removed: list[str] = field(default_factory=list)  # by `~modality.NAME`
    hydra: list[str] = field(default_factory=list)

    def value(self, key: str) -> Any:
        """The last value of a setting, None where it is not given."""
        return next((plain(each.value()) for each in reversed(self.settings) if each.key_or_group == key), None)


def parse(arguments: Sequence[str]) -> list[Override]:
    """Parses `key=value` arguments. Raises `UserError` that shows how to quote."""
    parser, parsed = OverridesParser.create(), []
    for argument in arguments:
        try:
            parsed.append(parser.parse_override(argument))
        except HydraException as error:
            hint = "write key=value, quoted where it holds more than letters: 'modality=[A,B]', \"out='it (new)'\""
            raise UserError(f"cannot read {argument!r}: {hint}") from error
    return parsed


def sort(command: str, parsed: Sequence[Override]) -> Overrides:
    """Sorts parsed overrides of a command that composes a config. Raises `UserError` for what cannot be asked."""
    found = Overrides()
    for override in parsed:
        key, line = override.key_or_group, override.input_line or ""
        if key == "hydra" or key.startswith(("hydra.", "hydra/")):
            found.hydra.append(line)
        elif override.is_sweep_override():
            raise UserError(
                f"{line!r} gives several values: write '{key}=[...]' for one list, or add -m to run each value"
            )
        elif key == MODALITY and key in GROUPS[command]:
            _add_modalities(found, override)
        elif key in GROUPS[command]:
            found.groups.append(_group(override))
        elif "/" in key:
            group, _, name = key.partition("/")
            if group == MODALITY:
                raise UserError(f"{key!r} is not a group, since {MODALITY} is one list: write +{MODALITY}={name}")
            raise UserError(unknown("group", key, GROUPS[command]))
        elif override.is_delete():
            if not (removed := re.fullmatch(rf"{MODALITY}\.(\w+)", key)):
                raise UserError(f"cannot remove {key!r}: only modalities can be removed, with ~modality.NAME")
            found.removed.append(removed[1])
        else:
            found.settings.append(override)
    if found.listed == [] and found.added:
        raise UserError(f"'modality=[]' leaves nothing to add to: write 'modality=[{','.join(found.added)}]'")
    return found


def _add_modalities(found: Overrides, override: Override) -> None:
    """Takes up the names that `modality=...` or `+modality=...` lists."""
    if override.is_delete() or override.package is not None:
        raise UserError(
            f"cannot use {override.input_line!r}: write ~modality.NAME to remove one, 'modality=[A,B]' to choose"
        )
    value = plain(override.value())
    names = [] if value is None else value if isinstance(value, list) else [value]
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise UserError(f"{override.input_line!r}: expected names, got {wrong[0]!r}: write 'modality=[A,B]'")
    if not override.is_add():
        found.listed = names
    elif found.added:
        raise UserError(f"+modality is given twice: write '+modality=[{','.join([*found.added, *names])}]'")
    else:
        found.added = names


def _group(override: Override) -> str:
    key, value = override.key_or_group, plain(override.value())
    if key in LISTS and not override.is_delete() and not isinstance(value, dict):
        names = value if isinstance(value, list) else [] if value is None else [value]
        return f"{key}=[{','.join(map(str, names))}]"
    if override.is_delete() or override.package is not None or isinstance(value, (list, dict)):
        listed = "|".join(options(key))
        raise UserError(f"cannot use {override.input_line!r}: {key} takes one option: write {key}={listed}")
    return f"{key}={'null' if value is None else value}"


def plain(value: Any) -> Any:
    """A parsed value without the parser's own types."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    return value


def put(values: dict[str, Any], override: Override) -> None:
    """Changes one setting of a config, as JSON values: a mapping is merged into the one that is there.

    Raises `UserError` where the path leads through something that has no parts.
    """
    path = [part for part in re.split(r"[.\[\]]+", override.key_or_group) if part]
    node: Any = values
    for depth, part in enumerate(path):
        last, before = depth == len(path) - 1, ".".join(path[:depth])
        if isinstance(node, list):
            if not part.isdigit() or int(part) >= len(node):
                raise UserError(f"{before} has {len(node)} items, counted from 0: there is no {before}.{part}")
            place: Any = int(part)
        elif isinstance(node, dict):
            place = part
        else:
            has = "is not set, so it has no settings" if node is None else "is one value"
            raise UserError(f"cannot set {'.'.join(path)}: {before} {has}; set {before} as a whole")
        if last:
            old = node.get(place) if isinstance(node, dict) else node[place]
            node[place] = _merged(old, plain(override.value()))
        else:
            node = node.setdefault(place, {}) if isinstance(node, dict) else node[place]


def _merged(old: Any, new: Any) -> Any:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
