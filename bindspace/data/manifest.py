"""Manifests: files of rows, each row an event. Standard library only."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

from bindspace.contract import RESERVED, Source, UserError, registry, unknown
from bindspace.data.folders import build_manifest
from bindspace.data.shards import INDEX, Shards
from bindspace.data.tables import Row, alternatives, find_manifest, parse_table, write_manifest

__all__ = [
    "Manifest",
    "Read",
    "build_manifest",
    "check_groups",
    "require_columns",
    "split_validation",
    "write_manifest",
]

Read = tuple[Sequence[str], int]  # modalities that are read, and how many of them an event has to hold
Unit = tuple[str, str]  # never split across sets: ("group", its name), or ("id", that of a row without group)


@dataclass(frozen=True, eq=False)
class Manifest:
    """A source's rows (after its `where`), each with a unique `id`, and where their paths lead.

    `sha256`: of the whole file's bytes. `key` identifies this selection of rows: the path, with the selection if there
    is one; cached vectors are stored under it. `shards`: the index of the media if they are in tar shards.
    """

    path: Path
    root: Path
    rows: list[Row]
    columns: list[str]
    sha256: str
    source: Source
    key: str
    shards: Shards | None = None

    @classmethod
    def load(cls, source: Source, modalities: Sequence[str]) -> Manifest:
        """Reads a source's manifest, of which at least one of `modalities` must be a column. Raises `UserError`."""
        path = find_manifest(source.path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot read {path} ({error.strerror}): check its permissions") from error
        rows, columns = parse_table(content, path)
        _number_rows(rows, path)
        root, index = _root(source, path), path.with_name(INDEX)
        shards = Shards(index, root) if index.is_file() else None
        sha256 = hashlib.sha256(content).hexdigest()
        manifest = cls(path, root, rows, columns, sha256, source, _key(source, path), shards)
        _check_settings(manifest, modalities)
        return manifest._where(source.where) if source.where else manifest

    def uses(self, name: str) -> bool:
        """Whether the source has this modality: a column that its `modalities` do not exclude."""
        listed = self.source.modalities
        return name in self.columns and (listed is None or name in listed)

    def attributes(self, modalities: Iterable[str]) -> list[str]:
        """The columns that describe events: neither reserved (save `label`), nor of a modality, installed or given."""
        known = {*modalities, *registry.installed()}
        reserved = set(RESERVED) - {"label"}
        return [
            name
            for name in self.columns
            if name not in reserved and name not in known and name.partition(".")[0] not in known
        ]

    def infos(self, name: str) -> list[tuple[str, str]]:
        """The modality's `<modality>.<key>` columns, as (column, key)."""
        prefix = f"{name}."
        return [(column, column[len(prefix) :]) for column in self.columns if column.startswith(prefix)]

    def subset(self, positions: Iterable[int], label: str) -> Manifest:
        """The same source with only these rows; `label` makes its key distinct."""
        return replace(self, rows=[self.rows[i] for i in positions], key=f"{self.key}!{label}")

    def _where(self, where: dict[str, Any]) -> Manifest:
        for name in where:
            if name not in self.columns:
                raise UserError(unknown(f"column in `where` of {self.path}:", name, self.columns))
        kept = [row for row in self.rows if all(_matches(row.get(name), wanted) for name, wanted in where.items())]
        if not kept:
            there = {name: sorted({str(row.get(name)) for row in self.rows})[:10] for name in where}
            raise UserError(f"no row of {self.path} is where {where}: its values are {there}")
        return replace(self, rows=kept)


def _matches(value: Any, wanted: Any) -> bool:
    """Equality or membership; numbers match their text, since CSV holds text only."""
    options = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    return any(value == option or (value is not None and str(value) == str(option)) for option in options)


def _root(source: Source, path: Path) -> Path:
    if source.root is None:
        return path.parent
    root = Path(source.root).expanduser()
    if not root.is_dir():
        raise UserError(
            f"the root {root} of {path} is not a folder: `root` is the base folder of the paths in a manifest"
        )
    return root.resolve()


def _key(source: Source, path: Path) -> str:
    chosen = {"where": source.where, "read": source.read, "root": source.root, "modalities": source.modalities}
    chosen = {name: value for name, value in chosen.items() if value}
    return f"{path}?{json.dumps(chosen, sort_keys=True, default=str)}" if chosen else str(path)


def _number_rows(rows: list[Row], path: Path) -> None:
    """Converts ids to text, numbers rows without an id, and refuses duplicates."""
    first: dict[str, int] = {}
    clashes = []
    for number, row in enumerate(rows, start=1):
        row["id"] = str(row.get("id", f"row-{number}"))
        if row["id"] in first:
            clashes.append(f"{row['id']!r} in rows {first[row['id']]} and {number}")
        first.setdefault(row["id"], number)
    if clashes:
        more = f" and {len(clashes) - 2} more" if len(clashes) > 2 else ""
        raise UserError(f"ids must be unique, but {path} has {', '.join(clashes[:2])}{more}: give each event its own")


def _check_settings(manifest: Manifest, modalities: Sequence[str]) -> None:
    for setting, names in (("modalities", manifest.source.modalities or []), ("read", list(manifest.source.read))):
        for name in names:
            if name not in manifest.columns:
                raise UserError(unknown(f"column in `{setting}` of {manifest.path}:", name, manifest.columns))
    if not any(manifest.uses(name) for name in modalities):
        raise UserError(_no_column(manifest, modalities, " or ".join(modalities)))


def _no_column(manifest: Manifest, names: Iterable[str], needed: str) -> str:
    lacking = next(name for name in names if not manifest.uses(name))
    left_out = manifest.source.modalities
    limits = f" (of which its `modalities` admit {', '.join(left_out)})" if left_out is not None else ""
    columns = [name for name in manifest.columns if name not in RESERVED and "." not in name]
    hint = "the name of a column is the modality that it holds"
    return f"{manifest.path}{limits} needs columns {needed}; {unknown('column', lacking, columns, hint)}"


def require_columns(manifest: Manifest, reads: Sequence[Read]) -> None:
    """Raises `UserError` unless the manifest has the columns of at least one pair or term."""
    if any(sum(manifest.uses(name) for name in names) >= needed for names, needed in reads):
        return
    wanted = " or ".join(" and ".join(names) for names, _ in reads)
    raise UserError(_no_column(manifest, (name for names, _ in reads for name in names), wanted))


def check_groups(train: Sequence[Manifest], test: Sequence[Manifest]) -> None:
    """Raises `UserError` if a `group` (recording, object, person) is on both sides."""
    owner = {str(row["group"]): manifest for manifest in train for row in manifest.rows if "group" in row}
    for manifest in test:
        for row in manifest.rows:
            if "group" in row and str(row["group"]) in owner:
                raise UserError(
                    f"the group {str(row['group'])!r} is trained on ({owner[str(row['group'])].path}) and measured "
                    f"({manifest.path}): keep a group on one side, or rename it if the two are different groups"
                )


def split_validation(
    manifests: Sequence[Manifest], fraction: float, seed: int
) -> tuple[list[Manifest], list[Manifest]]:
    """Holds out a share of each training source's rows for validation, by whole groups: (train, val).

    Rows without a `group` are split by their id. A group or id in several sources is on the same side in all of them. A
    source that would have no training rows left keeps them all.
    """
    if fraction <= 0:
        return list(manifests), []
    chosen = _choose_units([Counter(map(_unit, manifest.rows)) for manifest in manifests], fraction, seed)
    train, val = [], []
    for manifest in manifests:
        held = [_unit(row) in chosen for row in manifest.rows]
        train.append(manifest.subset([i for i, out in enumerate(held) if not out], "train") if any(held) else manifest)
        if any(held):
            val.append(manifest.subset([i for i, out in enumerate(held) if out], "val"))
    if not val:
        warnings.warn("data.val_fraction has no effect: no source can hold out a whole group", stacklevel=2)
    return train, val


def broken_pairs(manifest: Manifest, name: str, seed: int) -> Manifest:
    """The manifest with the cells of one modality moved to other rows, along one random cycle: no row keeps its own.

    Its `<modality>.<key>` columns move along. A control: a space trained on this must be at chance level.
    """
    holders = [i for i, row in enumerate(manifest.rows) if name in row]
    order = sorted(holders, key=lambda i: hashlib.sha256(f"{seed}/{manifest.rows[i]['id']}".encode()).digest())
    moved = {name, *(column for column, _ in manifest.infos(name))}
    rows = [{key: value for key, value in row.items() if key not in moved} for row in manifest.rows]
    for i, other in zip(order, [*order[1:], *order[:1]]):
        rows[i] |= {key: value for key, value in manifest.rows[other].items() if key in moved}
    return replace(manifest, rows=rows, key=f"{manifest.key}!broken")


def _choose_units(sources: Sequence[Counter[Unit]], fraction: float, seed: int) -> set[Unit]:
    """Units to hold out, in order of their hash, until each source has its share; no source loses all rows."""
    chosen: set[Unit] = set()
    kept = [source.total() for source in sources]
    wanted = [total - ceil(fraction * total) for total in kept]
    for number, source in enumerate(sources):
        for unit in sorted(source, key=lambda unit: hashlib.sha256(f"{seed}/{unit}".encode()).digest()):
            if kept[number] <= wanted[number]:
                break
            left = [rows - other[unit] for rows, other in zip(kept, sources)]
            if unit not in chosen and all(left):
                chosen.add(unit)
                kept = left
    return chosen


def _unit(row: Row) -> Unit:
    return ("group", str(row["group"])) if "group" in row else ("id", row["id"])


def cells_of(manifest: Manifest, name: str) -> list[list[Any]]:
    """The alternatives of a modality by row; empty lists if the source does not have it."""
    if not manifest.uses(name):
        return [[] for _ in manifest.rows]
    return [alternatives(row.get(name)) for row in manifest.rows]
