"""`bindspace DATASET out=DIR ...`: writes the data set of a plugin as a manifest and its files."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from bindspace.cli.arguments import need, settings, split
from bindspace.cli.help import field_lines
from bindspace.contract import registry
from bindspace.settings import from_primitives


def run(name: str, arguments: list[str]) -> int:
    """`bindspace NAME out=DIR [key=value ...]`."""
    given = split(arguments)
    config_class = registry.load(name, registry.DATASETS)
    known = [item.name for item in fields(config_class)]
    if given.help:
        first = next(iter((config_class.__doc__ or "").strip().splitlines()), "")
        usage = f"usage: bindspace {name} out=DIR [key=value ...]"
        print("\n".join([usage, "", first, "", "settings (key=default):", *field_lines(config_class, "")]))
        return 0
    values = settings(given.overrides, ["out", *known], name)
    out = Path(str(need(values, "out", f"bindspace {name} out=DIR")))
    values.pop("out")
    manifest = build(config_class, values).write(out)
    print(manifest)
    return 0


def build(config_class: Any, values: dict[str, Any]) -> Any:
    """The data set's config from plain values. Raises `UserError` for a value that does not fit."""
    return from_primitives(config_class, values, trusted=True)
