"""The validation set: by pair a bounded draw of events that hold both of its sides, in batches dealt to the ranks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Dataset

from bindspace.contract import ModalityConfig
from bindspace.data.batch import Batch
from bindspace.data.dataset import Events, Vectors
from bindspace.data.manifest import Manifest
from bindspace.data.reading import Reader
from bindspace.data.tables import alternatives

LARGEST = 128  # events of a batch, whatever a training batch has


@dataclass
class Chunk:
    """Some events of one source, for one pair."""

    pair: tuple[str, str]
    events: Events
    rows: np.ndarray


class ValidationBatches(Dataset[Batch]):
    """Item i is batch i of this rank: both sides of one pair (`Batch.pair`), prepared for evaluation.

    Of a pair at most `largest` events are taken, groups whole, drawn by the seed; of alternatives the first. Every rank
    has the same number of batches, the last of which may be empty. Pairs that no source holds have none.
    """

    def __init__(
        self,
        manifests: Sequence[Manifest],
        configs: Mapping[str, ModalityConfig],
        pairs: Sequence[tuple[str, str]],
        batch: int,
        largest: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        vectors: Vectors | None = None,
        memory_gb: float = 2.0,
    ) -> None:
        self.vectors, self.reader = vectors or {}, Reader(memory_gb)
        chunks = [
            Chunk(pair, events, rows[start : start + batch])
            for pair in pairs
            for events, rows in drawn_events(manifests, configs, pair, largest, seed)
            for start in range(0, len(rows), batch)
        ]
        self.measured = list(dict.fromkeys(chunk.pair for chunk in chunks))
        self.chunks = chunks[rank::world_size]
        self.count = -(-len(chunks) // world_size)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < self.count:
            raise IndexError(index)
        if index >= len(self.chunks):
            return Batch("", [], {}, {})
        chunk = self.chunks[index]
        found = chunk.events.batch(chunk.rows, None, self.reader, self.vectors)
        found.pair = chunk.pair
        return found


def holds(manifest: Manifest, pair: tuple[str, str]) -> bool:
    """Whether some row of the source holds both sides."""
    if not all(manifest.uses(name) for name in pair):
        return False
    return any(all(alternatives(row.get(name)) for name in pair) for row in manifest.rows)


def drawn_events(
    manifests: Sequence[Manifest],
    configs: Mapping[str, ModalityConfig],
    pair: tuple[str, str],
    largest: int,
    seed: int,
) -> list[tuple[Events, np.ndarray]]:
    """By source the rows (n,) of events that hold both sides: all, or `largest` at most, groups whole, by hash."""
    sources = [Events(each, configs, [(pair, 2)]) for each in manifests if holds(each, pair)]
    total = sum(len(events.rows) for events in sources)
    if total <= largest:
        return [(events, events.rows) for events in sources]
    units: dict[str, int] = {}
    for events in sources:
        for row in events.rows.tolist():
            units[_unit(events, row)] = units.get(_unit(events, row), 0) + 1
    kept: set[str] = set()
    left = largest
    for unit in sorted(units, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest()):
        if units[unit] <= left or not kept:
            kept.add(unit)
            left -= units[unit]
    return [(events, events.rows[[_unit(events, row) in kept for row in events.rows.tolist()]]) for events in sources]


def _unit(events: Events, row: int) -> str:
    group = events.groups[row]
    return f"id:{events.ids[row]}" if group is None else f"group:{group}"
