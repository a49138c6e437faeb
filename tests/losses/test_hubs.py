"""The direction along which lengths grow, against what it is by definition."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from bindspace.losses.hubness import hub_direction


def points(count: int, dim: int = 8, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_lengths_that_are_linear_in_the_points_are_told_exactly_and_a_constant_does_not_matter():
    x, planted = points(500), torch.arange(8.0) - 3
    assert torch.allclose(hub_direction(x, x @ planted + 20), planted, atol=2e-3)


@pytest.mark.parametrize("seed", range(3))
def test_no_other_direction_leaves_less_of_the_lengths(seed):
    x, generator = points(300, seed=seed), torch.Generator().manual_seed(seed)
    lengths = (x @ torch.randn(8, 8, generator=generator)).norm(dim=1)
    found = hub_direction(x, lengths)
    left = (lengths - x @ found).var()
    for _ in range(20):
        other = found + 0.05 * torch.randn(8, generator=generator)
        assert (lengths - x @ other).var() > left


def test_a_subspace_gets_no_direction_beyond_it():
    x = F.pad(points(400, 4), (0, 4))
    assert hub_direction(x, x[:, 0] + 2)[4:].abs().max() == 0
