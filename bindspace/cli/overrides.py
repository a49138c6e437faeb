"""Overrides of the command line: parsed by Hydra's grammar, sorted into groups and settings, and checked before
anything is composed. Hydra alone accepts several mistakes in silence and misleads about others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException

from bindspace import registry
from bindspace.confdir import GROUPS, options
from bindspace.config import SCHEMAS
from bindspace.errors import UserError, unknown

MODALITY = "modality"


@dataclass
class Overrides:
    """What the command line asks for: options of groups, settings, modalities to add, and what is Hydra's own."""

    groups: list[str] = field(default_factory=list)
    settings: list[Override] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    hydra: list[str] = field(default_factory=list)


def parse(arguments: Sequence[str]) -> list[Override]:
    """Parses `key=value` arguments. Raises `UserError` that shows how to quote."""
    parser, parsed = OverridesParser.create(), []
    for argument in arguments:
        try:
            parsed.append(parser.parse_override(argument))
        except HydraException as error:
            hint = "write key=value, and quote what holds brackets, commas or blanks, e.g. 'modality=[A,B]'"
            raise UserError(f"cannot read {argument!r}: {hint}") from error
    return parsed


def sort(command: str, parsed: Sequence[Override], folders: Sequence[Path] = ()) -> Overrides:
    """Sorts parsed overrides of a command that composes a config. Raises `UserError` for a name that is not there."""
    found = Overrides()
    listed: list[str] | None = None
    for override in parsed:
        key, line = override.key_or_group, override.input_line or ""
        if key == "hydra" or key.startswith(("hydra.", "hydra/")):
            found.hydra.append(line)
        elif override.is_sweep_override():
            raise UserError(
                f"{line!r} gives several values: write '{key}=[...]' for one list, or add -m to run each value"
            )
        elif key == MODALITY and key in GROUPS[command]:
            names = _modalities(override, folders)
            if override.is_add():
                _one_addition(found, names, listed)
            else:
                listed = names
                found.groups.append(f"{MODALITY}=[{','.join(names)}]")
        elif key in GROUPS[command]:
            found.groups.append(_group(override, folders))
        else:
            _known_root(command, key)
            found.settings.append(override)
    if listed == [] and found.added:
        raise UserError(f"'modality=[]' leaves nothing to add to: write 'modality=[{','.join(found.added)}]'")
    return found


def _one_addition(found: Overrides, names: list[str], listed: list[str] | None) -> None:
    together = [*found.added, *names]
    if found.added:
        raise UserError(f"+modality is given twice: write '+modality=[{','.join(together)}]'")
    found.added = together


def _modalities(override: Override, folders: Sequence[Path]) -> list[str]:
    """The names that `modality=...` or `+modality=...` lists, each of them known and able to load."""
    if override.is_delete() or override.package is not None:
        raise UserError(
            f"cannot use {override.input_line!r}: write ~modality.NAME to remove one, 'modality=[A,B]' to choose"
        )
    value = plain(override.value())
    names = [] if value is None else value if isinstance(value, list) else [value]
    for name in names:
        if not isinstance(name, str):
            raise UserError(f"{override.input_line!r}: expected names, got {name!r}: write 'modality=[A,B]'")
        registry.serves(name, folders)
    return names


def _group(override: Override, folders: Sequence[Path]) -> str:
    key, value = override.key_or_group, plain(override.value())
    if override.is_delete() or override.package is not None:
        raise UserError(
            f"cannot use {override.input_line!r}: choose an option instead, {key}={'|'.join(options(key, folders))}"
        )
    if isinstance(value, (list, dict)):
        raise UserError(f"{key} takes one option, got {value}: write {key}={'|'.join(options(key, folders))}")
    offered = options(key, folders)
    if value is None and key == "experiment":
        return f"{key}=null"
    if value not in offered:
        hint = "`bindspace train --help` lists all groups, and --config-dir adds a folder of your own"
        raise UserError(unknown(key, str(value), offered, hint=hint))
    return f"{key}={value}"


def _known_root(command: str, key: str) -> None:
    """Raises `UserError` unless the first part of the key is a setting of the command."""
    root = key.replace("[", ".").split(".")[0]
    if "/" in root:
        group, _, name = root.partition("/")
        if group == MODALITY:
            raise UserError(f"{key!r} is not a group, since {MODALITY} is one list: write +{MODALITY}={name}")
        raise UserError(unknown("group", root, GROUPS[command]))
    known = {item.name for item in fields(SCHEMAS[command])} | set(GROUPS[command])
    if root not in known:
        raise UserError(unknown("setting", root, known, hint=f"`bindspace {command} --help` explains them"))


def plain(value: Any) -> Any:
    """A parsed value without the parser's own types."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    return value
