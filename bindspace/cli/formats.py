"""Shared code of `bindspace import` and `bindspace export`: installed formats and their arguments."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bindspace.cli.arguments import settings, split, texts
from bindspace.cli.dataset import build
from bindspace.cli.help import field_lines
from bindspace.contract import FormatConfig, UserError, registry, unknown

LONG = 100_000_000  # bytes of weights that take a second or more to read


@dataclass
class Asked:
    """One format with its settings, the requested modalities (None: all), and the paths."""

    name: str
    format: FormatConfig
    modalities: list[str] | None
    places: dict[str, Any]


def asked(verb: str, arguments: Sequence[str], places: Sequence[str], usage: str) -> Asked | None:
    """Parses the arguments of a verb; prints the help and returns None if requested. Raises `UserError`."""
    given = split(arguments)
    name = given.overrides.pop(0) if given.overrides and "=" not in given.overrides[0] else None
    if given.help:
        print("\n".join([usage, "", *_listing([name] if name else list(registry.installed(registry.FORMATS)))]))
        return None
    if name is None:
        names = ", ".join(registry.installed(registry.FORMATS)) or "none is installed"
        raise UserError(f"a format is missing: write bindspace {verb} FORMAT ... (available: {names})")
    kind = registry.load(name, registry.FORMATS)
    own = [field.name for field in fields(kind)]
    values = settings(given.overrides, [*places, "modality", *own], f"{verb} {name}")
    chosen = [str(item) for item in texts(values["modality"])] if values.get("modality") is not None else None
    for modality in chosen or ():
        if modality not in kind.modalities:
            raise UserError(unknown(f"modality of the format {name!r}", modality, kind.modalities))
    if chosen is not None and not chosen:
        raise UserError(f"modality is empty: name some of {', '.join(kind.modalities)}, or leave it out for all")
    format_ = build(kind, {key: values[key] for key in own if key in values})
    return Asked(name, format_, chosen, {key: values.get(key) for key in places})


def _listing(names: Sequence[str]) -> Iterator[str]:
    """Each format with its modalities, suffixes and settings."""
    for name in names:
        kind = registry.load(name, registry.FORMATS)
        yield f"{name}: {next(iter((kind.__doc__ or '').strip().splitlines()), '')}"
        yield f"  modality=[{','.join(kind.modalities)}]"
        yield from field_lines(kind, "")
    if not names:
        yield "no format is installed: `bindspace plugins` lists what is"


def parameters(count: int) -> str:
    """A number of parameters for people.

    >>> parameters(87_849_216)
    '87.8 M'
    """
    return f"{count / 1e6:.1f} M" if count >= 1e5 else str(count)


def size(path: Path) -> str:
    """The bytes of a file, or of all files of a folder, for people."""
    count = _bytes(path)
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def announce(path: Path) -> None:
    """Prints the file that is read, if it is large."""
    if _bytes(path) >= LONG:
        print(f"reading {path} ({size(path)})", file=sys.stderr)


def _bytes(path: Path) -> int:
    parts = [path] if path.is_file() else [part for part in path.rglob("*") if part.is_file()]
    return sum(part.stat().st_size for part in parts)
