"""Both sides of a pair against their mean, by hand."""

import math
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from bindspace.losses import info_nce, siglip
from bindspace.losses.centroid import against_centroid


def rows(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, 4, generator=generator, dtype=torch.float64), dim=1)


def entropy(x: torch.Tensor, y: torch.Tensor, scale: float) -> float:
    """-log of each row's share of its own column, by loops over numbers."""
    total = 0.0
    for i in range(len(x)):
        whole = sum(math.exp(scale * float(x[i] @ y[j])) for j in range(len(y)))
        total += math.log(whole) - scale * float(x[i] @ y[i])
    return total / len(x)


def test_value_is_that_of_the_equation():
    a, b = rows(5, 0), rows(5, 1)
    middle = torch.stack([(x + y) / math.sqrt(float((x + y) @ (x + y))) for x, y in zip(a, b)])
    expected = sum(entropy(x, middle, 6.0) + entropy(middle, x, 6.0) for x in (a, b)) / 4
    found = against_centroid(partial(info_nce, logit_scale=6.0), a, b)
    assert float(found) == pytest.approx(expected, rel=1e-10)


def test_sides_that_agree_have_the_loss_that_they_have_with_each_other():
    a = rows(5, 0)
    for loss in (partial(info_nce, logit_scale=6.0), partial(siglip, logit_scale=6.0, bias=-1.0)):
        assert float(against_centroid(loss, a, a)) == pytest.approx(float(loss(a, a)), rel=1e-12)


def test_gradients_agree_with_finite_differences():
    a, b = rows(4, 0).requires_grad_(), rows(4, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: against_centroid(partial(info_nce, logit_scale=3.0), a, b), (a, b))
