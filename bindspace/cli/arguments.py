"""Argument parsing shared by the verbs: flags, and key=value overrides of verbs that compose no config."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bindspace.contract import UserError, unknown

VALUED = {"--cfg", "--config-dir", "-c"}
PLAIN = {"-h": "help", "--help": "help", "-m": "multirun", "--multirun": "multirun", "--resolve": "resolve"}


@dataclass
class Arguments:
    """The flags of a verb, and the remaining overrides."""

    overrides: list[str] = field(default_factory=list)
    help: bool = False
    multirun: bool = False
    resolve: bool = False
    cfg: bool = False
    folders: list[Path] = field(default_factory=list)


def split(arguments: Sequence[str], flags: Collection[str] = ("--help",)) -> Arguments:
    """Parses the flags. Raises `UserError` for an unknown flag."""
    known = {*flags, *([] if "--multirun" not in flags else ["-m"]), *([] if "--cfg" not in flags else ["-c"]), "-h"}
    found, left = Arguments(), list(arguments)
    while left:
        argument = left.pop(0)
        name, equals, value = argument.partition("=")
        if not argument.startswith("-"):
            found.overrides.append(argument)
        elif name not in known:
            raise UserError(unknown("option", argument, known, hint="settings are written key=value, without dashes"))
        elif name in PLAIN:
            setattr(found, PLAIN[name], True)
        else:
            value = value if equals else left.pop(0) if left else ""
            _valued(found, name, value)
    return found


def _valued(found: Arguments, name: str, value: str) -> None:
    if name == "--config-dir":
        folder = Path(value)
        if not value or not folder.is_dir():
            raise UserError(
                f"--config-dir: expected a folder, got {value!r}: give the one that holds your experiment/ or modality/"
            )
        found.folders.append(folder)
    elif value != "job":
        raise UserError(f"--cfg: expected job, got {value!r}: write --cfg job to see the config that would be run")
    else:
        found.cfg = True


def settings(overrides: Sequence[str], known: Collection[str] | None, verb: str) -> dict[str, Any]:
    """`key=value` overrides as a dictionary of plain values. `known`: the only keys there are (None: any)."""
    from bindspace.cli.compose.overrides import parse, plain

    found: dict[str, Any] = {}
    for override in parse(overrides):
        key = override.key_or_group
        if known is not None and key not in known:
            raise UserError(unknown("setting", key, known, hint=f"`bindspace {verb} --help` explains them"))
        if override.is_delete() or override.is_add() or override.is_force_add() or override.is_sweep_override():
            raise UserError(f"cannot use {override.input_line!r}: write '{key}=value', and '{key}=[a,b]' for a list")
        if key in found:
            raise UserError(f"{key} is given twice: keep one of the two, or write '{key}=[a,b]' for a list")
        found[key] = plain(override.value())
    return found


def need(found: dict[str, Any], key: str, example: str) -> Any:
    """The value of a required setting. Raises `UserError` with an example."""
    if found.get(key) in (None, ""):
        raise UserError(f"{key} is missing: write {example}")
    return found[key]


def texts(value: Any) -> list[Any]:
    """A value or a list of values, as a list."""
    return list(value) if isinstance(value, list) else [value]
