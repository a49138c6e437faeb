"""Cross-modal retrieval: pessimistic ranks without the full score matrix, and what is computed from them. Torch only.

Shape suffixes: N queries, M gallery items, D dims, P pairs of a query and one of its positives, K kept positives.
Every score is the exact dot product of the two vectors rounded to float32: it is taken in float64 first, so that equal
vectors tie wherever they stand in a tile, on any processor and at any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TILE_N, TILE_M = 512, 4096
DEPTH = 10  # mAP@10


@dataclass(frozen=True)
class Positives:
    """Which gallery items answer which query: pairs, sorted by query. Every query has at least one."""

    query_P: Tensor
    gallery_P: Tensor
    count_N: Tensor


def incidence(events: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Item index and event index of every (item, event), sorted by item: two int64 tensors of one length."""
    counts = torch.tensor([len(each) for each in events], dtype=torch.int64)
    flat = torch.tensor([event for each in events for event in each], dtype=torch.int64)
    return torch.arange(len(events)).repeat_interleave(counts), flat


def match(query_events: Sequence[Sequence[int]], gallery_events: Sequence[Sequence[int]]) -> Positives:
    """Query i and gallery item j match when they share an event.

    Raises ValueError for a query that nothing matches.
    """
    query, query_event = incidence(query_events)
    item, item_event = incidence(gallery_events)
    item_event, order = item_event.sort(stable=True)
    first = torch.searchsorted(item_event, query_event)
    found = torch.searchsorted(item_event, query_event, right=True) - first
    within = torch.arange(int(found.sum())) - (found.cumsum(0) - found).repeat_interleave(found)
    gallery = item[order][first.repeat_interleave(found) + within]
    pairs = (query.repeat_interleave(found) * len(gallery_events) + gallery).unique()
    query_P, gallery_P = pairs // max(len(gallery_events), 1), pairs % max(len(gallery_events), 1)
    count_N = torch.bincount(query_P, minlength=len(query_events))
    if (count_N == 0).any():
        raise ValueError(f"query {int((count_N == 0).nonzero()[0])} shares no event with any gallery item")
    return Positives(query_P, gallery_P, count_N)


def scores(query_ND: Tensor, gallery_MD: Tensor) -> Tensor:
    """Dot products (N, M), rounded to float32 once."""
    return (query_ND.double() @ gallery_MD.double().T).float()


def positions(query_ND: Tensor, gallery_MD: Tensor, positives: Positives, keep: int = DEPTH) -> Tensor:
    """Where the best positives of each query stand in its ranking, from 1 on, ties against them: int64 (N, K).

    K is `keep` or the most positives that a query has, if fewer; a query with fewer than K has 0 in the rest. The r-th
    best positive stands at r + the number of non-positives that score at least as much. Memory: one tile of scores.
    Raises ValueError for vectors with NaN or infinity, which would rank first or nowhere.
    """
    for side, vectors in (("query", query_ND), ("gallery", gallery_MD)):
        if not bool(torch.isfinite(vectors).all()):
            raise ValueError(f"expected finite {side} vectors")
    best_NK = _best_positives(query_ND, gallery_MD, positives, keep)
    others_NK = torch.zeros_like(best_NK, dtype=torch.int64)
    for rows, columns, tile in _tiles(query_ND, gallery_MD):
        _mask_positives(tile, rows, columns, positives)
        for r in range(best_NK.shape[1]):
            others_NK[rows, r] += (tile >= best_NK[rows, r : r + 1]).sum(1)
    order_K = torch.arange(1, best_NK.shape[1] + 1)
    return torch.where(best_NK.isinf(), 0, others_NK + order_K)


def ranks(query_ND: Tensor, gallery_MD: Tensor, positives: Positives) -> Tensor:
    """1 + the number of non-positives that score at least the best positive: int64 (N,)."""
    return positions(query_ND, gallery_MD, positives, keep=1)[:, 0]


def _best_positives(query_ND: Tensor, gallery_MD: Tensor, positives: Positives, keep: int) -> Tensor:
    """Scores of the best positives, falling; -inf where a query has fewer."""
    score_P = torch.cat(
        [
            (query_ND[i].double() * gallery_MD[j].double()).sum(1).float()
            for i, j in zip(positives.query_P.split(TILE_M), positives.gallery_P.split(TILE_M), strict=True)
        ]
    )
    most = int(positives.count_N.max())
    start_N = positives.count_N.cumsum(0) - positives.count_N
    padded = torch.full((len(query_ND), most), -torch.inf)
    padded[positives.query_P, torch.arange(len(score_P)) - start_N[positives.query_P]] = score_P
    return padded.topk(min(keep, most), dim=1).values


def _tiles(query_ND: Tensor, gallery_MD: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    for row in range(0, len(query_ND), TILE_N):
        for column in range(0, len(gallery_MD), TILE_M):
            rows, columns = slice(row, row + TILE_N), slice(column, column + TILE_M)
            yield rows, columns, scores(query_ND[rows], gallery_MD[columns])


def _mask_positives(tile: Tensor, rows: slice, columns: slice, positives: Positives) -> None:
    first, last = torch.searchsorted(positives.query_P, torch.tensor([rows.start, rows.stop])).tolist()
    i, j = positives.query_P[first:last], positives.gallery_P[first:last]
    inside = (j >= columns.start) & (j < columns.stop)
    tile[i[inside] - rows.start, j[inside] - columns.start] = -torch.inf


def recall(rank_N: Tensor, k: int) -> float:
    """Share of queries with a positive among their first k."""
    return float((rank_N <= k).double().mean())


def median_rank(rank_N: Tensor) -> float:
    """Median rank; the mean of the middle two for an even number of queries."""
    ordered = rank_N.sort().values
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def mean_average_precision(position_NK: Tensor, positives: Positives, depth: int = DEPTH) -> float:
    """mAP@depth: mean over queries of sum of precision at each positive within `depth`, over min(positives, depth)."""
    found = torch.arange(1, position_NK.shape[1] + 1)
    counted = (position_NK > 0) & (position_NK <= depth)
    precision = torch.where(counted, found / position_NK.clamp(min=1).double(), 0.0).sum(1)
    return float((precision / positives.count_N.clamp(max=depth)).mean())


def chance(positives: Positives, gallery_size: int, k: int) -> float:
    """Recall@k of a random ranking: the mean over queries of 1 - C(M - c, k) / C(M, k), with c positives of M items."""
    drawn = torch.arange(min(k, gallery_size), dtype=torch.float64)
    count, times = positives.count_N.unique(return_counts=True)
    missed = ((gallery_size - count.double().unsqueeze(1) - drawn).clamp(min=0) / (gallery_size - drawn)).prod(1)
    return float(((1 - missed) * times).sum() / times.sum())
