"""Cross-modal retrieval: pessimistic ranks without the full score matrix, and metrics computed from them. Torch only.

Shape suffixes: N queries, M gallery items, D dims, P pairs of a query and one of its positives, K kept positives.
Every score is the exact dot product of the two vectors rounded to float32: it is computed in float64 first, so that
equal vectors tie at any position in a tile, on any processor and with any number of threads. Few scores need it: a tile
of float32 products decides all that differ from a query's positive by more than the float32 error bound, and the rest
is recomputed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TILE_N, TILE_M = 1024, 1024
PAIRS = 256  # scores recomputed at once
DEPTH = 10  # mAP@10


@dataclass(frozen=True)
class Positives:
    """Positives: pairs of a query and a gallery item, sorted by query. Every query has at least one."""

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
    """Ranks of the best positives of each query, from 1 on, ties counted against them: int64 (N, K).

    K is `keep` or the largest number of positives of a query, if fewer; a query with fewer than K has 0 in the rest.
    The r-th best positive has rank r + the number of non-positives that score at least as much. Memory: one score tile.
    Raises ValueError for vectors with NaN or infinity, which would rank first or nowhere.
    """
    _check_finite(query_ND, gallery_MD)
    first = _Counting(query_ND, gallery_MD, positives, keep)
    _count(query_ND, gallery_MD, [first, None])
    return first.positions()


def positions_both_ways(
    a_ND: Tensor, b_MD: Tensor, a_to_b: Positives, b_to_a: Positives, keep: int = DEPTH
) -> tuple[Tensor, Tensor]:
    """`positions` of a in b, and of b in a, from one matrix product instead of two."""
    _check_finite(a_ND, b_MD)
    forth, back = _Counting(a_ND, b_MD, a_to_b, keep), _Counting(b_MD, a_ND, b_to_a, keep)
    _count(a_ND, b_MD, [forth, back])
    return forth.positions(), back.positions()


def ranks(query_ND: Tensor, gallery_MD: Tensor, positives: Positives) -> Tensor:
    """1 + the number of non-positives that score at least the best positive: int64 (N,)."""
    return positions(query_ND, gallery_MD, positives, keep=1)[:, 0]


def _check_finite(query_ND: Tensor, gallery_MD: Tensor) -> None:
    for side, vectors in (("query", query_ND), ("gallery", gallery_MD)):
        if not all(bool(torch.isfinite(part).all()) for part in vectors.split(TILE_M)):
            raise ValueError(f"expected finite {side} vectors")


class _Counting:
    """One direction: for each query and kept positive, how many non-positives score at least as much.

    All gallery items are counted tile by tile, positives too; the positives are subtracted at the end.
    """

    def __init__(self, query_ND: Tensor, gallery_MD: Tensor, positives: Positives, keep: int) -> None:
        self.query, self.gallery, self.positives = query_ND, gallery_MD, positives
        self.score_P = _scores_one_by_one(query_ND, gallery_MD, positives.query_P, positives.gallery_P)
        self.best_NK = _best_positives(self.score_P, positives, len(query_ND), keep)
        self.count_NK = torch.zeros_like(self.best_NK, dtype=torch.int64)
        self.slack_N = _float32_error(query_ND, gallery_MD)

    def add(self, tile: Tensor, hit: Tensor, queries: slice, gallery: slice) -> None:
        """Counts a tile of float32 products, queries x gallery, with a work buffer; both may be transposed views."""
        ones, slack = tile.new_ones(tile.shape[1]), self.slack_N[queries]
        for r in range(self.best_NK.shape[1]):
            best = self.best_NK[queries, r]
            low, high = best - slack, best + slack
            about = torch.gt(tile, low[:, None], out=hit) @ ones  # sums of up to 2^24 ones are exact in float32
            if not about.any():
                continue
            above = torch.ge(tile, high[:, None], out=hit) @ ones
            self.count_NK[queries, r] += above.long()
            if len(unsure := (about > above).nonzero()[:, 0]):
                self._settle(tile[unsure], unsure, low, high, r, queries.start, gallery.start)

    def _settle(self, rows: Tensor, unsure: Tensor, low: Tensor, high: Tensor, r: int, start: int, column: int) -> None:
        """Recomputes the scores that float32 leaves undecided."""
        i, j = ((rows > low[unsure, None]) & (rows < high[unsure, None])).nonzero(as_tuple=True)
        i = unsure[i] + start
        score = _scores_one_by_one(self.query, self.gallery, i, j + column)
        self.count_NK[:, r].index_add_(0, i, (score >= self.best_NK[i, r]).long())

    def positions(self) -> Tensor:
        """Ranks of the kept positives, from 1 on; 0 if a query has fewer."""
        at = self.positives.query_P
        for r in range(self.best_NK.shape[1]):
            own = (self.score_P >= self.best_NK[at, r]).long()
            self.count_NK[:, r].index_add_(0, at, own, alpha=-1)
        order_K = torch.arange(1, self.best_NK.shape[1] + 1)
        return torch.where(self.best_NK.isinf(), 0, self.count_NK + order_K)


def _count(row_ND: Tensor, column_MD: Tensor, directions: Sequence[_Counting | None]) -> None:
    """Passes every tile of products to both directions: queries are the rows of one, the columns of the other."""
    by_row, by_column = directions
    row_ND, column_MD = row_ND.float(), column_MD.float()
    room = row_ND.new_empty(2, TILE_N * TILE_M)
    for row in range(0, len(row_ND), TILE_N):
        for column in range(0, len(column_MD), TILE_M):
            rows = slice(row, min(row + TILE_N, len(row_ND)))
            columns = slice(column, min(column + TILE_M, len(column_MD)))
            shape = rows.stop - rows.start, columns.stop - columns.start
            tile, hit = (each[: shape[0] * shape[1]].view(shape) for each in room)
            torch.mm(row_ND[rows], column_MD[columns].T, out=tile)
            if by_row is not None:
                by_row.add(tile, hit, rows, columns)
            if by_column is not None:
                by_column.add(tile.T, hit.T, columns, rows)


def _float32_error(query_ND: Tensor, gallery_MD: Tensor) -> Tensor:
    """Error bound of a float32 product of a query, for any order of the sum: (N,).

    |error| <= g(D) * sum |q_d| |g_d| <= g(D) |q| |g| with g(D) = D u / (1 - D u), u = 2^-24 (Higham, Accuracy and
    Stability of Numerical Algorithms, 3.1), and half a unit in the last place for the score's own rounding; one more
    for that of the bound. The last term covers values below float32's normal range.
    """
    unit, dim = 2.0**-24, query_ND.shape[1] + 4
    norm_N = torch.linalg.vector_norm(query_ND.float(), dim=1) * (1 + 2 * dim * unit)  # error bound of the norm itself
    longest = torch.linalg.vector_norm(gallery_MD.float(), dim=1).max() * (1 + 2 * dim * unit)
    return norm_N * longest * (dim * unit / (1 - dim * unit)) + 1e-37


def _scores_one_by_one(query_ND: Tensor, gallery_MD: Tensor, query_P: Tensor, gallery_P: Tensor) -> Tensor:
    """Scores (P,) of single pairs of a query and a gallery item."""
    score_P = torch.empty(len(query_P))  # filled in place: many small results would pin the heap between them
    for out, i, j in zip(score_P.split(PAIRS), query_P.split(PAIRS), gallery_P.split(PAIRS), strict=True):
        out.copy_((query_ND[i].double() * gallery_MD[j]).sum(1))
    return score_P


def _best_positives(score_P: Tensor, positives: Positives, queries: int, keep: int) -> Tensor:
    """Scores (N, K) of the best positives, descending; -inf if a query has fewer."""
    most = int(positives.count_N.max())
    start_N = positives.count_N.cumsum(0) - positives.count_N
    padded = torch.full((queries, most), -torch.inf)
    padded[positives.query_P, torch.arange(len(score_P)) - start_N[positives.query_P]] = score_P
    return padded.topk(min(keep, most), dim=1).values


def recall(rank_N: Tensor, k: int) -> float:
    """Share of queries with a positive among the first k."""
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
