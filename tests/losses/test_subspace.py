"""The subspace of landmarks, against what it is by definition."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from bindspace.losses.subspace import principal, projected


def rows(count: int, seed: int, dim: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64), dim=1)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 6), st.integers(0, 1000))
def test_no_other_subspace_is_nearer_to_the_landmarks(dim, seed):
    marks = rows(12, seed)
    basis = principal(marks, dim)
    assert torch.allclose(basis.T @ basis, torch.eye(dim, dtype=torch.float64), atol=1e-12)
    kept = float((marks @ basis).square().sum())
    singular = torch.linalg.svdvals(marks)
    assert abs(kept - float(singular[:dim].square().sum())) < 1e-9
    other = torch.linalg.qr(torch.randn(6, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))).Q
    assert float((marks @ other).square().sum()) <= kept + 1e-9


def test_what_lies_in_it_stays_and_what_does_not_is_dropped():
    marks = F.normalize(rows(9, 0) * torch.tensor([1.0, 1, 1, 0, 0, 0], dtype=torch.float64), dim=1)
    basis = principal(marks, 3)
    assert torch.allclose(projected(marks, basis), marks, atol=1e-12)
    z = rows(4, 1)
    assert torch.allclose(projected(z, basis), F.normalize(z * torch.tensor([1.0, 1, 1, 0, 0, 0]), dim=1), atol=1e-12)
    assert torch.autograd.gradcheck(lambda z: projected(z, basis), (z.requires_grad_(),))
