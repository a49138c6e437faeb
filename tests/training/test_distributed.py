"""Several ranks give the gradients of one process with the joined batch."""

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from plain import ByHand, KeepGradients, Left, plain_batch, plain_space, quiet_trainer

from bindspace.contract.modality import Lora, Tune
from bindspace.settings.run import Pair
from bindspace.training import BindModule
from bindspace.training.terms import SiglipConfig

PAIRS = [Pair(["middle", "left"]), Pair(["middle", "right"], weight=0.5)]
EVENTS = 7  # dealt to two ranks: four and three
HELD = {
    "rows on both ranks": {"middle": [0, 1, 2, 3, 4, 5, 6], "left": [0, 1, 2, 4, 5], "right": [3, 4, 6]},
    "a rank without any row of a pair": {"middle": [0, 1, 2, 3, 4, 5, 6], "left": [0, 1, 2, 3], "right": [0, 2, 6]},
}


def gradients(shares, ranks, path, loss=None, **changes):
    strategy = DDPStrategy(start_method="spawn", find_unused_parameters=True) if ranks > 1 else "auto"
    trainer = quiet_trainer(1, path.parent, devices=ranks, strategy=strategy, callbacks=[KeepGradients(path)])
    trainer.fit(BindModule(plain_space(**changes), PAIRS, steps=1, loss=loss), datamodule=ByHand(shares))
    return torch.load(path, weights_only=True)


@pytest.mark.process
@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
def test_two_ranks_give_the_gradients_of_one_process(held, tmp_path):
    agree(held, 2, None, tmp_path)


@pytest.mark.process
def test_three_ranks_with_a_sigmoid_loss_give_them_too(tmp_path):
    held = HELD["a rank without any row of a pair"]
    agree(held, 3, SiglipConfig(temperature=0.1), tmp_path)


def agree(held, ranks, loss, tmp_path):
    one = gradients([[plain_batch(held, EVENTS)]], 1, tmp_path / "one.pt", loss)
    shares = [[plain_batch(held, EVENTS, only=slice(rank, None, ranks))] for rank in range(ranks)]
    two = gradients(shares, ranks, tmp_path / "two.pt", loss)
    assert one["gradients"].keys() == two["gradients"].keys()
    for name, expected in one["gradients"].items():
        assert torch.allclose(two["gradients"][name], expected, rtol=1e-4, atol=1e-6), name
        assert expected.abs().max() > 1e-6, f"{name} has no gradient: the comparison would say nothing"
    assert two["pairs"] == one["pairs"]


@pytest.mark.process
def test_two_ranks_give_adapters_the_gradients_of_one_process(tmp_path):
    held, tune = HELD["rows on both ranks"], Tune(lora=Lora(rank=2))
    one = gradients([[plain_batch(held, EVENTS)]], 1, tmp_path / "one.pt", left=Left(tune=tune))["gradients"]
    shares = [[plain_batch(held, EVENTS, only=slice(rank, None, 2))] for rank in range(2)]
    two = gradients(shares, 2, tmp_path / "two.pt", left=Left(tune=tune))["gradients"]
    assert one.keys() == two.keys()
    assert not any("base_layer" in name for name in one)
    first = "space.towers.left.encoder.blocks.0.lora_B.default.weight"  # that of A is 0 as long as B is
    assert one[first].abs().max() > 1e-6
    assert all(torch.allclose(two[name], expected, rtol=1e-4, atol=1e-6) for name, expected in one.items())
