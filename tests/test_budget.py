"""The bound on memory while a stranger's settings are built."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bindspace.space.budget import Budget, OverBudget

MEGA = 1 << 20


@pytest.mark.parametrize(
    "make",
    [
        lambda n: torch.empty(n),
        lambda n: torch.zeros(2, n),
        lambda n: torch.ones((2, n)),
        lambda n: torch.full(size=(n,), fill_value=1.0),
        lambda n: torch.randn(torch.Size([n])),
        lambda n: torch.randint(3, (n,)),
        lambda n: torch.arange(n),
        lambda n: torch.arange(0, n / 1000, 0.001),
        lambda n: torch.arange(-n, 0),
        lambda n: torch.linspace(0, 1, n),
        lambda n: torch.hann_window(n),
        lambda n: torch.eye(int(n**0.5)),
        lambda n: torch.ones(1).repeat(n),
        lambda n: torch.ones(1).new_zeros(n),
        lambda n: nn.Linear(n, 2),
        lambda n: nn.Embedding(n, 2),
        lambda n: nn.MultiheadAttention(int(n**0.5), 1),
        lambda n: nn.GRU(n, 1),
    ],
)
def test_nothing_larger_than_the_budget_is_made(make):
    with Budget(64 * MEGA, 1000):
        make(10_000)
    with pytest.raises(OverBudget, match="far more memory"), Budget(64 * MEGA, 1000):
        make(16 * MEGA)


def test_many_small_tensors_exceed_it_too():
    with pytest.raises(OverBudget), Budget(MEGA, 100):
        nn.Sequential(*(nn.Linear(1, 1) for _ in range(10**6)))


def test_it_changes_nothing_that_fits():
    torch.manual_seed(0)
    expected = nn.Linear(3, 4).weight
    torch.manual_seed(0)
    with Budget(MEGA, 100):
        assert torch.equal(nn.Linear(3, 4).weight, expected)
