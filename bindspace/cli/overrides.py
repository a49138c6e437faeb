"""Overrides of the command line: parsed by Hydra's grammar, sorted into groups and settings, and checked before
anything is composed. Hydra alone accepts several mistakes in silence and misleads about others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException

from bindspace import registry
from bindspace.cli.preflight import MODALITY, known_option, known_root
from bindspace.confdir import GROUPS, options
from bindspace.errors import UserError


@dataclass
class Overrides:
    """What the command line asks for: options of groups, settings, modalities to add, and what is Hydra's own."""

    groups: list[str] = field(default_factory=list)
    settings: list[Override] = field(default_factory=list)
    listed: list[str] | None = None  # by `modality=...`
    added: list[str] = field(default_factory=list)  # by `+modality=...`
    hydra: list[str] = field(default_factory=list)


def parse(arguments: Sequence[str]) -> list[Override]:
    """Parses `key=value` arguments. Raises `UserError` that shows how to quote."""
    parser, parsed = OverridesParser.create(), []
    for argument in arguments:
        try:
            parsed.append(parser.parse_override(argument))
        except HydraException as error:
            hint = (
                "write key=value, quoted where it holds more than letters, e.g. 'modality=[A,B]' or \"out='it (new)'\""
            )
            raise UserError(f"cannot read {argument!r}: {hint}") from error
    return parsed


def sort(command: str, parsed: Sequence[Override], folders: Sequence[Path] = ()) -> Overrides:
    """Sorts parsed overrides of a command that composes a config. Raises `UserError` for a name that is not there."""
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
            names = _modalities(override, folders)
            if override.is_add():
                _one_addition(found, names)
            else:
                found.listed = names
                found.groups.append(f"{MODALITY}=[{','.join(names)}]")
        elif key in GROUPS[command]:
            found.groups.append(_group(override, folders))
        else:
            known_root(command, key)
            found.settings.append(override)
    if found.listed == [] and found.added:
        raise UserError(f"'modality=[]' leaves nothing to add to: write 'modality=[{','.join(found.added)}]'")
    return found


def _one_addition(found: Overrides, names: list[str]) -> None:
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
    if value is None and key == "experiment":
        return f"{key}=null"
    known_option(key, str(value), folders)
    return f"{key}={value}"


def plain(value: Any) -> Any:
    """A parsed value without the parser's own types."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    return value
