"""Vectors of towers that stand still: computed once, kept on disk, looked up by the steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from bindspace.data import BadRows, Column, Manifest, Reader
from bindspace.data.cached import CachedVectors
from bindspace.progress import Progress
from bindspace.space import Space
from bindspace.training.distributed import is_first_rank, world_size
from bindspace.vector_cache import VectorCache, content_keys, open_caches


@dataclass
class Work:
    """One column to embed, and the cache that takes its vectors."""

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

    They are taken from the caches in `place`, and what these lack is computed and added. A tower that stands still sees
    each cell as in evaluation. A cell that cannot be read has no vector, and is added to `bad`. Where ranks have met,
    the first computes and the others wait for it.
    """
    caches = open_caches(space, list(names), place)
    wanted = [
        Work(Column(m, name, space.configs[name]), caches[name]) for name in names for m in manifests if m.uses(name)
    ]
    if world_size() > 1 and not is_first_rank():
        dist.barrier()
    total = sum(len(work.column) for work in wanted)
    readers = [Reader() for _ in wanted]
    with Progress("vectors of what stands still", total, shown=shown and total > 0) as progress:
        for work, reader in zip(wanted, readers):
            work.cache.refresh()
            for window in _fill(space, work, reader, batch_size):
                progress.advance(window)
            bad.add(reader.take_bad())
    for cache in caches.values():
        cache.refresh()
    found: dict[str, dict[str, CachedVectors]] = {}
    for work, reader in zip(wanted, readers):  # after the last refresh: what is added moves the numbers of other files
        found.setdefault(work.column.name, {})[work.column.manifest.key] = _looked_up(work, reader)
    if world_size() > 1 and is_first_rank():
        dist.barrier()
    return found


def _fill(space: Space, work: Work, reader: Reader, batch_size: int) -> Iterator[int]:
    """Computes what is lacking, a window of cells at a time; yields how many cells each window has.

    The windows do not depend on what is there, so that a run which goes on computes the same batches, and with them the
    same bits, as one that was never stopped.
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
    """Positions (n,) of keys that neither the cache holds nor was computed just now; of equal ones the first."""
    found: dict[bytes, int] = {}
    for i in np.flatnonzero(cache.find(keys) < 0).tolist():
        found.setdefault(keys[i].tobytes(), i)
    return np.array([i for key, i in found.items() if key not in fresh], dtype=np.int64)


def _keys(column: Column, reader: Reader, cells: np.ndarray) -> np.ndarray:
    infos = [column.info(cell) for cell in cells.tolist()] if column.has_info else None
    return content_keys(reader.digests(column, cells), infos)


def _looked_up(work: Work, reader: Reader) -> CachedVectors:
    column = work.column
    cells = np.arange(len(column))
    known = reader.identify(column, cells)
    digests = np.zeros((len(column), 32), dtype=np.uint8)
    digests[known] = reader.digests(column, cells[known])
    rows = np.full(len(column), -1, dtype=np.int64)
    rows[known] = work.cache.find(_keys(column, reader, cells[known]))
    return CachedVectors(work.cache, rows, torch.from_numpy(digests))
