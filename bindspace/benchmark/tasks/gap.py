"""The modality gap of a pair: centroid distance, alignment, uniformity, same-modality neighbour rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bindspace.benchmark.cell import Recalls, Side, recalls
from bindspace.metrics import Positives, match, scores

TILE = 1024
NEIGHBOURS = 10


def centroid_distance(a_ND: Tensor, b_MD: Tensor) -> float:
    """Euclidean distance of the two mean vectors: 0 for modalities with the same centroid, at most 2."""
    return float((a_ND.double().mean(0) - b_MD.double().mean(0)).norm())


def alignment(a_ND: Tensor, b_MD: Tensor, positives: Positives) -> float:
    """Mean squared distance of partners (Wang and Isola 2020, section 4.1, alpha = 2): 0 is perfect, 2 orthogonal."""
    difference = a_ND[positives.query_P].double() - b_MD[positives.gallery_P].double()
    return float(difference.square().sum(1).mean())


def uniformity(a_ND: Tensor) -> float | None:
    """log of the mean of exp(-2 |x - y|^2) over all pairs of distinct items (the same section, t = 2): 0 is a point.

    None for a single item, which has no pair.
    """
    n, total = len(a_ND), 0.0
    if n < 2:
        return None
    vectors = a_ND.double()
    square = vectors.square().sum(1)
    for start in range(0, n, TILE):
        rows = slice(start, start + TILE)
        distance = square[rows].unsqueeze(1) + square - 2 * vectors[rows] @ vectors.T
        total += float((-2 * distance.clamp(min=0)).exp().sum())
    return float(torch.tensor((total - n) / (n * (n - 1)), dtype=torch.float64).log())


def own_share(a_ND: Tensor, b_MD: Tensor, neighbours: int = NEIGHBOURS) -> float:
    """Same-modality neighbour rate: share of items whose nearest neighbour among both modalities is of their own.

    1 if the two modalities are separated; about the share of the own modality among all items if they are mixed.
    """
    both = torch.cat([a_ND, b_MD])
    is_a = torch.arange(len(both)) < len(a_ND)
    depth, own = min(neighbours, len(both) - 1), 0
    for start in range(0, len(both), TILE):
        tile = scores(both[start : start + TILE], both)
        row = torch.arange(len(tile))
        tile[row, start + row] = -torch.inf  # not itself
        nearest = tile.topk(depth, dim=1).indices
        own += int((is_a[nearest] == is_a[start : start + TILE].unsqueeze(1)).sum())
    return own / (len(both) * depth)


def centred(a_ND: Tensor) -> Tensor:
    """The vectors after centring: minus their modality's mean, normalised again."""
    return F.normalize(a_ND - a_ND.mean(0), dim=1)


def gap_of(a: Side, b: Side, k: Sequence[int], measured: Recalls) -> dict[str, Any]:
    """The modality gap of a pair. `uniformity` is the mean over the two modalities; `centred` is recall after
    subtracting each modality's mean, which is only reported, and applied nowhere."""
    own = [uniformity(side.vectors) for side in (a, b)]
    known = [value for value in own if value is not None]
    moved = [replace(side, vectors=centred(side.vectors)) for side in (a, b)]
    forth, back = measured[a.name, b.name], measured[b.name, a.name]
    return {
        "pair": [a.name, b.name],
        "centroid_distance": centroid_distance(a.vectors, b.vectors),
        "alignment": alignment(a.vectors, b.vectors, match(a.events, b.events)),
        "uniformity": sum(known) / len(known) if known else None,
        "own_neighbours": own_share(a.vectors, b.vectors),
        "own_by_chance": _own_by_chance(len(a.events), len(b.events)),
        "asymmetry": {each: forth[each] - back[each] for each in forth},
        "centred": [recalls(moved[0], moved[1], k), recalls(moved[1], moved[0], k)],
    }


def _own_by_chance(a: int, b: int) -> float:
    """The same-modality neighbour rate expected under mixing, over the items of both."""
    return (a * (a - 1) + b * (b - 1)) / ((a + b) * (a + b - 1))
