"""The tiled losses equal the written-down ones in float64, and stay exact where those lose their digits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from bindspace.losses import info_nce, info_nce_plain, siglip, siglip_plain, tiles
from bindspace.losses.monitoring import hit_rate, mean_negatives

TEMPERATURES = st.sampled_from([0.005, 0.01, 0.02, 0.07, 0.5, 5.0])


@st.composite
def batches(draw):
    """Rows of three kinds, with duplicates or without; and a temperature."""
    rows, dim, seed = draw(st.integers(1, 40)), draw(st.integers(1, 24)), draw(st.integers(0, 10_000))
    generator = torch.Generator().manual_seed(seed)
    unit = lambda n: F.normalize(torch.randn(n, dim, generator=generator), dim=1)  # noqa: E731
    few = lambda n: torch.randint(0, max(2, rows // 2), (n,), generator=generator)  # noqa: E731
    a, b = unit(rows), unit(rows)
    if draw(st.booleans()):  # round a few centres
        centre, which = unit(3), torch.randint(0, 3, (rows,), generator=generator)
        a, b = (F.normalize(centre[which] + 0.1 * each, dim=1) for each in (a, b))
    asked = {}
    if draw(st.booleans()):
        asked = {"keys_a": few(rows), "keys_b": few(rows)}
    return a, b, draw(TEMPERATURES), asked


def evaluate(loss, *tensors, **asked):
    """The value, and the gradients of all tensors."""
    leaves = [x.clone().requires_grad_() for x in tensors]
    value = loss(*leaves, **asked)
    value.backward()
    return value.detach(), [x.grad for x in leaves]


def error(found, exact, scale):
    """The relative error in norm; where the terms of a gradient cancel, against a tenth of the size of these terms."""
    terms = max(1e-3, 0.1 * float(scale) / max(1, exact.numel()) ** 0.5)
    return float((found.double() - exact).norm() / exact.norm().clamp(min=terms))


def rounding(temperature):
    """The last digit of a float32 logit: what the exact value of rounded logits is off by; sharper ones are float64."""
    return 0.0 if temperature < 0.0078 else 2**-23 / temperature


@pytest.fixture(autouse=True, scope="module")
def _small_tiles():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "TILE", 16)
        yield


@settings(max_examples=120, deadline=None)
@given(batches())
def test_info_nce_equals_the_plain_form_in_float64(batch):
    a, b, temperature, asked = batch
    scale = torch.tensor(1 / temperature)
    value, found = evaluate(info_nce, a, b, scale, **asked, tiled=True)
    exact, expected = evaluate(info_nce_plain, a.double(), b.double(), scale.double(), **asked)
    assert float((value - exact).abs()) <= 1e-6 * max(float(exact), 1.0) + rounding(temperature) / 2
    limit = 1e-5 + 12 * rounding(temperature)
    assert max(error(x, y, scale) for x, y in zip(found[:2], expected[:2], strict=True)) < limit
    assert float((found[2] - expected[2]).abs()) < 1e-5


@settings(max_examples=60, deadline=None)
@given(batches(), st.sampled_from([-10.0, 0.0, 3.0]))
def test_siglip_equals_the_plain_form_in_float64(batch, bias):
    a, b, temperature, asked = batch
    tensors = (a, b, torch.tensor(1 / temperature), torch.tensor(bias))
    value, found = evaluate(siglip, *tensors, **asked, tiled=True)
    exact, expected = evaluate(siglip_plain, *(x.double() for x in tensors), **asked)
    assert float((value - exact).abs()) <= 1e-6 * max(float(exact), 1.0) + rounding(temperature) / 2
    limit = 1e-5 + 12 * rounding(temperature)
    assert max(error(x, y, tensors[2]) for x, y in zip(found, expected, strict=True)) < limit


def test_float64_rows_are_computed_in_float64():
    generator = torch.Generator().manual_seed(0)
    a, b = (F.normalize(torch.randn(21, 5, generator=generator).double(), dim=1) for _ in range(2))
    scale, bias = torch.tensor(20.0).double(), torch.tensor(-4.0).double()
    for loss, plain, extra in ((info_nce, info_nce_plain, ()), (siglip, siglip_plain, (bias,))):
        value, found = evaluate(loss, a, b, scale, *extra, tiled=True)
        exact, expected = evaluate(plain, a, b, scale, *extra)
        torch.testing.assert_close((value, found), (exact, expected), rtol=1e-11, atol=1e-13)


def test_a_saturated_loss_keeps_the_digits_of_its_gradient():
    """Each negative has a share of e-40; a plain float32 form subtracts 1 from 1 and has none left."""
    a = F.normalize(torch.eye(4) + 0.2, dim=1)
    scale = torch.tensor(60.0)
    logits = 60 * (a.double() @ a.double().T)
    wrong = torch.where(torch.eye(4) > 0, 0.0, (logits - logits.diagonal()[:, None]).exp())
    value, (by_a, _, _) = evaluate(info_nce, a, a, scale, tiled=True)
    assert float(value) == pytest.approx(float(wrong.sum(1).mean()), rel=1e-5)
    expected = 60 * 2 / 8 * (wrong - torch.diag(wrong.sum(1))) @ a.double()
    assert float((by_a.double() - expected).norm() / expected.norm()) < 2e-5
    plain = evaluate(info_nce_plain, a, a, scale)[1][0]
    assert float((plain.double() - expected).norm() / expected.norm()) > 0.1


def test_products_of_bf16_are_those_of_rounded_rows_with_sums_in_float32():
    generator = torch.Generator().manual_seed(0)
    a, b = (F.normalize(torch.randn(40, 64, generator=generator), dim=1) for _ in range(2))
    rounded = [x.bfloat16().double() for x in (a, b)]
    exact, expected = evaluate(info_nce_plain, *rounded, torch.tensor(14.0).double())
    value, found = evaluate(info_nce, a, b, torch.tensor(14.0), products="bf16")
    own = ((a * b).sum(1) - (rounded[0] * rounded[1]).sum(1)).mean() * 14  # a row's own partner is never rounded
    assert float(value) == pytest.approx(float(exact - own), abs=1e-3)
    assert 1e-5 < max(error(x, y, 14.0) for x, y in zip(found[:2], expected[:2], strict=True)) < 1e-2


def test_a_second_derivative_is_refused_with_the_way_out():
    a = F.normalize(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), dim=1).requires_grad_()
    for loss in (info_nce(a, a, 2.0, tiled=True), siglip(a, a, 2.0, -1.0, tiled=True)):
        with pytest.raises(RuntimeError, match=r"has no second derivative.*: call it with tiled=False"):
            torch.autograd.grad(loss, a, create_graph=True)
    (first,) = torch.autograd.grad(info_nce(a, a, 2.0, tiled=False), a, create_graph=True)
    assert torch.autograd.grad(first.sum(), a)[0].isfinite().all()


def test_what_needs_no_gradient_gets_none():
    a, b = (F.normalize(torch.randn(5, 3, generator=torch.Generator().manual_seed(s)), dim=1) for s in (0, 1))
    b.requires_grad_()
    info_nce(a, b, 2.0, tiled=True).backward()
    assert a.grad is None
    torch.testing.assert_close(b.grad, evaluate(info_nce_plain, a, b.detach(), torch.tensor(2.0))[1][1])
    with torch.no_grad():
        assert not info_nce(a, b, 2.0, tiled=True).requires_grad


def test_rows_that_are_no_numbers_give_a_loss_that_is_none():
    a = torch.full((3, 2), float("nan"))
    assert info_nce(a, a, 2.0, tiled=True).isnan()
    assert siglip(a, a, 2.0, 0.0, tiled=True).isnan()


def test_the_plain_form_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="expected tiled=True with ranks or bf16 products"):
        info_nce(torch.eye(2), torch.eye(2), 1.0, products="bf16", tiled=False)
    with pytest.raises(ValueError, match="expected products of float32 or bf16, got 'fp8'"):
        info_nce(torch.eye(2), torch.eye(2), 1.0, products="fp8")


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(0, 1000))
def test_what_is_watched_equals_the_whole_matrix(rows, seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(rows, 4, generator=generator) for _ in range(2))
    similarity = a @ b.T
    expected = (similarity.argmax(1) == torch.arange(rows)).float().mean()
    assert hit_rate(a, b) == expected
    keys_a, keys_b = (torch.randint(0, 8, (rows,), generator=generator) for _ in range(2))
    same = (keys_a[:, None] == keys_a) | (keys_b[:, None] == keys_b)
    assert mean_negatives(keys_a, keys_b) == pytest.approx(float((~same).sum(1).double().mean()))
