"""The LightningModule: what is trained, what is frozen, what the ledger is told."""

import pytest
import torch
from plain import ByHand, Left, Middle, Right, plain_batch, plain_space, quiet_trainer

from bindspace import Tune
from bindspace.contract.errors import UserError
from bindspace.losses import info_nce
from bindspace.settings.run import OptimSettings, Pair
from bindspace.training import BindModule
from bindspace.training.terms import InfoNceConfig

STAR = [Pair(["middle", "left"]), Pair(["middle", "right"], weight=0.5, temperature=0.2)]
ALL = {name: list(range(6)) for name in ("middle", "left", "right")}


def fit(module, batches, tmp_path, **changes):
    quiet_trainer(len(batches), tmp_path, **changes).fit(module, datamodule=ByHand([batches]))
    return module


def weights(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def moved(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_the_loss_is_the_weighted_sum_over_the_listed_pairs(tmp_path):
    space = plain_space()
    module = BindModule(space, STAR, steps=1)
    batch = plain_batch({**ALL, "right": [1, 3, 5]}, 6)
    z = module.vectors(batch)
    expected = info_nce(z["middle"], z["left"], 1 / 0.07) + 0.5 * info_nce(z["middle"][[1, 3, 5]], z["right"], 1 / 0.2)
    seen = []
    module.log = lambda name, value, **_: seen.append(value)
    assert torch.allclose(module.training_step(batch, 0), expected)
    assert torch.allclose(seen[0], expected.detach())


def test_only_listed_pairs_are_trained_whatever_the_rows_hold(tmp_path):
    module = BindModule(plain_space(), STAR[:1], steps=2)
    before = weights(module)
    fit(module, [plain_batch(ALL, 6, seed) for seed in range(2)], tmp_path)
    changed = moved(before, weights(module))
    assert any("towers.left" in name for name in changed)
    assert not any("towers.right" in name for name in changed)
    assert module.space.ledger.trained_pairs() == [("left", "middle")]


def test_a_frozen_tower_does_not_move_to_the_bit(tmp_path):
    module = BindModule(plain_space(), STAR, steps=3, freeze=["middle"])
    before = weights(module)
    fit(module, [plain_batch(ALL, 6, seed) for seed in range(3)], tmp_path)
    changed = moved(before, weights(module))
    assert any("towers.left" in name for name in changed)
    assert not any("towers.middle" in name for name in changed)


def test_a_frozen_tensor_that_moved_stops_the_run(tmp_path):
    module = BindModule(plain_space(), STAR, steps=1, freeze=["middle"])

    def nudge(*_):
        with torch.no_grad():
            module.space.towers["middle"].encoder.blocks[0].weight[0, 0] += 1e-6

    module.on_after_backward = nudge
    with pytest.raises(RuntimeError, match=r"frozen tensors changed .*: middle.encoder.blocks.0.weight \(1 in"):
        fit(module, [plain_batch(ALL, 6)], tmp_path)


def test_unfreeze_last_trains_the_last_blocks_and_the_head(tmp_path):
    module = BindModule(plain_space(middle=Middle(tune=Tune(freeze=True, unfreeze_last=1))), STAR, steps=2)
    before = weights(module)
    fit(module, [plain_batch(ALL, 6, seed) for seed in range(2)], tmp_path)
    changed = {name for name in moved(before, weights(module)) if "towers.middle" in name}
    assert changed
    assert all("blocks.1" in name or "head" in name for name in changed)


def test_more_blocks_than_there_are_cannot_be_unfrozen(tmp_path):
    module = BindModule(plain_space(left=Left(tune=Tune(freeze=True, unfreeze_last=3))), STAR, steps=1)
    with pytest.raises(UserError, match=r"modality.left.tune.unfreeze_last=3: its encoder has 2 blocks"):
        fit(module, [plain_batch(ALL, 6)], tmp_path)


def test_biases_norms_and_temperatures_do_not_decay():
    module = BindModule(plain_space(), STAR, steps=1)
    groups = module.configure_optimizers()["optimizer"].param_groups
    for group in groups:
        assert (group["weight_decay"] > 0) == all(p.ndim > 1 for p in group["params"])
    scale = module.space.temperatures["middle-left"].log_scale
    assert any(p is scale for group in groups for p in group["params"])


def test_a_modality_has_its_own_learning_rate():
    module = BindModule(plain_space(right=Right(tune=Tune(lr=0.1))), STAR, steps=1, optim=OptimSettings(lr=1.0), lr=0.5)
    groups = module.configure_optimizers()["optimizer"].param_groups
    rates = {}
    for group in groups:
        for name, parameter in module.named_parameters():
            if any(parameter is p for p in group["params"]):
                rates[name] = group["initial_lr"]
    assert rates["space.towers.right.head.1.weight"] == pytest.approx(0.05)
    assert rates["space.towers.left.head.1.weight"] == pytest.approx(0.5)


def test_a_fixed_temperature_stays_and_a_learned_one_keeps_its_minimum(tmp_path):
    pairs = [Pair(["middle", "left"], temperature=0.3, learned=False), Pair(["middle", "right"], temperature=0.101)]
    loss, optim = InfoNceConfig(min_temperature=0.1), OptimSettings(lr=0.5)
    module = BindModule(plain_space(), pairs, steps=8, loss=loss, optim=optim)
    batches = [plain_batch(ALL, 6)] * 8
    fit(module, batches, tmp_path)
    assert float(1 / module.space.logit_scale("middle", "left").detach()) == pytest.approx(0.3)
    assert float(1 / module.space.logit_scale("right", "middle").detach()) >= 0.1 - 1e-6


def test_the_ledger_hears_of_gradient_and_of_nothing_else(tmp_path):
    pairs = [STAR[0], Pair(["middle", "right"], weight=0.0)]
    module = BindModule(plain_space(), pairs, steps=2)
    fit(module, [plain_batch(ALL, 6, seed) for seed in range(2)], tmp_path)
    ledger = module.space.ledger
    assert ledger.status("middle", "left") == "trained"
    assert ledger.status("middle", "right") == "unlinked"
    digests = plain_batch(ALL, 6, 1).digests
    assert ledger.overlap("left", digests["left"].numpy()) == 6
    assert ledger.overlap("right", digests["right"].numpy()) == 0


def test_a_star_of_disjoint_events_is_emergent_and_one_of_whole_events_is_bridged(tmp_path):
    left_only, right_only = {"middle": [0, 1, 2], "left": [0, 1, 2]}, {"middle": [3, 4, 5], "right": [3, 4, 5]}
    batches = [plain_batch(left_only, 6), plain_batch(right_only, 6)]
    star = fit(BindModule(plain_space(), STAR, steps=2), batches, tmp_path)
    assert star.space.ledger.status("left", "right") == "emergent"
    full = fit(BindModule(plain_space(), STAR, steps=1), [plain_batch(ALL, 6)], tmp_path)
    assert full.space.ledger.status("left", "right") == "bridged"


def test_a_batch_without_any_pair_does_not_stop_the_run(tmp_path):
    module = BindModule(plain_space(), STAR, steps=2)
    fit(module, [plain_batch({"left": [0, 1]}, 2), plain_batch(ALL, 6)], tmp_path)
    assert module.space.ledger.trained_pairs()


def test_it_goes_into_a_trainer_of_ones_own_with_gradient_accumulation(tmp_path):
    module = BindModule(plain_space(), STAR, steps=2)
    quiet_trainer(2, tmp_path, accumulate_grad_batches=2).fit(
        module, datamodule=ByHand([[plain_batch(ALL, 6, seed) for seed in range(4)]])
    )
    assert module.space.ledger.status("middle", "right") == "trained"
