"""Cached embeddings of frozen towers: computed once, stored on disk, used by training, evaluation and search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bindspace.data import BadRows, CachedVectors, Column, Manifest, Pool, Reader
from bindspace.io.progress import Progress
from bindspace.space import Space
from bindspace.vectors.cache import VectorCache, cache_keys
from bindspace.vectors.key import tower_key


@dataclass
class Work:
    """One column to embed, and the cache for its vectors."""

    column: Column
    cache: VectorCache


def cache_vectors(
    space: Space,
    names: Sequence[str],
    manifests: Sequence[Manifest],
    bad: BadRows,
    place: Path,
    *,
    batch_size: int = 128,
    shown: bool = True,
) -> dict[str, dict[str, CachedVectors]]:
    """Unit vectors of every cell of these modalities: name -> `Manifest.key` -> what `TrainBatches` looks up.

    They are read from the caches in `place`; missing ones are computed and added. A frozen tower encodes each cell as
    in evaluation. A cell that cannot be read has no vector, and is added to `bad`.
    """
    caches = open_caches(space, list(names), place)
    wanted = [
        Work(Column(m, name, space.configs[name]), caches[name]) for name in names for m in manifests if m.uses(name)
    ]
    total = sum(len(work.column) for work in wanted)
    readers = [Reader() for _ in wanted]
    with Progress("cached embeddings of frozen encoders", total, shown=shown and total > 0) as progress:
        for work, reader in zip(wanted, readers):
            work.cache.refresh()
            for window in _fill(space, work, reader, batch_size):
                progress.advance(window)
            bad.add(reader.take_bad())
    for cache in caches.values():
        cache.refresh()
    found: dict[str, dict[str, CachedVectors]] = {}
    for work, reader in zip(
        wanted, readers
    ):  # after the last refresh: adding entries changes the numbers of other files
        found.setdefault(work.column.name, {})[work.column.manifest.key] = _looked_up(work, reader)
    return found


def _fill(space: Space, work: Work, reader: Reader, batch_size: int) -> Iterator[int]:
    """Computes missing vectors, a window of cells at a time; yields the number of cells of each window.

    The windows do not depend on what is cached, so that a resumed run computes the same batches, and bitwise identical
    vectors, as an uninterrupted one.
    """
    column, fresh = work.column, set[bytes]()
    for start in range(0, len(column), batch_size):
        cells = np.arange(start, min(start + batch_size, len(column)))
        cells = cells[reader.identify(column, cells)]
        keys = _keys(column, reader, cells)
        lacking = _lacking(work.cache, keys, fresh)
        samples, kept = reader.read(column, cells[lacking])
        if samples:
            chosen = keys[lacking[kept]]
            prepared = column.config.prepare(samples)
            vectors = space.encode(**{column.name: prepared}, batch_size=len(samples))[column.name]
            work.cache.add(chosen, vectors.float().cpu())
            fresh |= {key.tobytes() for key in chosen}
        yield min(batch_size, len(column) - start)


def _lacking(cache: VectorCache, keys: np.ndarray, fresh: set[bytes]) -> np.ndarray:
    """Positions (n,) of keys that are neither cached nor just computed; the first of equal ones."""
    found: dict[bytes, int] = {}
    for i in np.flatnonzero(cache.find(keys) < 0).tolist():
        found.setdefault(keys[i].tobytes(), i)
    return np.array([i for key, i in found.items() if key not in fresh], dtype=np.int64)


def _keys(column: Column, reader: Reader, cells: np.ndarray) -> np.ndarray:
    infos = [column.info(cell) for cell in cells.tolist()] if column.has_info else None
    return cache_keys(reader.digests(column, cells), infos)


def _looked_up(work: Work, reader: Reader) -> CachedVectors:
    column = work.column
    cells = np.arange(len(column))
    known = reader.identify(column, cells)
    digests = np.zeros((len(column), 32), dtype=np.uint8)
    digests[known] = reader.digests(column, cells[known])
    rows = np.full(len(column), -1, dtype=np.int64)
    rows[known] = work.cache.find(_keys(column, reader, cells[known]))
    return CachedVectors(work.cache, rows, torch.from_numpy(digests))


def open_caches(space: Space, names: list[str], place: Path | None) -> dict[str, VectorCache]:
    """The cache of each of these modalities for the current towers; none without a place."""
    return {} if place is None else {name: VectorCache(place, tower_key(space, name)) for name in names}


def embed_items(
    space: Space, pool: Pool, name: str, batch_size: int, caches: Mapping[str, VectorCache] | None = None
) -> Iterator[Tensor]:
    """Unit vectors (n, dim) float32 of a pool's distinct items of one modality, in order, `batch_size` at a time.

    Cached vectors are read from the modality's cache, and missing ones are added.
    """
    cache = (caches or {}).get(name)
    if cache is None:
        for prepared in pool.batches(name, batch_size):
            yield _encode(space, name, prepared, batch_size)
        return
    for start in range(0, len(pool.items[name]), batch_size):
        numbers = np.arange(start, min(start + batch_size, len(pool.items[name])))
        keys = _item_keys(pool, name, numbers)
        rows = cache.find(keys)
        vectors, lacking = cache.take(rows), np.flatnonzero(rows < 0)
        if len(lacking):
            computed = _encode(space, name, pool.prepare(name, numbers[lacking].tolist()), batch_size)
            cache.add(keys[lacking], computed)
            vectors[torch.from_numpy(lacking)] = computed
        yield vectors
    cache.refresh()


def _encode(space: Space, name: str, prepared: Mapping[str, Tensor], batch_size: int) -> Tensor:
    return space.encode(batch_size=batch_size, **{name: prepared})[name].float().cpu()


def _item_keys(pool: Pool, name: str, numbers: np.ndarray) -> np.ndarray:
    items = [pool.items[name][number] for number in numbers.tolist()]
    digests = np.frombuffer(b"".join(item.digest for item in items), dtype=np.uint8).reshape(-1, 32)
    return cache_keys(digests, [pool.columns[item.source][name].info(item.cell) for item in items])
