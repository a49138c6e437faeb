"""InfoNCE, against answers written out by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from bindspace.losses import content_keys, info_nce


def test_two_orthogonal_events_give_the_loss_worked_out_by_hand():
    a = b = torch.eye(2)
    expected = math.log(1 + math.exp(-2))  # one positive at 2, one negative at 0, both ways
    assert float(info_nce(a, b, 2.0)) == pytest.approx(expected, rel=1e-6)


def test_both_directions_count_half():
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    b = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    rows = (math.log(1 + math.exp(-1)) + math.log(math.exp(1) + 1)) / 2  # logits [[1, 0], [1, 0]]
    columns = math.log(2)
    assert float(info_nce(a, b, 1.0)) == pytest.approx((rows + columns) / 2, rel=1e-6)


def test_rows_with_the_same_content_are_not_negatives_of_each_other():
    a = b = torch.eye(3)
    keys_a, keys_b = torch.tensor([7, 7, 8]), torch.tensor([1, 2, 3])
    # rows 0 and 1 show the same picture: each has row 2 alone as negative; row 2 has two
    expected = (2 * math.log(1 + math.exp(-1)) + math.log(1 + 2 * math.exp(-1))) / 3
    assert float(info_nce(a, b, 1.0, keys_a=keys_a, keys_b=keys_b)) == pytest.approx(expected, rel=1e-6)
    assert float(info_nce(a, b, 1.0, keys_a=keys_b, keys_b=keys_a)) == pytest.approx(expected, rel=1e-6)


def test_one_row_has_no_negative_and_no_loss():
    a = F.normalize(torch.randn(1, 4), dim=-1)
    assert float(info_nce(a, a, 5.0)) == 0.0


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 17), st.integers(0, 1000), st.floats(0.5, 100))
def test_the_order_of_events_does_not_matter(rows, seed, scale):
    generator = torch.Generator().manual_seed(seed)
    a, b = (F.normalize(torch.randn(rows, 8, generator=generator, dtype=torch.float64), dim=-1) for _ in range(2))
    keys = torch.randint(0, 4, (rows,), generator=generator), torch.randint(0, 4, (rows,), generator=generator)
    order = torch.randperm(rows, generator=generator)
    one = info_nce(a, b, scale, keys_a=keys[0], keys_b=keys[1])
    other = info_nce(a[order], b[order], scale, keys_a=keys[0][order], keys_b=keys[1][order])
    assert torch.allclose(one, other, rtol=1e-10)


def test_gradients_agree_with_finite_differences():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2))
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    keys = torch.tensor([1, 1, 2, 3, 4]), torch.tensor([1, 2, 3, 4, 4])
    assert torch.autograd.gradcheck(lambda a, b, s: info_nce(a, b, s, keys_a=keys[0], keys_b=keys[1]), (a, b, scale))


def test_keys_are_equal_where_digests_are():
    digests = torch.randint(0, 256, (4, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    digests[3] = digests[0]
    keys = content_keys(digests)
    assert keys[3] == keys[0]
    assert len(set(keys.tolist())) == 3
