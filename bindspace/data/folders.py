"""Writes a manifest from folders of files, grouped into events by name."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from bindspace.contract import Cell, UserError, registry, unknown
from bindspace.data.tables import Row, table_bytes, write_manifest

KEYS = ("stem", "path")


def build_manifest(patterns: Mapping[str, str], by: str, out: str | Path) -> int:
    """Writes a manifest of the files that the patterns match, and returns the number of its rows.

    `patterns`: modality -> glob pattern (`img/*.jpg`, `**` for any depth). `by="stem"` groups files by name,
    `by="path"` by path below the pattern's fixed part, without suffix. A file without partner makes a partial
    row (see `count_partial`). Paths are relative to the folder of `out`, and must lie in it; of a modality whose cells
    hold values, a file's lines are the value and its alternatives. An existing manifest is only replaced by an equal
    one. Raises `UserError`.
    """
    out = Path(out)
    rows = rows_of_folders(patterns, by, out.parent)
    if out.exists() and out.read_bytes() != table_bytes(rows, out):
        raise UserError(f"{out} exists and holds something else: move it away, or choose another out=")
    write_manifest(rows, out)
    return len(rows)


def count_partial(rows: list[Row], patterns: Mapping[str, str]) -> int:
    """The number of rows that lack at least one of the modalities."""
    return sum(any(name not in row for name in patterns) for row in rows)


def rows_of_folders(patterns: Mapping[str, str], by: str, root: Path) -> list[Row]:
    """The rows that `build_manifest` writes, sorted by id, with paths relative to `root`."""
    if by not in KEYS:
        raise UserError(unknown("value of by", by, KEYS))
    if not patterns:
        raise UserError("expected at least one MODALITY=PATTERN, e.g. 'image=img/*.jpg'")
    rows: dict[str, Row] = {}
    first: dict[tuple[str, str], Path] = {}
    values = _of_values(patterns)
    for name, pattern in patterns.items():
        for file in _matches(name, pattern):
            key = _key(file, pattern, by)
            row = rows.setdefault(key, {"id": key})
            first.setdefault((name, key), file)
            if name in row:
                raise UserError(
                    f"{name}: {first[name, key]} and {file} have the same {by} {key!r}: narrow the pattern"
                    + (", or use by=path" if by == "stem" else "")
                )
            row[name] = _value(file) if name in values else _relative(file, root)
    return [rows[key] for key in sorted(rows)]


def _matches(name: str, pattern: str) -> list[Path]:
    found = glob.glob(str(Path(pattern).expanduser()), recursive=True)  # noqa: PTH207 (patterns may be absolute)
    files = [Path(file) for file in sorted(found) if Path(file).is_file()]
    if not files:
        raise UserError(f"no file matches {name}={pattern!r} (seen from {Path.cwd()}): check the folder and the suffix")
    return files


def _of_values(names: Iterable[str]) -> set[str]:
    """The names that are installed modalities whose cells hold values."""
    known = [name for name in names if name in registry.installed()]
    return {name for name in known if registry.load(name).cell is Cell.value}


def _value(file: Path) -> str | list[str]:
    try:
        lines = [line.strip() for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8: its lines are the values of the cell, so save it as UTF-8") from error
    return lines[0] if len(lines) == 1 else lines


def _key(file: Path, pattern: str, by: str) -> str:
    if by == "stem":
        return file.stem
    fixed: list[str] = []
    for part in Path(pattern).expanduser().parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return file.relative_to(Path(*fixed)).with_suffix("").as_posix()


def _relative(file: Path, root: Path) -> str:
    base = root.resolve()
    target = file.parent.resolve() / file.name  # a link keeps its own name
    if not target.is_relative_to(base):
        common = os.path.commonpath([base, target])
        raise UserError(f"{file} is outside {base}, the folder of the manifest: write the manifest into {common}")
    return target.relative_to(base).as_posix()
