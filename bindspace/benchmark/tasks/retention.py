"""Retention of an extended space: its earlier trained pairs measured before and after on the same pool."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import torch

from bindspace.benchmark.emergent import TRAINED, embed_pool, recalls
from bindspace.settings import BenchmarkSettings, pair_name

if TYPE_CHECKING:
    from bindspace.data import Pool
    from bindspace.space import Space


def retention(
    space: Space, ancestor: Space, pool: Pool, settings: BenchmarkSettings, *, progress: bool = True
) -> list[dict[str, Any]]:
    """For each directed trained leg of the ancestor: recall of both spaces, and whether their vectors are equal.

    Both are embedded in the same batches with the same number of threads, so that `equal` means bitwise identical.
    """
    names = [name for name in ancestor.modalities if name in pool.items]
    legs = [pair for pair in itertools.permutations(names, 2) if _is_leg(ancestor, *pair)]
    members = [name for name in names if any(name in leg for leg in legs)]
    before = embed_pool(ancestor, pool, members, settings.batch_size, "before", progress)
    after = embed_pool(space, pool, members, settings.batch_size, "after", progress)
    k = sorted(set(settings.k))
    return [
        {
            "query": a,
            "gallery": b,
            "before": recalls(before[a], before[b], k),
            "after": recalls(after[a], after[b], k),
            "equal": all(torch.equal(before[name].vectors, after[name].vectors) for name in (a, b)),
        }
        for a, b in legs
    ]


def _is_leg(space: Space, a: str, b: str) -> bool:
    """Whether the pair was trained: according to the ledger, or to the temperature that each trained pair has."""
    recorded = space.ledger is not None and space.ledger.status(a, b) in TRAINED
    return recorded or pair_name(a, b, space.pivot) in space.temperatures
