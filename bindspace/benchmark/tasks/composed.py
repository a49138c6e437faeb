"""Composed queries: the sum of two modalities of an event as one query."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional as F

from bindspace.benchmark.cell import Side, recalls
from bindspace.metrics import retrieval, share_interval


def composed(sides: Mapping[str, Side], k: Sequence[int], seed: int) -> list[dict[str, Any]]:
    """Recall of composed queries: the normalised sum of the unit vectors of two modalities, and of each alone.

    One query per event; several items of a modality are averaged, so that a list of captions is one query.
    """
    cells = []
    for gallery in sides:
        for a, b in itertools.combinations([name for name in sides if name != gallery], 2):
            one, two = by_event(sides[a]), by_event(sides[b])
            sum_ = replace(one, name=f"{a} + {b}", vectors=F.normalize(one.vectors + two.vectors, dim=1))
            rank = retrieval.ranks(
                sum_.vectors, sides[gallery].vectors, retrieval.match(sum_.events, sides[gallery].events)
            )
            cells.append(
                {
                    "query": [a, b],
                    "gallery": gallery,
                    "n": len(sum_.events),
                    "recall": {str(each): retrieval.recall(rank, each) for each in k},
                    "ci95": {str(each): list(share_interval(rank <= each, sum_.clusters, seed=seed)) for each in k},
                    "alone": [recalls(one, sides[gallery], k), recalls(two, sides[gallery], k)],
                }
            )
    return cells


def by_event(side: Side) -> Side:
    """One item per event: the normalised mean of the event's items."""
    item, event = retrieval.incidence(side.events)
    count = int(event.max()) + 1
    sums = torch.zeros(count, side.vectors.shape[1]).index_add(0, event, side.vectors[item])
    first = torch.zeros(count, dtype=torch.int64).scatter_reduce(0, event, item, "amin", include_self=False)
    return Side(side.name, F.normalize(sums, dim=1), [[each] for each in range(count)], side.clusters[first])
