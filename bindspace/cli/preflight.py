"""Names that nothing answers to and words that are no value, found before Hydra is imported: typos get quick answers.

It reads only plain overrides (`key=word`, `key=[word,word]`); whatever is more than that is judged once it is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

from bindspace import registry
from bindspace.confdir import GROUPS, SCHEMAS, options
from bindspace.errors import UserError, unknown

MODALITY = "modality"
SIMPLE = re.compile(r"\+{0,2}(?P<key>[A-Za-z_][\w.]*)=(?P<value>.*)", re.DOTALL)
SPECIAL = ("null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan")
EXPECTED = {int: "a whole number", float: "a number", bool: "true or false"}
WORDS = re.compile(r"\[\s*([A-Za-z_]\w*(\s*,\s*[A-Za-z_]\w*)*)\s*\]|([A-Za-z_]\w*)")


def preflight(command: str, arguments: Sequence[str], folders: Sequence[Path] = ()) -> None:
    """Raises `UserError` for the first unknown setting, modality, preset, option of a group, or value of a setting."""
    for argument in arguments:
        if (found := SIMPLE.fullmatch(argument)) is None:
            continue
        key, value = found["key"], WORDS.fullmatch(found["value"])
        if key not in GROUPS[command]:
            kinds = known_key(command, key)
            if value is not None and value[3] is not None:
                known_value(key, value[3], kinds)
        elif value is not None and key == MODALITY:
            for name in (value[1] or value[3]).split(","):
                registry.serves(name.strip(), folders)
        elif value is not None and value[3] not in (None, "null"):
            known_option(key, value[3], folders)


def known_root(command: str, key: str) -> None:
    """Raises `UserError` unless the first part of the key is a setting or a group of the command."""
    root = re.split(r"[.\[]", key)[0]
    if "/" in root:
        group, _, name = root.partition("/")
        if group == MODALITY:
            raise UserError(f"{key!r} is not a group, since {MODALITY} is one list: write +{MODALITY}={name}")
        raise UserError(unknown("group", root, GROUPS[command]))
    known = {item.name for item in fields(SCHEMAS[command])} | set(GROUPS[command])
    if root != "hydra" and root not in known:
        raise UserError(unknown("setting", root, known, hint=explained(command)))


def known_option(group: str, name: str, folders: Sequence[Path] = ()) -> None:
    """Raises `UserError` unless the group has that option."""
    if name not in (offered := options(group, folders)):
        hint = "`bindspace train --help` lists all groups, and --config-dir adds a folder of your own"
        raise UserError(unknown(group, name, offered, hint=hint))


def known_key(command: str, key: str) -> list[Any]:
    """The types that a setting may have, if the key leads through dataclasses to it.

    Raises `UserError` for a setting that no dataclass has.
    """
    known_root(command, key)
    path, kinds, hints = key.split("."), [SCHEMAS[command]], list[Any]()
    if path[0] == "hydra":  # checked by Hydra
        return []
    for depth, part in enumerate(path):
        if depth == 1 and path[0] == MODALITY:
            kinds = [kind for _, kind in registry.healthy() if kind.modality == part]
            continue
        if not kinds:
            return []
        known = {item.name for kind in kinds for item in fields(kind)}
        if part not in known | set(GROUPS[command] if depth == 0 else ()):
            raise UserError(unknown(f"setting of {'.'.join(path[:depth])}", part, known, hint=explained(command)))
        hints = [get_type_hints(kind).get(part) for kind in kinds]
        kinds = [hint for hint in hints if isinstance(hint, type) and is_dataclass(hint)]
    return hints


def known_value(key: str, word: str, kinds: Sequence[Any]) -> None:
    """Raises `UserError` for a plain word that is no value of the setting, where its type is certain."""
    if word.lower() in SPECIAL or len(set(kinds)) != 1:
        return
    kind = kinds[0]
    if kind in EXPECTED:
        raise UserError(f"{key}: expected {EXPECTED[kind]}, got {word!r}")
    if isinstance(kind, type) and issubclass(kind, Enum) and word not in kind.__members__:
        raise UserError(unknown(f"value of {key}", word, kind.__members__))


def explained(command: str) -> str:
    """The next step for an unknown setting."""
    return f"`bindspace {command} --help` explains them"
