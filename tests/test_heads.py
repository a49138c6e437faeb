"""Heads and temperatures."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bindspace import Head
from bindspace.modules.heads import build_head
from bindspace.space.temperature import Temperature


@pytest.mark.parametrize("kind", [Head.linear, Head.mlp])
def test_a_head_projects_features_to_the_dim_of_the_space(kind):
    assert build_head(kind, width=6, dim=4)(torch.randn(3, 6)).shape == (3, 4)


def test_a_linear_head_is_blind_to_scale_and_shift_of_the_features():
    head, features = build_head(Head.linear, width=6, dim=4), torch.randn(3, 6)
    assert torch.allclose(head(features), head(5 * features + 2), atol=1e-3)


def test_an_identity_head_has_nothing_to_learn_and_fixes_the_dim():
    head = build_head(Head.identity, width=4, dim=4)
    assert isinstance(head, nn.Identity)
    with pytest.raises(ValueError, match=r"needs a tower of the space's dim 4, got width 6: set dim=6"):
        build_head(Head.identity, width=6, dim=4)


@pytest.mark.parametrize("learned", [True, False])
def test_the_factor_is_one_over_the_temperature(learned):
    assert Temperature(0.07, learned)().item() == pytest.approx(1 / 0.07, rel=1e-5)


def test_only_a_learned_temperature_is_a_parameter_and_both_are_saved():
    assert len(list(Temperature(0.1, learned=True).parameters())) == 1
    assert len(list(Temperature(0.1, learned=False).parameters())) == 0
    assert list(Temperature(0.1, learned=False).state_dict()) == ["log_scale"]


def test_a_learned_temperature_is_brought_back_to_its_minimum_and_stays_trainable():
    temperature = Temperature(0.05, learned=True, minimum=0.02)
    with torch.no_grad():
        temperature.log_scale.fill_(10.0)
    temperature.clamp_()
    assert temperature().item() == pytest.approx(50, rel=1e-5)
    temperature().backward()
    assert temperature.log_scale.grad is not None


def test_a_fixed_temperature_is_not_clamped():
    temperature = Temperature(0.001, learned=False, minimum=0.01)
    temperature.clamp_()
    assert temperature().item() == pytest.approx(1000, rel=1e-4)
