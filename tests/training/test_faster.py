"""Compiled, checkpointed and channels-last towers compute what plain ones do, and are plain again afterwards."""

from __future__ import annotations

import shutil

import pytest
import torch
from plain import Encoder, Left, plain_space
from torch import nn

from bindspace import ModalityConfig
from bindspace.contract.errors import UserError
from bindspace.modules.trunks import conv_trunk
from bindspace.settings.run import TrainerSettings
from bindspace.space.space import Space
from bindspace.training.acceleration import faster

NEEDS_COMPILER = pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")


class PixelsConfig(ModalityConfig):
    """Pictures (B, 3, 16, 16)."""

    modality = "pixels"
    expects = "pictures"

    def encoder(self, *, pretrained):
        return conv_trunk(3, (8, 16), 2, self.width)


def step(space, name, batch):
    """Vectors and gradients of one step."""
    space.zero_grad()
    z = space(name, batch)
    (z * torch.arange(z.numel()).view_as(z)).sum().backward()
    return z.detach(), {key: p.grad.clone() for key, p in space.towers[name].named_parameters()}


def assert_same(a, b, tolerance):
    for found, expected in zip([a[0], *a[1].values()], [b[0], *b[1].values()], strict=True):
        assert (found - expected).norm() <= tolerance * expected.norm()
        assert expected.norm() > 0


def pixels():
    torch.manual_seed(0)
    space = Space({"pixels": PixelsConfig(width=32)}, 8, "pixels")
    return space, {"pixels": torch.randn(4, 3, 16, 16)}


def test_checkpointed_blocks_give_the_same_bits_and_keep_less():
    space, batch = pixels()
    plain = step(space, "pixels", batch)
    kept: dict[bool, int] = dict.fromkeys((False, True), 0)
    for on in kept:

        def keep(tensor, on=on):
            kept[on] += tensor.numel()
            return tensor

        with (
            faster(space, TrainerSettings(checkpoint_activations=on), ["pixels"]),
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        ):
            space("pixels", batch)
    assert kept[True] < 0.8 * kept[False]
    with faster(space, TrainerSettings(checkpoint_activations=True), ["pixels"]):
        assert_same(step(space, "pixels", batch), plain, 0.0)
    assert not any("forward" in vars(block) for block in space.towers["pixels"].encoder.blocks)


def test_dropout_in_a_checkpointed_block_is_replayed():
    space = plain_space()
    space.towers["left"].encoder.blocks[0] = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5))
    batch = {"x": torch.randn(6, 4)}
    torch.manual_seed(1)
    plain = step(space, "left", batch)
    torch.manual_seed(1)
    with faster(space, TrainerSettings(checkpoint_activations=True), ["left"]):
        assert_same(step(space, "left", batch), plain, 0.0)


def test_channels_last_gives_the_same_within_rounding_and_leaves_plain_weights():
    space, batch = pixels()
    plain = step(space, "pixels", batch)
    with faster(space, TrainerSettings(channels_last=True), ["pixels"]):
        stem = space.towers["pixels"].encoder.stem
        assert stem.weight.is_contiguous(memory_format=torch.channels_last)
        seen = []
        handle = stem.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        assert_same(step(space, "pixels", batch), plain, 1e-5)
        handle.remove()
        assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert all(p.is_contiguous() for p in space.parameters())
    assert_same(step(space, "pixels", batch), plain, 0.0)


def test_a_fused_optimiser_moves_channels_last_weights_alike():
    moved = []
    for on in (False, True):
        space, batch = pixels()
        with faster(space, TrainerSettings(channels_last=on), ["pixels"]):
            optimizer = torch.optim.AdamW(space.parameters(), lr=1e-3, fused=True)
            for _ in range(3):
                step(space, "pixels", batch)
                optimizer.step()
        moved.append({name: p.detach().clone() for name, p in space.named_parameters()})
    for name, expected in moved[0].items():
        assert torch.allclose(moved[1][name], expected, atol=2e-4), name  # AdamW turns rounding of tiny gradients


@pytest.mark.parametrize(
    ("setting", "lacking"), [("checkpoint_activations", "encoder.blocks"), ("channels_last", "convolution")]
)
def test_a_setting_without_effect_warns(setting, lacking, monkeypatch):
    space = plain_space()
    space.towers["left"].encoder = nn.Linear(4, 6)
    with (
        pytest.warns(UserWarning, match=f"trainer.{setting} has no effect: no encoder of left has {lacking}"),
        faster(space, TrainerSettings(**{setting: True}), ["left"]),
    ):
        pass


def test_compile_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with (
        pytest.raises(UserError, match=r"trainer.compile needs a C\+\+ compiler on cpu, and there is no no-such-compi"),
        faster(plain_space(), TrainerSettings(compile=True), ["left"]),
    ):
        pass


@NEEDS_COMPILER
@pytest.mark.process
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_compiled_encoder_gives_the_same_within_rounding_under_the_same_names():
    space = plain_space(left=Left())
    assert isinstance(space.towers["left"].encoder, Encoder)
    batch = {"x": torch.randn(6, 4)}
    plain, names = step(space, "left", batch), list(space.state_dict())
    with faster(space, TrainerSettings(compile=True), ["left"]):
        assert space.towers["left"].encoder._compiled_call_impl is not None
        assert list(space.state_dict()) == names
        assert_same(step(space, "left", batch), plain, 1e-5)
    assert space.towers["left"].encoder._compiled_call_impl is None
    assert_same(step(space, "left", batch), plain, 0.0)
