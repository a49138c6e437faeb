"""Metrics that are logged beside a loss, without the matrix of similarities."""

from __future__ import annotations

import torch
from torch import Tensor

from bindspace.losses.tiles import TILE


def hit_rate(query_nD: Tensor, gallery_MD: Tensor) -> Tensor:
    """Share of queries that are closest to their own partner, query i to gallery row i: a scalar. n <= M."""
    best = query_nD.new_full((len(query_nD),), -torch.inf)
    where = torch.zeros(len(query_nD), dtype=torch.int64, device=query_nD.device)
    for start in range(0, len(gallery_MD), TILE):
        value, index = (query_nD @ gallery_MD[start : start + TILE].T).max(1)
        better = value > best
        best, where = torch.where(better, value, best), torch.where(better, index + start, where)
    return (where == torch.arange(len(query_nD), device=query_nD.device)).float().mean()


def mean_negatives(keys_a: Tensor, keys_b: Tensor) -> float:
    """How many negatives a row has on average, where rows of equal content on either side are not negatives."""
    equal_a, equal_b, equal_both = (_multiplicity(keys) for keys in (keys_a, keys_b, torch.stack([keys_a, keys_b], 1)))
    return len(keys_a) - float((equal_a + equal_b - equal_both).double().mean())


def _multiplicity(keys: Tensor) -> Tensor:
    _, inverse, counts = keys.unique(dim=0, return_inverse=True, return_counts=True)
    return counts[inverse]
