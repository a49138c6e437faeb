"""The pivot cache: vectors of towers that stand still, computed once and kept in memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bindspace.data import BadRows, Column, Manifest, Reader, evaluation_batches
from bindspace.progress import Progress
from bindspace.space import Space


def cache_vectors(
    space: Space,
    names: Sequence[str],
    manifests: Sequence[Manifest],
    bad: BadRows,
    *,
    batch_size: int = 128,
    shown: bool = True,
) -> dict[str, dict[str, Tensor]]:
    """Unit vectors of every cell of these modalities: name -> `Manifest.key` -> float32 (cells, dim).

    A tower that stands still sees each cell as in evaluation, without augmentation. A cell that cannot be read is a row
    of NaN, and is added to `bad`.
    """
    work = [(name, m, Column(m, name, space.configs[name])) for name in names for m in manifests if m.uses(name)]
    total = sum(len(column) for *_, column in work)
    found: dict[str, dict[str, Tensor]] = {}
    with Progress("vectors of what stands still", total, shown=shown and total > 0) as progress:
        for name, manifest, column in work:
            vectors = torch.full((len(column), space.dim), float("nan"))
            reader = Reader()
            for cells, prepared in evaluation_batches(manifest, space.configs[name], name, batch_size, reader):
                vectors[cells] = space.encode(**{name: prepared}, batch_size=batch_size)[name].float().cpu()
                progress.advance(len(cells))
            bad.add(reader.take_bad())
            found.setdefault(name, {})[manifest.key] = vectors.share_memory_()
    return found
