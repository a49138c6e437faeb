"""Where a row stands among landmarks, against the equations written out number by number."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from bindspace.losses.distillation import perplexity, placed, proxies


def rows(count: int, seed: int, dim: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64), dim=1)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(2, 9), st.integers(0, 1000), st.floats(0.05, 2))
def test_shares_are_those_of_the_equation_and_none_of_what_is_excluded(count, landmarks, seed, temperature):
    anchor, marks = rows(count, seed), rows(landmarks, seed + 1)
    excluded = torch.rand(count, landmarks, generator=torch.Generator().manual_seed(seed)) < 0.4
    excluded[:, 0] = False  # one is left to each row
    found = placed(anchor, marks, temperature, excluded)
    for i in range(count):
        left = [m for m in range(landmarks) if not excluded[i, m]]
        share = {m: math.exp(float(anchor[i] @ marks[m]) / temperature) for m in left}
        expected = [share.get(m, 0.0) / sum(share.values()) for m in range(landmarks)]
        assert found[i].tolist() == pytest.approx(expected, abs=1e-12)


def test_no_gradient_reaches_the_anchor():
    assert not placed(rows(4, 1).requires_grad_(), rows(6, 2), 0.2).requires_grad


def test_a_proxy_is_the_landmarks_mean_by_their_shares():
    marks = torch.eye(3, dtype=torch.float64)
    q = torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    assert torch.allclose(proxies(q, marks), torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64))
    assert float(perplexity(torch.tensor([[0.25] * 4, [1.0, 0, 0, 0]]))) == pytest.approx((4 + 1) / 2)
