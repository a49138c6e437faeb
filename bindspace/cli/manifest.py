"""`bindspace manifest`: writes a manifest of files in folders."""

from __future__ import annotations

from pathlib import Path

from bindspace.cli.arguments import need, split
from bindspace.contract import UserError

HELP = """\
usage: bindspace manifest 'MODALITY=PATTERN' ... by=stem out=FILE

Groups files with the same name into events, one row each. Quote the patterns, or the shell expands them.

  MODALITY=PATTERN   e.g. 'image=img/*.jpg'; ** matches folders of any depth
  by=stem            group files by name; by=path: by path below the pattern's fixed part
  out=FILE           manifest.jsonl, .csv or .parquet; the files must lie in its folder or below

example:
  bindspace manifest 'image=img/*.jpg' 'tactile=touch/*.npy' by=stem out=manifest.jsonl"""


def run(arguments: list[str]) -> int:
    """`bindspace manifest 'MODALITY=PATTERN' ... by=stem out=FILE`."""
    given = split(arguments)
    if given.help:
        print(HELP)
        return 0
    # Patterns are used verbatim: `*` and `[` are glob syntax, not Hydra's.
    values = dict(_pattern(argument) for argument in given.overrides)
    if len(values) < len(given.overrides):
        raise UserError("a name is given twice: give each modality one pattern")
    out = Path(need(values, "out", "out=manifest.jsonl"))
    by = values.get("by", "stem")
    patterns = {name: value for name, value in values.items() if name not in ("by", "out")}
    if not patterns:
        raise UserError("expected a pattern for each modality, got none: write e.g. 'image=img/*.jpg'")
    from bindspace.data import build_manifest

    rows = build_manifest(patterns, by, out)
    print(f"{out}: {rows} rows")
    return 0


def _pattern(argument: str) -> tuple[str, str]:
    name, equals, value = argument.partition("=")
    if not equals or not name or not value:
        hint = "write 'MODALITY=PATTERN' in quotes, or the shell expands the pattern"
        raise UserError(f"cannot read {argument!r}: {hint}")
    return name, value
