"""Optional controls: recall that simpler explanations than the space itself would reach.

Shape suffixes: N queries, M gallery items, E events, T queries of a tile, P pairs of a query and a positive.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bindspace.benchmark.cell import Recalls, Side
from bindspace.benchmark.tasks.ceiling import codes
from bindspace.metrics import incidence, levels, match, ranks, recall, scores
from bindspace.settings import BenchmarkSettings, Control

if TYPE_CHECKING:
    from bindspace.data import Pool

TILE = 512


def within_label(
    query_ND: Tensor,
    gallery_MD: Tensor,
    query_events: Sequence[Sequence[int]],
    gallery_events: Sequence[Sequence[int]],
    columns: Mapping[str, Sequence[Hashable]],
    k: Sequence[int],
) -> dict[str, dict[str, float]]:
    """Expected recall@k, by column, if the correct item were the partner of *another* event with the same label.

    If it is as high as the recall, the space encodes the label and nothing else of the event. Queries whose label no
    other event has are left out; an item of several events takes the label of its first.
    """
    k = sorted(set(k))
    codes_E = {name: codes(labels) for name, labels in columns.items()}
    hits = {name: torch.zeros(len(k), dtype=torch.float64) for name in columns}
    asked = dict.fromkeys(columns, 0)
    for start in range(0, len(query_ND), TILE):
        events = query_events[start : start + TILE]
        count = len(next(iter(codes_E.values())))
        own_TE = torch.zeros(len(events), count, dtype=torch.bool)
        row, event = incidence(events)
        own_TE[row, event] = True
        first_T = torch.tensor([each[0] for each in events])
        level_TE = levels(query_ND[start : start + TILE], gallery_MD, gallery_events, count, k)
        for name, code_E in codes_E.items():
            others_TE = (code_E[first_T].unsqueeze(1) == code_E) & (code_E >= 0) & ~own_TE
            count_T = others_TE.sum(1)
            for index in range(len(k)):
                share_T = ((level_TE <= index) & others_TE).sum(1) / count_T.clamp(min=1)
                hits[name][index] += share_T.double().sum()
            asked[name] += int((count_T > 0).sum())
    return {name: _shares(hits[name], asked[name], k) for name in columns if asked[name]}


def _shares(hits: Tensor, asked: int, k: Sequence[int]) -> dict[str, float]:
    return {str(each): float(total) / asked for each, total in zip(k, hits, strict=True)}


def two_hop(
    query: tuple[Tensor, Sequence[Sequence[int]]],
    pivot: tuple[Tensor, Sequence[Sequence[int]]],
    gallery: tuple[Tensor, Sequence[Sequence[int]]],
    k: Sequence[int],
) -> dict[str, float]:
    """Recall@k through the pivot items of other events: each query is replaced by the nearest that is not its own.

    It measures two trained legs in sequence, without the direct (emergent) comparison.
    """
    stand_in = nearest_other(query[0], pivot[0], query[1], pivot[1])
    positives = match(query[1], gallery[1])
    rank = ranks(pivot[0][stand_in], gallery[0], positives)
    return {str(each): recall(rank, each) for each in k}


def nearest_other(
    query_ND: Tensor, other_MD: Tensor, query_events: Sequence[Sequence[int]], other_events: Sequence[Sequence[int]]
) -> Tensor:
    """Index (N,) of the item with the highest score among those that share no event with the query."""
    positives = match(query_events, other_events)
    found = []
    for start in range(0, len(query_ND), TILE):
        tile = scores(query_ND[start : start + TILE], other_MD)
        inside = (positives.query_P >= start) & (positives.query_P < start + TILE)
        tile[positives.query_P[inside] - start, positives.gallery_P[inside]] = -torch.inf
        found.append(tile.argmax(1))
    return torch.cat(found)


def stand_in(
    cue_N: Tensor,
    query_ND: Tensor,
    query_events: Sequence[Sequence[int]],
    gallery_MD: Tensor,
    gallery_events: Sequence[Sequence[int]],
    k: Sequence[int],
) -> dict[str, float]:
    """Recall@k by one number of each query alone, e.g. its duration or its loudness.

    Each query gets the vector of the item with the closest number that shares no event with it. If it is close to the
    recall, that number explains the score.
    """
    own, found = match(query_events, query_events), []
    for start in range(0, len(cue_N), TILE):
        distance = (cue_N[start : start + TILE].double().unsqueeze(1) - cue_N.double()).abs()
        inside = (own.query_P >= start) & (own.query_P < start + TILE)
        distance[own.query_P[inside] - start, own.gallery_P[inside]] = torch.inf
        found.append(distance.argmin(1))
    nearest = torch.cat(found)
    rank = ranks(query_ND[nearest], gallery_MD, match(query_events, gallery_events))
    return {str(each): recall(rank, each) for each in k}


def control_rows(
    sides: Mapping[str, Side],
    pool: Pool,
    pivot: str,
    columns: Sequence[str],
    settings: BenchmarkSettings,
    measured: Recalls,
) -> Iterator[dict[str, Any]]:
    """The controls that `settings.controls` lists, one row for each ordered pair and variant."""
    k = sorted(set(settings.k))
    for a, b in itertools.permutations(sides, 2):
        query, gallery = sides[a], sides[b]
        pair = {"query": a, "gallery": b, "recall": measured[a, b]}
        if Control.within_label in settings.controls and columns:
            labels = {column: pool.attributes[column] for column in columns}
            found = within_label(query.vectors, gallery.vectors, query.events, gallery.events, labels, k)
            yield from (
                {**pair, "control": "within_label", "by": name, "value": value} for name, value in found.items()
            )
        if Control.two_hop in settings.controls and pivot in sides and pivot not in (a, b):
            ways = [(side.vectors, side.events) for side in (query, sides[pivot], gallery)]
            yield {**pair, "control": "two_hop", "by": pivot, "value": two_hop(ways[0], ways[1], ways[2], k)}
        if Control.stand_in in settings.controls:
            for cue, numbers in cues_of(pool, a).items():
                value = stand_in(numbers, query.vectors, query.events, gallery.vectors, gallery.events, k)
                yield {**pair, "control": "stand_in", "by": cue, "value": value}


def cues_of(pool: Pool, name: str) -> dict[str, Tensor]:
    """Plain numbers of each item from the plugin (`ModalityConfig.cues`): float64 (N,) by name."""
    found = [pool.configs[name].cues(pool.shown(name, index)) for index in range(len(pool.items[name]))]
    names = [cue for cue in found[0] if all(cue in each for each in found)]
    return {cue: torch.tensor([float(each[cue]) for each in found], dtype=torch.float64) for cue in names}
