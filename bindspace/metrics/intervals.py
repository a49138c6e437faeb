"""Confidence intervals of a share: Wilson, bootstrap by cluster; and Holm's correction for multiple tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import torch
from torch import Tensor

FEW = 10  # clusters with a hit, or with a miss: with fewer, bootstrap percentiles are too narrow


def wilson(hits: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (Wilson 1927) of a share of `hits` in `n` independent trials."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def share_interval(hit_N: Tensor, cluster_N: Tensor, *, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """Interval of the mean of 0/1 outcomes: Wilson if each cluster holds one, else a bootstrap by cluster."""
    if len(cluster_N.unique()) == len(cluster_N):
        return wilson(float(hit_N.sum()), len(hit_N), level)
    return cluster_bootstrap(hit_N, cluster_N, seed=seed, level=level)


def cluster_bootstrap(
    hit_N: Tensor, cluster_N: Tensor, *, draws: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean of 0/1 outcomes, whole clusters drawn with replacement.

    A bootstrap underestimates rare outcomes: if fewer than ten clusters hold a hit, or a miss, it is Wilson's interval
    with as many trials as there are clusters.
    """
    _, index = cluster_N.unique(return_inverse=True)
    clusters = int(index.max()) + 1
    size = torch.bincount(index, minlength=clusters).double()
    hits = torch.zeros(clusters, dtype=torch.float64).index_add(0, index, hit_N.double())
    if min(int((hits > 0).sum()), int((hits < size).sum())) < FEW:
        return wilson(float(hit_N.double().mean()) * clusters, clusters, level)
    generator = torch.Generator().manual_seed(seed)
    shares = [_resampled(hits, size, chunk, generator) for chunk in chunks(draws, clusters)]
    tail = (1 - level) / 2
    low, high = torch.cat(shares).quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high


def _resampled(hits: Tensor, size: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    drawn = torch.randint(len(size), (draws, len(size)), generator=generator)
    return hits[drawn].sum(1) / size[drawn].sum(1)


def chunks(draws: int, width: int, cells: int = 2_000_000) -> list[int]:
    """`draws` in parts, so that a part times `width` stays small."""
    part = max(1, min(draws, cells // width))
    return [min(part, draws - start) for start in range(0, draws, part)]


def central(values: Tensor, level: float) -> list[float]:
    """The narrowest interval between observed values with at most (1 - level) / 2 of them beyond each end."""
    tail = torch.tensor((1 - level) / 2, dtype=values.dtype)
    low = values.quantile(tail, interpolation="lower")
    high = values.quantile(1 - tail, interpolation="higher")
    return [float(low), float(high)]


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (Holm 1979), in the order given."""
    adjusted, highest = [0.0] * len(p), 0.0
    for position, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        highest = max(highest, min(1.0, (len(p) - position) * p[index]))
        adjusted[index] = highest
    return adjusted
