"""Recall derived from one ranking for smaller galleries and for subsets of the queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bindspace.metrics import recall, share_interval


def recall_at_size(rank_N: Tensor, positives_N: Tensor, gallery: int, size: int, k: int) -> float:
    """Expected recall@k in a random gallery of `size` items that holds one of the query's best positives.

    A query of rank r among M items has r - 1 items ranked before it. Of `size` - 1 items drawn from the M - c
    non-positives, the number ranked before it is hypergeometric, so the expectation is exact and needs no sampling.
    """
    others = (gallery - positives_N).double()
    before = (rank_N - 1).double()
    drawn = torch.minimum(torch.full_like(others, size - 1), others)
    hit = torch.zeros_like(others)
    for count in range(k):
        hit += (
            _log_choose(before, count) + _log_choose(others - before, drawn - count) - _log_choose(others, drawn)
        ).exp()
    return float(hit.clamp(max=1).mean())


def _log_choose(n: Tensor, k: Tensor | int) -> Tensor:
    """log C(n, k) elementwise, -inf where k is not within 0..n."""
    k = torch.as_tensor(k, dtype=torch.float64).expand_as(n)
    inside = (k >= 0) & (k <= n)
    value = torch.lgamma(n + 1) - torch.lgamma(k.clamp(min=0) + 1) - torch.lgamma((n - k).clamp(min=0) + 1)
    return torch.where(inside, value, -torch.inf)


def by_size(
    rank_N: Tensor, positives_N: Tensor, gallery: int, sizes: Sequence[int], k: Sequence[int]
) -> dict[str, Any]:
    """Recall by gallery size (those smaller than the gallery) and k."""
    return {
        str(size): {str(each): recall_at_size(rank_N, positives_N, gallery, size, each) for each in k if each < size}
        for size in sorted(set(sizes))
        if 1 < size < gallery
    }


def recall_any(rank_N: Tensor, events: Sequence[Sequence[int]], k: Sequence[int]) -> dict[str, float] | None:
    """Share of events of which *any* query hits, by k; None where each event has one query.

    With five captions per clip, `recall` counts captions (as in ImageBind and CLIP), and this counts clips.
    """
    best: dict[int, int] = {}
    asked = 0
    for rank, each in zip(rank_N.tolist(), events, strict=True):
        for event in each:
            best[event] = min(rank, best.get(event, rank))
            asked += 1
    if asked == len(best):
        return None
    ranks = torch.tensor(list(best.values()))
    return {str(each): recall(ranks, each) for each in k}


def slices(
    rank_N: Tensor,
    clusters: Tensor,
    events: Sequence[Sequence[int]],
    columns: Mapping[str, Sequence[Any]],
    k: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Recall@k of the queries of each value of each column, on the whole gallery; a query counts by its first event."""
    cells = []
    for column, values in columns.items():
        of_query = [values[each[0]] for each in events]
        for value in sorted({str(each) for each in of_query if each is not None}):
            rows = torch.tensor([each is not None and str(each) == value for each in of_query])
            hits = rank_N[rows] <= k
            ends = list(share_interval(hits, clusters[rows], seed=seed))
            cells.append(
                {
                    "attribute": column,
                    "value": value,
                    "n": int(rows.sum()),
                    "recall": recall(rank_N[rows], k),
                    "ci95": ends,
                }
            )
    return cells
