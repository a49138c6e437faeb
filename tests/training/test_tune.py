"""Fine-tuning: adapters, rates by layer, what a checkpoint holds, and what a space is saved as."""

import dataclasses
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from plain import ByHand, Encoder, Left, Middle, Right, plain_batch, plain_space, quiet_trainer
from torch import nn

from bindspace.contract import registry
from bindspace.contract.errors import UserError
from bindspace.contract.modality import Lora, Tune
from bindspace.modules.adapters import add_adapters, has_adapters, merge_adapters
from bindspace.modules.trunks import conv_trunk, vit_trunk
from bindspace.settings.run import OptimSettings, Pair
from bindspace.space.merging import plain_state
from bindspace.space.space import Space, Tower
from bindspace.training import BindModule
from bindspace.training.callbacks import KeepBest, SaveLast
from bindspace.training.freezing import always_frozen, set_trainable, tensor_hashes
from bindspace.training.groups import layer_factors

PAIRS = [Pair(["middle", "left"]), Pair(["middle", "right"])]
ALL = {name: list(range(6)) for name in ("middle", "left", "right")}
LORA = Tune(lora=Lora(rank=2, alpha=4.0))


def batches(first: int, last: int):
    return [plain_batch(ALL, 6, seed) for seed in range(first, last)]


def fit(module, first, last, tmp_path, path=None, **changes):
    """Trains the steps from `first` to before `last`; Lightning wants a loader as long as if it had begun at 0."""
    trainer = quiet_trainer(last, tmp_path, **changes)
    trainer.fit(module, datamodule=ByHand([batches(first, last + first)]), ckpt_path=path, weights_only=True)
    return module


def state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def moved(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


class Attending(nn.Module):
    """Attention with packed projections, a linear layer, a plain convolution and a grouped one."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.last = nn.Linear(8, 8)
        self.near = nn.Conv1d(8, 8, 3, padding=1)
        self.each = nn.Conv1d(8, 8, 3, padding=1, groups=8)

    def forward(self, x_BND):
        x_BND = x_BND + self.attention(x_BND, x_BND, x_BND, need_weights=False)[0]
        return self.last(self.each(self.near(x_BND.mT)).mT).mean(1)


def learned(encoder: nn.Module) -> nn.Module:
    """As if the adapters had been trained."""
    torch.manual_seed(3)
    for name, parameter in encoder.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.2)
    return encoder


CASES = {
    "linear layers": (lambda: Encoder(6), (3, 4)),
    "a CNN": (lambda: conv_trunk(2, (4, 8), 4, 6), (3, 2, 16, 16)),
    "a ViT": (lambda: vit_trunk(1, 16, 8, 8, depth=2, heads=2), (3, 1, 16, 16)),
    "packed attention": (Attending, (3, 5, 8)),
}


@pytest.mark.parametrize(("build", "shape"), CASES.values(), ids=CASES)
def test_adapters_change_nothing_at_first_and_merge_into_what_they_learned(build, shape):
    torch.manual_seed(0)
    encoder, x = build().eval(), torch.randn(shape)
    before, names = encoder(x), set(encoder.state_dict())
    add_adapters(encoder, Lora(rank=2, alpha=4.0), "here")
    torch.testing.assert_close(encoder(x), before, rtol=0, atol=1e-6)
    assert {name for name, p in encoder.named_parameters() if p.requires_grad} == {
        name for name in encoder.state_dict() if "lora_" in name
    }
    after = learned(encoder)(x)
    assert (after - before).abs().max() > 1e-3
    merge_adapters(encoder)
    torch.testing.assert_close(encoder(x), after, rtol=0, atol=1e-5)
    assert set(encoder.state_dict()) == names
    assert not has_adapters(encoder)


def test_a_linear_layer_is_the_sum_that_the_paper_writes():
    torch.manual_seed(0)
    encoder, x = Encoder(6), torch.randn(3, 4)
    weight, bias = encoder.blocks[0].weight.detach().clone(), encoder.blocks[0].bias.detach()
    add_adapters(encoder, Lora(rank=2, alpha=6.0, targets=["blocks.0"]), "here")
    layer = learned(encoder).blocks[0]
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    assert (a.shape, b.shape) == ((2, 4), (5, 2))
    torch.testing.assert_close(layer(x), x @ (weight + 6.0 / 2 * b @ a).T + bias)
    merge_adapters(encoder)
    torch.testing.assert_close(encoder.blocks[0].weight, weight + 3 * b @ a)


def test_a_target_is_the_end_of_a_layers_name():
    encoder = vit_trunk(1, 16, 8, 8, depth=2, heads=2)
    add_adapters(encoder, Lora(rank=2, targets=["qkv", "1.mlp.fc1"]), "here")
    adapted = {name.partition(".lora_A")[0] for name in encoder.state_dict() if "lora_A" in name}
    assert adapted == {"vit.blocks.0.attn.qkv", "vit.blocks.1.attn.qkv", "vit.blocks.1.mlp.fc1"}


def test_layers_that_take_no_useful_adapter_are_left_out():
    encoder = Attending()
    add_adapters(encoder, Lora(rank=2), "here")
    adapted = {name.partition(".lora_A")[0] for name in encoder.state_dict() if "lora_A" in name}
    assert adapted == {"attention", "last", "near"}


@pytest.mark.parametrize(
    ("encoder", "lora", "sentence"),
    [
        (
            lambda: vit_trunk(1, 16, 8, 8, depth=1, heads=2),
            Lora(rank=2, targets=["qkv", "projj"]),
            r"here.targets: unknown layer 'projj': did you mean 'proj'\? \(available: fc1, fc2, proj, qkv\)",
        ),
        (
            lambda: nn.EmbeddingBag(4, 4),
            Lora(rank=2),
            r"its encoder has no layer that supports an adapter: set here.rank=0",
        ),
        (Attending, Lora(rank=2, dropout=0.1), r"here.dropout=0.1: attention has its projections in one tensor"),
        (Attending, Lora(rank=2, targets=["each"]), r"here.targets: unknown layer 'each'.*attention, last, near\)"),
    ],
)
def test_what_cannot_be_adapted_is_one_sentence(encoder, lora, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        add_adapters(encoder(), lora, "here")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("tune", "sentence"),
    [
        (Tune(unfreeze_last=1), r"here.unfreeze_last=1 has no effect: add here.freeze=true"),
        (Tune(freeze=True, lora=Lora(rank=2)), r"here.freeze=true would freeze the adapters"),
        (Tune(layer_decay=1.5), r"here.layer_decay: expected more than 0 and at most 1, got 1.5"),
        (Tune(lora=Lora(rank=-1)), r"here.lora.rank: expected 0 or more, got -1"),
        (Tune(lora=Lora(dropout=1.0)), r"here.lora.dropout: expected a share from 0 to below 1, got 1.0"),
        (Tune(lora=Lora(targets=[])), r"here.lora.targets: expected null, or at least one name"),
    ],
)
def test_settings_that_make_no_sense_are_named(tune, sentence):
    with pytest.raises(UserError, match=sentence):
        tune.check("here")


def test_without_peft_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"needs peft .*pip install 'bindspace\[lora\]'"):
        add_adapters(Encoder(6), Lora(rank=2), "here")


# --- in training


def test_adapters_and_head_are_trained_and_the_base_is_proved_to_stand_still(tmp_path):
    module = BindModule(plain_space(left=Left(tune=LORA)), PAIRS, steps=3)
    before = state(module)
    fit(module, 0, 3, tmp_path)
    changed = {name for name in moved(before, state(module)) if "towers.left" in name}
    assert {name for name in changed if "lora_" in name} == {name for name in before if "lora_" in name}
    assert all("lora_" in name or ".head." in name for name in changed)
    assert {"left.encoder.blocks.0.base_layer.weight", "left.encoder.blocks.1.base_layer.bias"} <= set(module._before)


def test_a_base_that_moves_under_its_adapter_stops_the_run(tmp_path):
    module = BindModule(plain_space(left=Left(tune=LORA)), PAIRS, steps=1)

    def nudge(*_):
        with torch.no_grad():
            module.space.towers["left"].encoder.blocks[0].base_layer.weight[0, 0] += 1e-6

    module.on_after_backward = nudge
    with pytest.raises(
        RuntimeError, match=r"changed during training: left.encoder.blocks.0.base_layer.weight \(1 in all"
    ):
        fit(module, 0, 1, tmp_path)


def test_only_dropout_of_adapters_is_in_training_mode_within_a_base():
    space = plain_space(left=Left(tune=Tune(lora=Lora(rank=2, dropout=0.5))))
    BindModule(space, PAIRS, steps=1).train()
    encoder = space.towers["left"].encoder
    moving = {name for name, part in encoder.named_modules() if part.training}
    assert {"blocks.0.lora_dropout.default", "blocks.1.lora_dropout.default"} <= moving
    assert all("lora_" in name for name in moving)


def test_a_tower_that_stands_still_in_a_stage_gets_no_adapter_and_keeps_one_it_has():
    space = plain_space(left=Left(tune=LORA))
    BindModule(space, PAIRS, steps=1, freeze=["left"])
    assert not has_adapters(space.towers["left"].encoder)
    BindModule(space, PAIRS, steps=1)
    module = BindModule(space, PAIRS, steps=1, freeze=["left"])
    module.setup("fit")
    assert has_adapters(space.towers["left"].encoder)
    assert not any(p.requires_grad for p in space.towers["left"].parameters())


def test_a_saved_state_has_the_adapters_merged_and_leaves_the_space_as_it_is(tmp_path):
    space = plain_space(left=Left(tune=LORA))
    names = set(space.state_dict())
    fit(BindModule(space, PAIRS, steps=3, optim=OptimSettings(lr=0.05)), 0, 3, tmp_path)
    x = {name: torch.randn(5, 4) for name in ALL}
    z = space.encode(**x)
    merged = plain_state(space)
    assert has_adapters(space.towers["left"].encoder)
    again = plain_space(seed=9, left=Left(tune=LORA))
    assert {name for name in merged if not name.startswith("temperatures")} == names
    again.load_state_dict({name: value for name, value in merged.items() if name in names})
    for name, vectors in again.encode(**x).items():
        torch.testing.assert_close(vectors, z[name], rtol=0, atol=1e-5)


def test_where_adapters_begin_depends_on_the_seed_alone():
    def begin(seed, burnt):
        space = plain_space(left=Left(tune=LORA))
        torch.randn(burnt)
        return {
            name: p for name, p in BindModule(space, PAIRS, steps=1, seed=seed).named_parameters() if "lora_A" in name
        }

    one, same, other = begin(1, 0), begin(1, 7), begin(2, 0)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)


def test_adapters_are_trained_in_bf16_beside_a_base_that_stands_still(tmp_path):
    module = BindModule(plain_space(left=Left(tune=LORA)), PAIRS, steps=2)
    before = state(module)
    fit(module, 0, 2, tmp_path, precision="bf16-mixed")
    changed = moved(before, state(module))
    assert any("lora_B" in name for name in changed)
    assert not any("base_layer" in name for name in changed)
    assert all(tensor.dtype != torch.bfloat16 for tensor in module.state_dict().values())


@pytest.mark.parametrize("name", ["image", "text", "audio", "depth", "thermal", "imu"])
@pytest.mark.parametrize("size", ["tiny", "base"])
def test_every_encoder_of_the_tree_takes_adapters_partial_freezing_and_rates(name, size):
    kind = registry.load(name)
    settings = kind.sizes.get(size, {})
    if size == "base":  # the same parts, smaller
        small = {"width": 24, "layers": 2, "heads": 2, "channels": 16, "image_size": 32}
        known = {field.name for field in dataclasses.fields(kind)}
        settings = settings | {key: value for key, value in small.items() if key in settings and key in known}
    config = kind(**settings)
    rng = np.random.default_rng(0)
    batch = config.prepare([config.read(*config.example(rng, i)) for i in range(3)], seeds=[1, 2, 3], augment="none")
    torch.manual_seed(0)
    space = Space({name: config}, 8, name).eval()
    tower = space.towers[name]
    before = space.encode(**{name: batch})[name]
    if blocks := len(tower.encoder.blocks):
        config.tune = Tune(freeze=True, unfreeze_last=1)
        set_trainable(space, [])
        free = {parameter for parameter in tower.parameters() if parameter.requires_grad}
        assert free == {*tower.encoder.blocks[-1].parameters(), *tower.head.parameters()}
        rates = sorted(set(layer_factors(name, tower, 0.5).values()))
        assert rates[0] == 0.5 ** (blocks + 1)
        assert rates[-1] == 1.0
        assert len(rates) == blocks + 2
    add_adapters(tower.encoder, Lora(rank=2), "here")
    torch.testing.assert_close(space.encode(**{name: batch})[name], before, rtol=0, atol=1e-6)
    learned(tower.encoder)
    after = space.encode(**{name: batch})[name]
    assert (after - before).abs().max() > 1e-4
    merge_adapters(tower.encoder)
    torch.testing.assert_close(space.encode(**{name: batch})[name], after, rtol=0, atol=1e-5)


# --- rates by layer


def rates(module):
    groups = module.configure_optimizers()["optimizer"].param_groups
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return {
        names[id(p)].removeprefix("space.towers."): group["initial_lr"] for group in groups for p in group["params"]
    }


def test_a_block_learns_slower_than_the_one_above_it():
    space = plain_space(left=Left(tune=Tune(layer_decay=0.5, lr=0.1)))
    found = rates(BindModule(space, PAIRS, steps=1, optim=OptimSettings(lr=1.0)))
    for name, rate in {
        "left.encoder.blocks.0.weight": 0.025,
        "left.encoder.blocks.0.bias": 0.025,
        "left.encoder.blocks.1.weight": 0.05,
        "left.head.0.weight": 0.1,
        "left.head.1.weight": 0.1,
        "right.encoder.blocks.0.weight": 1.0,
    }.items():
        assert found[name] == pytest.approx(rate), name


class Deep(nn.Module):
    """A stem, two blocks with something between them, and something after."""

    def __init__(self):
        super().__init__()
        self.stem, self.one = nn.Linear(2, 2), nn.Linear(2, 2)
        self.between, self.two, self.last = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)

    @property
    def blocks(self):
        return [self.one, self.two]


def test_the_stem_is_lowest_and_what_comes_after_the_blocks_goes_with_the_head():
    tower = Tower.__new__(Tower)
    nn.Module.__init__(tower)
    tower.encoder, tower.head = Deep(), nn.Linear(2, 2)
    factors = layer_factors("deep", tower, 0.5)
    names = {name.rpartition(".")[0]: factors[p] for name, p in tower.named_parameters()}
    assert names == {
        "encoder.stem": 0.125, "encoder.one": 0.25, "encoder.between": 0.5, "encoder.two": 0.5, "encoder.last": 1.0,
        "head": 1.0,
    }  # fmt: skip


def test_an_adapter_learns_at_the_rate_of_its_layer():
    space = plain_space(left=Left(tune=Tune(layer_decay=0.5, lora=Lora(rank=2))))
    found = rates(BindModule(space, PAIRS, steps=1, optim=OptimSettings(lr=1.0)))
    assert found["left.encoder.blocks.0.lora_A.default.weight"] == pytest.approx(0.25)
    assert found["left.encoder.blocks.1.lora_B.default.weight"] == pytest.approx(0.5)
    assert not any("left" in name and "base_layer" in name for name in found)


def test_a_decay_over_an_encoder_without_blocks_is_refused():
    tower = Tower.__new__(Tower)
    nn.Module.__init__(tower)
    tower.encoder, tower.head = nn.Linear(2, 2), nn.Linear(2, 2)
    with pytest.raises(UserError, match=r"modality.flat.tune.layer_decay=0.5: its encoder has no blocks"):
        layer_factors("flat", tower, 0.5)


def test_every_parameter_is_in_one_group():
    space = plain_space(left=Left(tune=Tune(layer_decay=0.7)), right=Right(tune=LORA))
    module = BindModule(space, PAIRS, steps=1)
    optimizer = module.configure_optimizers()["optimizer"]
    inside = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(inside) == len({id(p) for p in inside}) == sum(p.requires_grad for p in module.parameters())
    assert all(math.isfinite(group["lr"]) for group in optimizer.param_groups)


# --- checkpoints


def from_file(**settings):
    """A space whose left tower counts as read from a file."""
    return plain_space(left=Left(weights="left.safetensors", tune=Tune(**settings)))


def module_of(space, given=None):
    return BindModule(space, PAIRS, steps=4, seed=5, rebuilt=given)


def given_of(space):
    BindModule(space, PAIRS, steps=4, seed=5)
    return tensor_hashes(always_frozen(space, [set()]))


@pytest.mark.parametrize(
    "settings", [{"lora": Lora(rank=2, dropout=0.3)}, {"freeze": True}, {"freeze": True, "unfreeze_last": 1}]
)
def test_what_is_read_from_a_file_and_stands_still_is_left_out_and_resuming_changes_nothing(tmp_path, settings):
    path = tmp_path / "last.ckpt"
    whole = fit(module_of(from_file(**settings)), 0, 4, tmp_path)
    stopped = from_file(**settings)
    given = given_of(stopped)
    callbacks = [SaveLast(path, every=2, stage=0)]
    fit(module_of(stopped, given), 0, 2, tmp_path, callbacks=callbacks)
    saved = torch.load(path, weights_only=True)
    left_out = set(whole.state_dict()) - set(saved["state_dict"])
    assert left_out == {f"space.towers.{name}" for name in given} == set(saved["rebuilt"])
    assert len(left_out) == {True: 2}.get("unfreeze_last" in settings, 4)
    resumed = from_file(**settings)
    fit(module_of(resumed, given_of(resumed)), 2, 4, tmp_path, path)
    assert not moved(whole.state_dict(), resumed_state(resumed))


def resumed_state(space):
    return {f"space.{name}": value for name, value in space.state_dict().items()}


def test_another_file_than_the_run_began_with_is_refused(tmp_path):
    path = tmp_path / "last.ckpt"
    space = from_file(freeze=True)
    fit(module_of(space, given_of(space)), 0, 2, tmp_path, callbacks=[SaveLast(path, every=2, stage=0)])
    other = from_file(freeze=True)
    with torch.no_grad():
        other.towers["left"].encoder.blocks[1].bias += 1e-6
    sentence = r"modality.left: expected the weights that this run began with, got others from left.safetensors "
    with pytest.raises(UserError, match=sentence + r"\(encoder.blocks.1.bias\): restore the old ones"):
        fit(module_of(other, given_of(other)), 2, 4, tmp_path, path)


def test_what_an_earlier_stage_trained_stays_in_the_checkpoint():
    space = from_file()
    assert always_frozen(space, [set(), {"left"}]) == {}
    assert set(always_frozen(space, [{"left"}, {"left", "right"}])) == {
        name for name in space.towers.state_dict() if name.startswith("left.encoder")
    }


def test_only_what_comes_from_a_file_is_left_out():
    space = plain_space(middle=Middle(tune=Tune(freeze=True)))
    assert always_frozen(space, [{"middle"}]) == {}
    whole = {name for name in space.towers.state_dict() if name.startswith("middle.")}
    assert set(always_frozen(space, [{"middle"}], loaded=["middle"])) == whole


def test_the_best_weights_so_far_leave_out_the_same_and_go_back_into_place():
    space = from_file(freeze=True)
    module = module_of(space, given_of(space))
    best = KeepBest("val/r")
    best.on_validation_end(SimpleNamespace(callback_metrics={"val/r": 0.5}), module)
    kept = best.state_dict()["weights"]
    assert set(space.state_dict()) - set(kept) == {f"towers.{name}" for name in module.rebuilt} != set()
    before = state(module)
    with torch.no_grad():
        space.towers["right"].encoder.blocks[0].bias += 1
    best.on_train_end(SimpleNamespace(global_step=1), module)
    assert not moved(before, state(module))
    assert module.space.ledger.summary()["selected_on"] == ["val/r"]
