"""Training batches as a map-style data set; item t is a pure function of the settings and t."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from bindspace.contract import Augment, ModalityConfig, Source, UserError
from bindspace.data.batch import Batch
from bindspace.data.cached import CachedVectors
from bindspace.data.manifest import Manifest, Read, require_columns
from bindspace.data.order import EventOrder, event_seeds, pick, source_schedule
from bindspace.data.reading import Column, Reader
from bindspace.settings import Pair, check_pairs

# modality -> Manifest.key -> float32 (cells, dim), a row of NaN where there is no vector; or where it is looked up
Vectors = Mapping[str, Mapping[str, Tensor | CachedVectors]]


class Events:
    """The events of one source that a pair or a further term of the loss is trained on, and their cells.

    `reads`: the modalities that each of these reads, and how many of them an event has to hold. `rows` (n,): positions
    of the events in the manifest. `columns`: the modalities to read. `holds[name]` (rows of the manifest,) bool:
    whether to read the row for that modality.
    """

    def __init__(self, manifest: Manifest, configs: Mapping[str, ModalityConfig], reads: Sequence[Read]) -> None:
        require_columns(manifest, reads)
        self.manifest = manifest
        self.ids = [row["id"] for row in manifest.rows]
        self.groups = [str(row["group"]) if "group" in row else None for row in manifest.rows]
        self.augment = Augment(manifest.source.augment).value
        names = dict.fromkeys(name for read, _ in reads for name in read)
        columns = {name: Column(manifest, name, configs[name]) for name in names if manifest.uses(name)}
        holds = {name: np.zeros(len(manifest.rows), dtype=bool) for name in columns}
        for read, needed in reads:
            had = {name: columns[name].counts > 0 for name in read if name in columns}
            if len(had) >= needed:
                enough = np.sum(list(had.values()), axis=0) >= needed
                for name, mask in had.items():
                    holds[name] |= enough & mask
        self.holds = {name: mask for name, mask in holds.items() if mask.any()}
        self.columns = {name: columns[name] for name in self.holds}
        self.rows = np.flatnonzero(np.any(list(holds.values()), axis=0))
        if not len(self.rows):
            sides = " or ".join(" and ".join(read) for read, _ in reads)
            raise UserError(f"no row of {manifest.path} holds {sides}: fill both cells in, or leave the source out")

    def batch(self, rows: np.ndarray, seeds: np.ndarray | None, reader: Reader, vectors: Vectors) -> Batch:
        """Reads and prepares these rows; `seeds` None: for evaluation, with the first alternative of each cell."""
        chosen = rows.tolist()
        batch = Batch(str(self.manifest.path), [self.ids[row] for row in chosen], {}, {})
        batch.groups = [self.groups[row] for row in chosen]
        stored = {name: vectors.get(name, {}).get(self.manifest.key) for name in self.columns}
        for name, column in self.columns.items():
            where = np.flatnonzero(self.holds[name][rows])
            cells = column.offsets[rows[where]]
            if seeds is not None:
                cells = cells + pick(seeds[where], column.counts[rows[where]])
            cached = stored[name]
            if isinstance(cached, CachedVectors):
                kept = _look_up(batch, column, cells, cached.look_up(cells), reader)
            elif isinstance(cached, Tensor):
                kept = _look_up(batch, column, cells, cached[torch.from_numpy(cells)], reader)
            else:
                kept = self._prepare(batch, column, cells, None if seeds is None else seeds[where], reader)
            if kept.any():
                batch.rows[name] = torch.from_numpy(where[kept])
                batch.digests[name] = torch.from_numpy(reader.digests(column, cells[kept]))
        batch.bad.extend(reader.take_bad())
        return batch

    def _prepare(
        self, batch: Batch, column: Column, cells: np.ndarray, seeds: np.ndarray | None, reader: Reader
    ) -> np.ndarray:
        began = perf_counter()
        samples, kept = reader.read(column, cells)
        batch.spend("read", began)
        if samples:
            began = perf_counter()
            chosen = None if seeds is None else seeds[kept].tolist()
            augment = "none" if seeds is None else self.augment
            batch.inputs[column.name] = column.config.prepare(samples, seeds=chosen, augment=augment)
            batch.spend("prepare", began)
        return kept


def _look_up(batch: Batch, column: Column, cells: np.ndarray, found: Tensor, reader: Reader) -> np.ndarray:
    began = perf_counter()
    for cell in cells[found.isnan().any(1).numpy()].tolist():
        reader.refuse(column, cell, "it has no cached vector")
    kept = reader.identify(column, cells)
    if kept.any():
        batch.vectors[column.name] = found[torch.from_numpy(kept)]
    batch.spend("read", began)
    return kept


def load_events(
    sources: Iterable[Source | Manifest],
    configs: Mapping[str, ModalityConfig],
    pairs: Sequence[Pair],
    reads: Sequence[Read] = (),
) -> list[Events]:
    """The usable events of each source. Raises `UserError` for a source that has none."""
    check_pairs(pairs, configs)
    wanted: list[Read] = [*((pair.of, 2) for pair in pairs), *reads]
    names = list(dict.fromkeys(name for read, _ in wanted for name in read))
    return [Events(load_manifest(source, names), configs, wanted) for source in sources]


def load_manifest(source: Source | Manifest, names: Sequence[str]) -> Manifest:
    """The source's manifest, unless it is one already."""
    return source if isinstance(source, Manifest) else Manifest.load(source, names)


def _check_vectors(vectors: Vectors, events: Sequence[Events]) -> None:
    for name, by_key in vectors.items():
        for source in events:
            cached, column = by_key.get(source.manifest.key), source.columns.get(name)
            if cached is not None and column is not None and len(cached) != len(column):
                raise UserError(
                    f"{source.manifest.path}: expected a vector for each of its {len(column)} {name} cells, got "
                    f"{len(cached)}: compute the vectors again"
                )


class TrainBatches(Dataset[Batch]):
    """Item t is the batch of training step t, for this rank: a pure function of the seed and t.

    Each step draws from one source, in exact proportion to the weights. A source is read in successive permutations,
    and no event repeats within a batch; only events with both sides of a pair are drawn, and only the modalities of
    such pairs are read. `reads` adds the modalities of further terms, and how many of them an event has to hold. The
    global batch of a step does not depend on the number of ranks: rank r gets its events r, r + world_size, ... A
    modality with `vectors` for a source is not read.
    """

    def __init__(
        self,
        sources: Sequence[Source | Manifest],
        configs: Mapping[str, ModalityConfig],
        pairs: Sequence[Pair],
        batch: int,
        steps: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        vectors: Vectors | None = None,
        memory_gb: float = 2.0,
        reads: Sequence[Read] = (),
    ) -> None:
        self.events = load_events(sources, configs, pairs, reads)
        if not self.events:
            raise UserError("expected training data, got none: list at least one source in data.train")
        self.steps, self.seed, self.rank, self.world_size = steps, seed, rank, world_size
        self.vectors = vectors or {}
        _check_vectors(self.vectors, self.events)
        settings = [events.manifest.source for events in self.events]
        self.orders = [
            EventOrder(len(events.rows), _batch_size(source, batch), seed, number)
            for number, (events, source) in enumerate(zip(self.events, settings))
        ]
        self.schedule = source_schedule(_weights(settings), steps, seed)
        self.draws = _earlier_draws(self.schedule, len(settings))
        self.reader = Reader(memory_gb)
        self._trust_digests()

    def _trust_digests(self) -> None:
        """Reuses the digests of cached vectors, so that workers do not hash the contents again."""
        for events in self.events:
            for name, column in events.columns.items():
                if isinstance(cached := self.vectors.get(name, {}).get(events.manifest.key), CachedVectors):
                    self.reader.trust(column, cached.digests.numpy())

    @property
    def manifests(self) -> list[Manifest]:
        """The sources' manifests."""
        return [events.manifest for events in self.events]

    @property
    def total_rows(self) -> int:
        """The number of usable rows of all sources."""
        return sum(len(events.rows) for events in self.events)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        if not 0 <= step < self.steps:
            raise IndexError(step)
        source = self.schedule[step]
        drawn = self.orders[source][int(self.draws[step])]
        mine = slice(self.rank, None, self.world_size)
        seeds = event_seeds(self.seed, step, len(drawn))
        events = self.events[source]
        return events.batch(events.rows[drawn[mine]], seeds[mine], self.reader, self.vectors)


def _batch_size(source: Source, default: int) -> int:
    size = default if source.batch is None else source.batch
    if size < 1:
        raise UserError(f"the batch of {source.path} is {size}: expected 1 or more, and 2 or more for negatives")
    return size


def _weights(sources: Sequence[Source]) -> list[float]:
    weights = [source.weight for source in sources]
    if min(weights) < 0 or not sum(weights) > 0:
        raise UserError(f"weights of sources must not be negative, nor all 0, got {weights}")
    return weights


def _earlier_draws(schedule: np.ndarray, sources: int) -> np.ndarray:
    """How many times the source of each step was drawn before that step."""
    draws = np.zeros_like(schedule)
    for source in range(sources):
        steps = np.flatnonzero(schedule == source)
        draws[steps] = np.arange(len(steps))
    return draws


def one_thread(worker: int) -> None:
    """Initialises a loader worker. It is here, since a worker that is not forked imports the module of it."""
    torch.set_num_threads(1)
