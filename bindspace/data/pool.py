"""A matched pool: events that hold all the modalities measured, and their distinct contents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from bindspace.contract import ModalityConfig, Source, UserError, unknown
from bindspace.data.bad_rows import BadRows
from bindspace.data.batch import BadRow
from bindspace.data.dataset import load_manifest
from bindspace.data.manifest import Manifest
from bindspace.data.reading import Column, Reader

SCALAR = (str, int, float, bool)
CHUNK = 16  # samples read at a time while a pool is built


@dataclass
class Item:
    """One distinct content of a modality: its digest, the events that hold it, and its source cell."""

    digest: bytes
    event: list[int]
    source: int  # number of the pool's manifest
    cell: int  # in that manifest's column


@dataclass
class Pool:
    """Events that hold all the modalities, with the distinct contents of each modality as items.

    `ids`, `groups`, `concepts` and the lists in `attributes` are by event. An item belongs to every event that holds
    its content; an event with several alternatives (captions) has several items. `left_out`: events of the sources that
    lack a modality. `bad`: cells that could not be read; an event that lacks a side because of them counts as left out.
    """

    configs: dict[str, ModalityConfig]
    manifests: list[Manifest]
    ids: list[str] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)
    concepts: list[Any] = field(default_factory=list)  # the reserved column; None without a value
    items: dict[str, list[Item]] = field(default_factory=dict)
    attributes: dict[str, list[Any]] = field(default_factory=dict)
    left_out: int = 0
    bad: list[BadRow] = field(default_factory=list)
    columns: list[dict[str, Column]] = field(default_factory=list, repr=False)
    reader: Reader = field(default_factory=Reader, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def modalities(self) -> list[str]:
        """Names of the modalities in the pool."""
        return list(self.items)

    def events(self, name: str) -> list[list[int]]:
        """By item of a modality, the events that hold it."""
        return [item.event for item in self.items[name]]

    def batches(self, name: str, batch_size: int) -> Iterator[dict[str, Tensor]]:
        """Batches from `prepare` of all items of a modality in order, `batch_size` at a time."""
        for start in range(0, len(self.items[name]), batch_size):
            yield self.prepare(name, range(start, min(start + batch_size, len(self.items[name]))))

    def prepare(self, name: str, numbers: Iterable[int]) -> dict[str, Tensor]:
        """A batch from `prepare` of the items with these numbers."""
        return self.configs[name].prepare([self.shown(name, number) for number in numbers])

    def shown(self, name: str, index: int) -> Any:
        """The decoded sample of an item, as `show` of its config takes it. Raises `UserError` if the file is gone."""
        item = self.items[name][index]
        samples, _ = self.reader.read(self.columns[item.source][name], np.array([item.cell]))
        if not samples:
            raise UserError(f"a file changed while it was measured: {self.reader.take_bad()[0].reason}; measure again")
        return samples[0]


def load_pool(
    sources: Sequence[Source | Manifest],
    configs: Mapping[str, ModalityConfig],
    modalities: Sequence[str] | None = None,
    reader: Reader | None = None,
    max_bad_fraction: float = 0.01,
    bad: BadRows | None = None,
) -> Pool:
    """Reads the sources into one matched pool over `modalities` (None: all of `configs`).

    Every cell is read once, so that an event is in the pool only if all its sides can be read; `reader` (None: one with
    2 GiB) keeps samples for `batches`. Cells that cannot be read are also added to `bad`, before an error is raised for
    them. Raises `UserError` if a modality has no column, no event is left, or more than `max_bad_fraction` of the rows
    are bad.
    """
    names = list(configs if modalities is None else modalities)
    for name in names:
        if name not in configs:
            raise UserError(unknown("modality", name, configs))
    manifests = [load_manifest(source, names) for source in sources]
    _check_columns(manifests, names)
    pool = Pool({name: configs[name] for name in names}, manifests, reader=reader or Reader(2.0))
    pool.items = {name: [] for name in names}
    found: dict[str, dict[tuple[bytes, str], Item]] = {name: {} for name in names}
    chosen: list[tuple[int, int]] = []
    for number, manifest in enumerate(manifests):
        pool.columns.append({name: Column(manifest, name, configs[name]) for name in names})
        chosen += [(number, row) for row in _add_events(pool, number, found, len(chosen))]
    _describe_events(pool, chosen)
    pool.bad = pool.reader.take_bad()
    _check_pool(pool, max_bad_fraction, bad)
    return pool


def _check_columns(manifests: Sequence[Manifest], names: Sequence[str]) -> None:
    if not manifests:
        raise UserError("expected test data, got none: list at least one source in data.test")
    keys = [manifest.key for manifest in manifests]
    for key in keys:
        if keys.count(key) > 1:
            raise UserError(f"{key} is listed twice in one pool: leave one out, or give the sources different pools")
    for name in names:
        if not any(manifest.uses(name) for manifest in manifests):
            columns = {column for manifest in manifests for column in manifest.columns}
            files = ", ".join(str(manifest.path) for manifest in manifests)
            raise UserError(f"{unknown('column', name, columns)} in {files}: leave the modality out, or add its column")


def _add_events(
    pool: Pool, number: int, found: dict[str, dict[tuple[bytes, str], Item]], first_event: int
) -> list[int]:
    """Adds the events of one source, and returns their rows."""
    columns = pool.columns[number]
    full = np.all([column.counts > 0 for column in columns.values()], axis=0)
    readable = {}
    for name, column in columns.items():
        cells = np.flatnonzero(full[column.row]) if len(column) else np.zeros(0, dtype=np.int64)
        readable[name] = cells[_try_read(pool.reader, column, cells)]
        full = full & (np.bincount(column.row[readable[name]], minlength=len(full)) > 0)
    rows = np.flatnonzero(full).tolist()
    event_of = {row: first_event + position for position, row in enumerate(rows)}
    for name, column in columns.items():
        cells = readable[name][full[column.row[readable[name]]]]
        for cell, digest in zip(cells.tolist(), pool.reader.digests(column, cells)):
            # equal bytes read with other settings are another content
            key = (digest.tobytes(), json.dumps(column.info(cell), sort_keys=True, default=str))
            if key not in found[name]:
                found[name][key] = Item(key[0], [], number, cell)
                pool.items[name].append(found[name][key])
            holders = found[name][key].event
            if (event := event_of[int(column.row[cell])]) not in holders[-1:]:
                holders.append(event)
    pool.left_out += len(full) - len(rows)
    return rows


def _try_read(reader: Reader, column: Column, cells: np.ndarray) -> np.ndarray:
    """Which cells can be read (n,) bool; samples are freed chunk by chunk, except those that the reader keeps."""
    kept = [reader.read(column, cells[start : start + CHUNK])[1] for start in range(0, len(cells), CHUNK)]
    return np.concatenate([np.zeros(0, dtype=bool), *kept])


def _describe_events(pool: Pool, chosen: Sequence[tuple[int, int]]) -> None:
    rows = [pool.manifests[number].rows[row] for number, row in chosen]
    taken: set[str] = set()
    for (number, _), row in zip(chosen, rows):
        name = row["id"] if row["id"] not in taken else f"{row['id']}@{number + 1}"  # ids may repeat between sources
        taken.add(name)
        pool.ids.append(name)
    pool.concepts = [row.get("concept") for row in rows]
    pool.groups = [str(row["group"]) if "group" in row else None for row in rows]
    columns = dict.fromkeys(name for manifest in pool.manifests for name in manifest.attributes(pool.configs))
    for name in columns:
        values = [row.get(name) for row in rows]
        there = [value for value in values if value is not None]
        if there and (all(isinstance(value, SCALAR) for value in there) or all(map(_is_label_list, there))):
            pool.attributes[name] = values


def _is_label_list(value: Any) -> bool:
    """Whether a cell holds several labels of one event."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _check_pool(pool: Pool, max_bad_fraction: float, account: BadRows | None) -> None:
    bad = BadRows()
    bad.add(pool.bad)
    if account is not None:
        account.add(pool.bad)
        bad.listing = account.listing  # named in errors only: that file also lists cells of other pools
    bad.check(sum(len(manifest.rows) for manifest in pool.manifests), max_bad_fraction)
    if not pool.ids:
        files = ", ".join(str(manifest.path) for manifest in pool.manifests)
        why = f"; the first bad cell: {pool.bad[0].modality}, {pool.bad[0].reason}" if pool.bad else ""
        raise UserError(
            f"no event of {files} holds all of {', '.join(pool.items)}{why}: choose fewer modalities, or fill in rows"
        )
