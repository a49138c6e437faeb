"""Permutation test of the pairing: recall if query events and gallery events were paired at random.

Shape suffixes: N queries, M gallery items, E events, R permutations, T queries of a tile, I (query, event) incidences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bindspace.metrics.retrieval import incidence, scores

TILE = 512  # queries
CELLS = 2_000_000  # gathered at once
STORED = 50_000_000  # permutations times events in memory, at most


class Permutations:
    """Random permutations by seed, drawn once for each length and shared by all tests."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._drawn: dict[int, Tensor] = {}

    def of(self, n: int) -> Tensor:
        """Permutations of 0..n-1, int32 (R, n). Fewer than `count` if n is too large for memory."""
        if n not in self._drawn:
            total = max(1, min(self.count, STORED // max(n, 1)))
            generator = torch.Generator().manual_seed(self.seed)
            part = max(1, CELLS // max(n, 1))
            chunks = [min(part, total - start) for start in range(0, total, part)]
            drawn = [torch.rand(rows, n, generator=generator).argsort(1).int() for rows in chunks]
            self._drawn[n] = torch.cat(drawn)
        return self._drawn[n]


@dataclass(frozen=True)
class Shuffled:
    """Recall under permuted pairings, by k: its mean, its central 95 %, and the one-sided p of the true pairing."""

    mean: dict[int, float]
    central95: dict[int, tuple[float, float]]
    p: dict[int, float]
    permutations: int


def pairing_test(
    query_ND: Tensor,
    gallery_MD: Tensor,
    query_events: Sequence[Sequence[int]],
    gallery_events: Sequence[Sequence[int]],
    k: Sequence[int],
    permutations: Permutations,
) -> Shuffled:
    """Permutes which events of the gallery belong to the queries' events, and counts the queries that still hit.

    p = (1 + permutations with at least as many hits as the true pairing) / (1 + permutations). A query with one event
    is ranked as in `retrieval.ranks`; one with several counts as a hit if one of its events alone is a hit: the two
    differ only if positives from different events tie exactly.
    """
    k = sorted(set(k))
    events = 1 + max(event for each in (*query_events, *gallery_events) for event in each)
    drawn = permutations.of(events)
    hits = torch.zeros(len(k), len(drawn), dtype=torch.int64)
    true_hits = torch.zeros(len(k), dtype=torch.int64)
    for start in range(0, len(query_ND), TILE):
        row, event = incidence(query_events[start : start + TILE])
        level_TE = levels(query_ND[start : start + TILE], gallery_MD, gallery_events, events, k)
        true_hits += _count(level_TE, row, event.unsqueeze(0), k)[:, 0]
        part = max(1, CELLS // len(event))
        for first in range(0, len(drawn), part):
            hits[:, first : first + part] += _count(level_TE, row, drawn[first : first + part, event].long(), k)
    share = hits.double() / len(query_ND)
    tails = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low = share.quantile(tails[0], dim=1, interpolation="lower").tolist()
    high = share.quantile(tails[1], dim=1, interpolation="higher").tolist()
    p = (1 + (hits >= true_hits.unsqueeze(1)).sum(1)).double() / (1 + len(drawn))
    return Shuffled(
        dict(zip(k, share.mean(1).tolist(), strict=True)),
        dict(zip(k, zip(low, high, strict=True), strict=True)),
        dict(zip(k, p.tolist(), strict=True)),
        len(drawn),
    )


def levels(
    query_TD: Tensor, gallery_MD: Tensor, gallery_events: Sequence[Sequence[int]], events: int, k: Sequence[int]
) -> Tensor:
    """For each query and event, the number of k at which the query would miss if the event were its own: uint8 (T, E).

    An event's best item hits at k if fewer than k items of other events score at least as much, that is, if the score
    number k + (items of the event that tie at its best) of the row lies below.
    """
    score_TM = scores(query_TD, gallery_MD)
    item, event = incidence(gallery_events)
    index_TI = event.expand(len(score_TM), -1)
    best_TE = torch.full((len(score_TM), events), -torch.inf).scatter_reduce(1, index_TI, score_TM[:, item], "amax")
    is_best = (score_TM[:, item] == best_TE[:, event]).int()
    tied_TE = torch.zeros(len(score_TM), events, dtype=torch.int32).index_add(1, event, is_best)
    depth = min(score_TM.shape[1], k[-1] + int(torch.bincount(event).max()))
    below = torch.nn.functional.pad(score_TM.topk(depth, dim=1).values, (0, 1), value=-torch.inf)
    level_TE = torch.zeros(best_TE.shape, dtype=torch.uint8)
    for each in k:
        level_TE += below.gather(1, (tied_TE + (each - 1)).clamp(max=depth).long()) >= best_TE
    return level_TE


def _count(level_TE: Tensor, row_I: Tensor, event_RI: Tensor, k: Sequence[int]) -> Tensor:
    """Queries of the tile that hit at each k under each assignment of events, int64 (K, R)."""
    level_RI = level_TE.take(row_I * level_TE.shape[1] + event_RI)
    queries = len(level_TE)
    if len(row_I) > queries:  # a query with several events takes its best
        worst = torch.full((len(event_RI), queries), len(k), dtype=torch.uint8)
        level_RI = worst.scatter_reduce(1, row_I.expand(len(event_RI), -1), level_RI, "amin")
    # float32 counts exactly up to 2**24, and is summed several times faster than booleans
    return torch.stack([(level_RI <= missed).float().sum(1).long() for missed in range(len(k))])
