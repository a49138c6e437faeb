"""Cached gradients are those of the whole batch, with dropout, missing modalities, frozen towers and several ranks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.strategies import DDPStrategy
from plain import ByHand, KeepGradients, Left, Middle, Right, plain_batch, plain_space, quiet_trainer
from torch import nn

from bindspace import Tune
from bindspace.contract.errors import UserError
from bindspace.settings.run import OptimSettings, Pair
from bindspace.training import BindModule
from bindspace.training.cached_gradients import CachedGradients, split

PAIRS = [Pair(["middle", "left"]), Pair(["middle", "right"], weight=0.5)]
HELD = {"middle": list(range(11)), "left": [0, 1, 2, 4, 5, 8, 10], "right": [3, 4, 6, 7]}
CPU = torch.device("cpu")


@dataclass(kw_only=True)
class Noisy(Left):
    """Left with dropout, or with batch normalisation."""

    modality: ClassVar[str] = "left"
    norm: bool = False
    tune: Tune = field(default_factory=Tune)

    def encoder(self, *, pretrained):
        encoder = super().encoder(pretrained=pretrained)
        encoder.blocks[0] = nn.Sequential(encoder.blocks[0], nn.BatchNorm1d(5) if self.norm else nn.Dropout(0.5))
        return encoder


def gradients(module, batch):
    """Of one step, as Lightning's loop calls it."""
    module.log = lambda *_, **__: None
    module.train()
    loss = module.training_step(batch, 0)
    module.backward(loss)
    module.recording.commit()
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def assert_equal(found, expected, tolerance=1e-6):
    """All together within the tolerance, and no tensor off by more than ten times that of its own length."""
    assert found.keys() == expected.keys()
    off = {name: (found[name] - value).norm() for name, value in expected.items()}
    for name, value in expected.items():
        assert value.norm() > 0, f"{name} has no gradient: the comparison would say nothing"
        assert off[name] <= 10 * tolerance * value.norm(), name
    assert sum(error**2 for error in off.values()) <= tolerance**2 * sum(v.norm() ** 2 for v in expected.values())


@pytest.mark.parametrize("micro_batch", [1, 3, 4, 11, 100])
def test_gradients_are_those_of_the_whole_batch_whatever_the_chunk(micro_batch):
    batch = plain_batch(HELD, 11)
    whole = gradients(BindModule(plain_space(), PAIRS, steps=1), batch)
    module = BindModule(plain_space(), PAIRS, steps=1, micro_batch=micro_batch)
    assert_equal(gradients(module, batch), whole)
    assert module.space.ledger.summary()["pairs"][0]["paired"]["steps"] == 1


def test_dropout_is_the_same_in_both_passes():
    space = plain_space(left=Noisy())
    cached = CachedGradients(space.train(), 3)
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    target = torch.randn(8, 4, generator=torch.Generator().manual_seed(2))

    torch.manual_seed(7)
    z = cached.encode("left", {"x": x}, CPU)
    (z @ target.T).square().sum().backward()
    cached.second_pass(CPU)
    found = {name: p.grad.clone() for name, p in space.towers["left"].named_parameters()}

    space.zero_grad()
    torch.manual_seed(7)
    seeds = torch.randint(2**62, (3,)).tolist()
    parts = []
    for part, seed in zip(x.split(3), seeds):  # the same chunks, all with a graph
        torch.manual_seed(seed)
        parts.append(space("left", {"x": part}))
    assert torch.equal(torch.cat(parts).detach(), z.detach())
    (torch.cat(parts) @ target.T).square().sum().backward()
    assert_equal(found, {name: p.grad for name, p in space.towers["left"].named_parameters()})
    other = space("left", {"x": x[:3]})
    assert not torch.allclose(other, parts[0]), "dropout does nothing: the comparison would say nothing"


def test_encoding_a_chunk_leaves_the_random_state_as_it_was():
    cached = CachedGradients(plain_space(left=Noisy()).train(), 3)
    before = torch.get_rng_state()
    cached._chunk("left", {"x": torch.ones(2, 4)}, 5, CPU)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("freeze", [["middle"], ["left", "right"]])
def test_a_frozen_tower_needs_no_second_pass(freeze):
    batch = plain_batch({name: list(range(9)) for name in HELD}, 9)
    whole = gradients(BindModule(plain_space(), PAIRS, steps=1, freeze=freeze), batch)
    module = BindModule(plain_space(), PAIRS, steps=1, freeze=freeze, micro_batch=3)
    calls = dict.fromkeys(HELD, 0)
    module.setup("fit")
    for name, tower in module.space.towers.items():
        tower.register_forward_hook(lambda *_, name=name: calls.__setitem__(name, calls[name] + 1))
    assert_equal(gradients(module, batch), whole)
    assert calls == {name: 3 if name in freeze else 5 for name in HELD}  # three chunks, two of them again


def test_cached_vectors_need_no_pass_at_all():
    batch = plain_batch({name: list(range(9)) for name in HELD}, 9)
    with torch.no_grad():
        batch.vectors["middle"] = plain_space()("middle", batch.inputs.pop("middle"))
    whole = gradients(BindModule(plain_space(), PAIRS, steps=1, freeze=["middle"]), batch)
    module = BindModule(plain_space(), PAIRS, steps=1, freeze=["middle"], micro_batch=2)
    assert_equal(gradients(module, batch), whole)


def test_a_tower_of_which_only_the_last_block_moves_gets_its_gradient():
    middle = {"middle": Middle(tune=Tune(freeze=True, unfreeze_last=1))}
    batch = plain_batch({name: list(range(9)) for name in HELD}, 9)
    modules = [BindModule(plain_space(**middle), PAIRS, steps=1, micro_batch=size) for size in (None, 2)]
    whole, found = (gradients(module, batch) for module in modules)
    assert any("towers.middle.encoder.blocks.1" in name for name in whole)
    assert_equal(found, whole)


def test_bf16_autocast_reaches_both_passes():
    batch = plain_batch({name: list(range(9)) for name in HELD}, 9)
    found = {}
    for micro_batch in (None, 2):
        module = BindModule(plain_space(), PAIRS, steps=1, micro_batch=micro_batch)
        module.log = lambda *_, **__: None
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = module.training_step(batch, 0)
        module.backward(loss)
        found[micro_batch] = {name: p.grad for name, p in module.named_parameters()}
    assert_equal(found[2], found[None], tolerance=2e-2)  # bf16 has 8 bits, and sums are cut elsewhere


def test_batch_normalisation_is_refused_unless_it_stands_still(tmp_path):
    batch = plain_batch({name: list(range(9)) for name in HELD}, 9)
    module = BindModule(plain_space(left=Noisy(norm=True)), PAIRS, steps=1, micro_batch=3)
    with pytest.raises(UserError, match=r"trainer.micro_batch=3: modality 'left' has batch normalisation \(encoder.bl"):
        quiet_trainer(1, tmp_path).fit(module, datamodule=ByHand([[batch]]))
    module = BindModule(plain_space(left=Noisy(norm=True)), PAIRS, steps=1, freeze=["left"], micro_batch=3)
    quiet_trainer(1, tmp_path).fit(module, datamodule=ByHand([[batch]]))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_rows_of_one_sample_stay_together(counts, size):
    counts = [max(1, count) for count in counts]
    owner = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    owner = owner[torch.randperm(len(owner), generator=torch.Generator().manual_seed(size))]
    prepared = {"x": torch.arange(len(owner)), "owner": owner}
    chunks = list(split(prepared, size))
    assert sum(len(chunk["x"]) for chunk in chunks) == len(owner)
    for number, chunk in enumerate(chunks):
        assert sorted(set(chunk["owner"].tolist())) == list(range(min(size, len(counts) - number * size)))
        assert torch.equal(owner[chunk["x"]], chunk["owner"] + number * size)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_clipping_and_accumulation_see_whole_gradients(tmp_path, accumulate):
    batches = [plain_batch(HELD, 11, seed) for seed in range(2 * accumulate)]
    trained = []
    for micro_batch in (None, 3):
        module = BindModule(plain_space(), PAIRS, steps=2, optim=OptimSettings(clip=0.05), micro_batch=micro_batch)
        trainer = quiet_trainer(2, tmp_path, accumulate_grad_batches=accumulate)
        trainer.fit(module, datamodule=ByHand([batches]))
        trained.append(module)
    for (name, whole), cached in zip(trained[0].named_parameters(), trained[1].parameters()):
        assert torch.allclose(whole, cached, rtol=1e-4, atol=1e-5), name
    ledgers = [module.space.ledger.summary() for module in trained]
    assert ledgers[0] == ledgers[1]


def ranks_gradients(shares, ranks, path, **changes):
    strategy = DDPStrategy(start_method="spawn", find_unused_parameters=True) if ranks > 1 else "auto"
    trainer = quiet_trainer(1, path.parent, devices=ranks, strategy=strategy, callbacks=[KeepGradients(path)])
    space = plain_space(right=Right(), left=Left())
    trainer.fit(BindModule(space, PAIRS, steps=1, **changes), datamodule=ByHand(shares))
    return torch.load(path, weights_only=True)


@pytest.mark.process
def test_two_ranks_with_chunks_give_the_gradients_of_one_process_without(tmp_path):
    held = {"middle": list(range(11)), "left": [0, 1, 2, 4, 5, 8, 10], "right": [0, 2, 4, 6]}  # no right on rank 1
    one = ranks_gradients([[plain_batch(held, 11)]], 1, tmp_path / "one.pt")
    shares = [[plain_batch(held, 11, only=slice(rank, None, 2))] for rank in range(2)]
    two = ranks_gradients(shares, 2, tmp_path / "two.pt", micro_batch=2)
    assert_equal(two["gradients"], one["gradients"], tolerance=1e-5)
    assert two["pairs"] == one["pairs"]


def test_a_chunk_that_holds_the_whole_batch_has_no_effect_and_says_so():
    from bindspace.settings.run import DataSettings, TrainerSettings, TrainRun
    from bindspace.training.warnings import warn_of_batches

    run = TrainRun(data=DataSettings(batch=64), trainer=TrainerSettings(micro_batch=32, devices=2))
    with pytest.warns(UserWarning, match="trainer.micro_batch=32 has no effect: a rank's share of a batch is 32"):
        warn_of_batches(run)
    run.trainer.micro_batch = 31
    warn_of_batches(run)
    run.trainer.micro_batch, run.stages[0].batch = 32, 128  # a stage with larger batches
    warn_of_batches(run)


def test_a_ranks_share_counts_the_devices_of_all_nodes():
    from bindspace.settings.run import DataSettings, TrainerSettings, TrainRun
    from bindspace.training.warnings import warn_of_batches

    run = TrainRun(data=DataSettings(batch=64), trainer=TrainerSettings(micro_batch=8, devices=2, nodes=4))
    with pytest.warns(UserWarning, match="trainer.micro_batch=8 has no effect: a rank's share of a batch is 8"):
        warn_of_batches(run)
    run.trainer.micro_batch = 7
    warn_of_batches(run)
