"""Soft targets and masks by nearness, against the equations written out number by number."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from bindspace.losses import info_nce, siglip
from bindspace.losses.soft import jittered, near, soft_targets


def rows(count: int, seed: int, dim: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64), dim=1)


def entropy(logits: list[list[float]], targets: list[list[float]], left_out: list[list[bool]]) -> float:
    total = 0.0
    for i, row in enumerate(logits):
        whole = sum(math.exp(x) for x, out in zip(row, left_out[i]) if not out)
        total -= sum(t * (x - math.log(whole)) for x, t, out in zip(row, targets[i], left_out[i]) if not out)
    return total / len(logits)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 7), st.integers(0, 1000), st.floats(0, 0.9), st.floats(0.05, 1), st.floats(-0.5, 1.0))
def test_value_is_that_of_the_equation(count, seed, weight, temperature, above):
    a, b, scale = rows(count, seed), rows(count, seed + 1), 7.0
    cosines = (b @ b.T).tolist()
    left_out = [[i != j and cosines[i][j] > above for j in range(count)] for i in range(count)]
    targets = []
    for i in range(count):
        share = [0.0 if left_out[i][j] else math.exp(cosines[i][j] / temperature) for j in range(count)]
        targets.append([(1 - weight) * (i == j) + weight * share[j] / sum(share) for j in range(count)])
    logits = (scale * (a @ b.T)).tolist()
    back = [list(column) for column in zip(*logits)]
    expected = (entropy(logits, targets, left_out) + entropy(back, targets, left_out)) / 2
    mask = near(b, above)
    assert mask.tolist() == left_out
    soft = soft_targets(b, weight, temperature, mask)
    assert torch.allclose(soft, torch.tensor(targets, dtype=torch.float64), atol=1e-12)
    assert float(info_nce(a, b, scale, near_BB=mask, soft_BB=soft)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_no_weight_is_the_loss_as_it_was():
    a, b = rows(5, 0), rows(5, 1)
    keys = {"keys_a": torch.tensor([1, 1, 2, 3, 4]), "keys_b": torch.tensor([1, 2, 3, 4, 5])}
    plain = info_nce(a, b, 5.0, **keys)
    assert float(info_nce(a, b, 5.0, **keys, soft_BB=soft_targets(b, 0.0, 0.1))) == pytest.approx(
        float(plain), rel=1e-12
    )
    assert float(info_nce(a, b, 5.0, **keys, near_BB=near(b, 1.1))) == float(plain)


def test_near_rows_are_left_out_as_equal_ones_are():
    a = b = torch.eye(3, dtype=torch.float64)
    anchor = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], dtype=torch.float64)
    keys = {"keys_a": torch.tensor([7, 7, 8]), "keys_b": torch.tensor([1, 2, 3])}
    mask = near(anchor, 0.7)
    assert mask.tolist() == [[False, True, False], [True, False, False], [False, False, False]]
    for loss in (lambda **more: info_nce(a, b, 2.0, **more), lambda **more: siglip(a, b, 2.0, -1.0, **more)):
        assert float(loss(near_BB=mask)) == float(loss(**keys)) < float(loss())


def test_gradients_agree_with_finite_differences():
    a, b, scale = rows(4, 0).requires_grad_(), rows(4, 1).requires_grad_(), torch.tensor(3.0, dtype=torch.float64)
    mask = near(rows(4, 1), 0.3)
    soft = soft_targets(rows(4, 1), 0.4, 0.2, mask)
    assert mask.any()
    assert torch.autograd.gradcheck(
        lambda a, b, s: info_nce(a, b, s, near_BB=mask, soft_BB=soft), (a, b, scale.requires_grad_())
    )


def test_tiles_refuse_them():
    a = rows(3, 0)
    for name, matrix in (("near_BB", near(a, 0.5)), ("soft_BB", soft_targets(a, 0.5, 0.1))):
        with pytest.raises(ValueError, match="near_BB, soft_BB: expected a plain loss of fewer than 1024 rows"):
            info_nce(a, a, 2.0, **{name: matrix}, tiled=True)
    with pytest.raises(ValueError, match="got tiles"):
        siglip(a, a, 2.0, 0.0, near_BB=near(a, 0.5), tiled=True)


def test_noise_has_the_length_that_is_asked_and_leaves_unit_vectors():
    torch.manual_seed(1)
    z = rows(400, 0, dim=64)
    moved = jittered(z, 0.5)
    assert torch.allclose(moved.norm(dim=1), torch.ones(400, dtype=torch.float64))
    tangent = moved / (moved * z).sum(1, keepdim=True) - z  # what was added, but for its part along the vector
    assert float(tangent.norm(dim=1).mean()) == pytest.approx(0.5, rel=0.05)
