"""Vectors of towers that stand still: computed once, kept on disk, looked up by the steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from bindspace.data import BadRows, Column, Manifest, Reader
from bindspace.data.cached import CachedVectors
from bindspace.data.order import view_seeds
from bindspace.progress import Progress
from bindspace.settings import Augment
from bindspace.space import Space
from bindspace.training.distributed import is_first_rank, world_size
from bindspace.vector_cache import VectorCache, content_keys, open_caches


@dataclass
class Work:
    """One column to embed: `views` of each cell under seeds of their own, or 0: as in evaluation."""

    column: Column
    cache: VectorCache
    views: int
    augment: str


def cache_vectors(
    space: Space,
    names: Sequence[str],
    manifests: Sequence[Manifest],
    bad: BadRows,
    place: Path,
    *,
    views: int = 0,
    batch_size: int = 128,
    shown: bool = True,
) -> dict[str, dict[str, CachedVectors]]:
    """Unit vectors of every cell of these modalities: name -> `Manifest.key` -> what `TrainBatches` looks up.

    They are taken from the caches in `place`, and what these lack is computed and added. A tower that stands still sees
    each cell as in evaluation, or, with `views`, that many augmented versions of it. A cell that cannot be read has no
    vector, and is added to `bad`. Where ranks have met, the first computes and the others wait for it.
    """
    caches = open_caches(space, list(names), place)
    wanted = [
        Work(Column(m, name, space.configs[name]), caches[name], *_views(m, views))
        for name in names
        for m in manifests
        if m.uses(name)
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


def _views(manifest: Manifest, views: int) -> tuple[int, str]:
    augment = Augment(manifest.source.augment)
    return (0 if augment is Augment.none else views), augment.value


def _fill(space: Space, work: Work, reader: Reader, batch_size: int) -> Iterator[int]:
    """Computes what is lacking, a window of cells at a time; yields how many cells each window has.

    The windows do not depend on what is there, so that a run which goes on computes the same batches, and with them the
    same bits, as one that was never stopped.
    """
    column, fresh = work.column, set[bytes]()
    for start in range(0, len(column), batch_size):
        cells = np.arange(start, min(start + batch_size, len(column)))
        cells = cells[reader.identify(column, cells)]
        keys = [_keys(work, reader, cells, view) for view in range(max(1, work.views))]
        lacking = [_lacking(work.cache, each, fresh) for each in keys]
        needed = np.unique(np.concatenate(lacking))
        samples, kept = reader.read(column, cells[needed])
        place = dict(zip(needed[kept].tolist(), samples))
        for view, (own, chosen) in enumerate(zip(keys, lacking)):
            if len(chosen := np.array([i for i in chosen.tolist() if i in place], dtype=np.int64)):
                vectors = _embed(space, work, [place[i] for i in chosen.tolist()], cells[chosen], view)
                work.cache.add(own[chosen], vectors)
                fresh |= {key.tobytes() for key in own[chosen]}
        yield min(batch_size, len(column) - start)


def _lacking(cache: VectorCache, keys: np.ndarray, fresh: set[bytes]) -> np.ndarray:
    """Positions (n,) of keys that neither the cache holds nor was computed just now; of equal ones the first."""
    found: dict[bytes, int] = {}
    for i in np.flatnonzero(cache.find(keys) < 0).tolist():
        found.setdefault(keys[i].tobytes(), i)
    return np.array([i for key, i in found.items() if key not in fresh], dtype=np.int64)


def _embed(space: Space, work: Work, samples: list, cells: np.ndarray, view: int) -> Tensor:
    name, config = work.column.name, work.column.config
    seeds = _seeds(work, cells, view).tolist() if work.views else None
    prepared = config.prepare(samples, seeds=seeds, augment=work.augment) if work.views else config.prepare(samples)
    return space.encode(**{name: prepared}, batch_size=len(samples))[name].float().cpu()


def _seeds(work: Work, cells: np.ndarray, view: int) -> np.ndarray:
    rows = work.column.manifest.rows
    ids = [rows[row]["id"] for row in work.column.row[cells]]
    return view_seeds(ids, np.full(len(ids), view))


def _keys(work: Work, reader: Reader, cells: np.ndarray, view: int) -> np.ndarray:
    """The keys of one view of these cells. A view is prepared with a seed of its event, and stands for no other's."""
    column = work.column
    digests = reader.digests(column, cells)
    infos = [column.info(cell) for cell in cells.tolist()] if column.has_info else None
    if not work.views:
        return content_keys(digests, infos)
    parts = [
        content_keys(digests[i : i + 1], None if infos is None else infos[i : i + 1], f"{work.augment} {seed}")
        for i, seed in enumerate(_seeds(work, cells, view).tolist())
    ]
    return np.concatenate([np.zeros((0, 32), dtype=np.uint8), *parts])


def _looked_up(work: Work, reader: Reader) -> CachedVectors:
    column = work.column
    cells = np.arange(len(column))
    known = reader.identify(column, cells)
    digests = np.zeros((len(column), 32), dtype=np.uint8)
    digests[known] = reader.digests(column, cells[known])
    rows = np.full((len(column), max(1, work.views)), -1, dtype=np.int64)
    for view in range(max(1, work.views)):
        rows[known, view] = work.cache.find(_keys(work, reader, cells[known], view))
    return CachedVectors(work.cache, rows, torch.from_numpy(digests), work.views)
