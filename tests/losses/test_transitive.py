"""Where a row stands among landmarks, against the equations written out number by number."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from bindspace.losses import transitive
from bindspace.losses.transitive import perplexity, placed, proxies


def rows(count: int, seed: int, dim: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64), dim=1)


def by_hand(z, anchor, marks, own, teacher, excluded):
    """The mean cross-entropy and q, by loops over numbers."""
    total, q = 0.0, []
    for i in range(len(z)):
        left = [m for m in range(len(marks)) if not excluded[i][m]]
        share = {m: math.exp(float(anchor[i] @ marks[m]) / teacher) for m in left}
        p = {m: math.exp(float(z[i] @ marks[m]) / own) for m in left}
        q.append([share.get(m, 0.0) / sum(share.values()) for m in range(len(marks))])
        total -= sum(q[i][m] * math.log(p[m] / sum(p.values())) for m in left)
    return total / len(z), q


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(2, 9), st.integers(0, 1000), st.floats(0.05, 2), st.floats(0.05, 2))
def test_value_and_teacher_are_those_of_the_equation(count, landmarks, seed, own, teacher):
    z, anchor, marks = rows(count, seed), rows(count, seed + 1), rows(landmarks, seed + 2)
    excluded = torch.rand(count, landmarks, generator=torch.Generator().manual_seed(seed)) < 0.4
    excluded[:, 0] = False  # one is left to each row
    expected, q = by_hand(z, anchor, marks, own, teacher, excluded.tolist())
    found = placed(anchor, marks, teacher, excluded)
    assert torch.allclose(found, torch.tensor(q, dtype=torch.float64), atol=1e-12)
    assert float(transitive(z, found, marks, own, excluded)) == pytest.approx(expected, rel=1e-10)


def test_gradients_agree_with_finite_differences_and_reach_neither_anchor_nor_landmarks():
    z, anchor, marks = rows(4, 0).requires_grad_(), rows(4, 1).requires_grad_(), rows(6, 2)
    excluded = torch.zeros(4, 6, dtype=torch.bool)
    excluded[1, 2:5] = True
    assert torch.autograd.gradcheck(
        lambda z: transitive(z, placed(anchor, marks, 0.2, excluded), marks, 0.3, excluded), (z,)
    )
    transitive(z, placed(anchor, marks, 0.2, excluded), marks, 0.3, excluded).backward()
    assert anchor.grad is None


def test_a_row_that_stands_as_its_anchor_does_has_no_gradient_and_no_other_place_is_better():
    anchor, marks = rows(3, 0), rows(9, 1)
    q = placed(anchor, marks, 0.1)
    z = anchor.clone().requires_grad_()
    best = transitive(z, q, marks, 0.1)
    best.backward()
    assert torch.allclose(z.grad, torch.zeros_like(z), atol=1e-12)
    assert all(float(transitive(rows(3, seed), q, marks, 0.1)) > float(best.detach()) for seed in range(2, 9))


def test_a_landmark_that_is_left_out_changes_nothing_wherever_it_lies():
    z, anchor, marks = rows(2, 0), rows(2, 1), rows(5, 2)
    excluded = torch.zeros(2, 5, dtype=torch.bool)
    excluded[:, 3] = True
    moved = marks.clone()
    moved[3] = rows(1, 7)
    one, other = (transitive(z, placed(anchor, m, 0.1, excluded), m, 0.1, excluded) for m in (marks, moved))
    without = marks[[0, 1, 2, 4]]
    assert float(one) == float(other)
    assert float(one) == pytest.approx(float(transitive(z, placed(anchor, without, 0.1), without, 0.1)), rel=1e-12)


def test_a_proxy_is_the_landmarks_mean_by_their_shares():
    marks = torch.eye(3, dtype=torch.float64)
    q = torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    assert torch.allclose(proxies(q, marks), torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64))
    assert float(perplexity(torch.tensor([[0.25] * 4, [1.0, 0, 0, 0]]))) == pytest.approx((4 + 1) / 2)
