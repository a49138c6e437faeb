"""Trunks that plugins share, and loading weights that somebody else saved."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from bindspace.contract.errors import UserError
from bindspace.modules.trunks import _mean_cells, conv_trunk, load_weights, vit_trunk


@pytest.mark.parametrize("shape", [(64, 64), (80, 151), (32, 48)])
def test_the_cnn_takes_any_height_and_width(shape: tuple[int, int]) -> None:
    assert conv_trunk(2, (8, 16), 4, 24)(torch.rand(3, 2, *shape)).shape == (3, 24)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [(8, 8), (8, 25), (9, 8), (4, 13), (2, 3)])
def test_the_mean_over_cells_has_the_bits_of_adaptive_pooling(size: tuple[int, int], dtype: torch.dtype) -> None:
    x, y = (torch.rand(2, 5, *size).to(dtype).requires_grad_() for _ in range(2))
    y.data.copy_(x.data)
    found, expected = _mean_cells(x, (4, 5)), F.adaptive_avg_pool2d(y, (4, 5))
    weights = torch.rand(expected.shape)
    (found.float() * weights).sum().backward()
    (expected.float() * weights).sum().backward()
    assert torch.equal(found, expected)
    assert torch.equal(x.grad, y.grad)


def test_the_cnn_lists_its_residual_blocks_from_input_to_output() -> None:
    trunk = conv_trunk(3, (8, 16, 24), 4, 24, depth=2)
    assert [block.first.in_channels for block in trunk.blocks] == [16, 16, 24, 24]


def test_a_vit_takes_an_oblong_input_in_oblong_patches() -> None:
    trunk = vit_trunk(1, (32, 48), (16, 8), 24, depth=2, heads=2)
    assert trunk.tokens(torch.rand(2, 1, 32, 48)).shape == (2, 1 + 2 * 6, 24)


def test_a_vit_that_does_not_divide_is_refused_with_one_that_does() -> None:
    with pytest.raises(UserError, match=r"whole patches, got 50 for patch 16: choose a multiple, e.g. 64"):
        vit_trunk(3, 50, 16)
    with pytest.raises(UserError, match=r"got width 100 for heads 3: choose a multiple, e.g. 102"):
        vit_trunk(3, 64, 16, 100, heads=3)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "checkpoint.pt"])
def test_weights_come_back_from_either_kind_of_file(tmp_path: Path, name: str) -> None:
    saved, loaded = conv_trunk(1, (4, 8), 4, 8), conv_trunk(1, (4, 8), 4, 8)
    state = saved.state_dict()
    if name.endswith(".safetensors"):
        save_file(state, tmp_path / name)
    else:
        torch.save({"state_dict": state} if name.startswith("checkpoint") else state, tmp_path / name)
    load_weights(loaded, tmp_path / name)
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())


def test_a_vit_takes_its_own_file_and_one_of_timms_with_its_classifier(tmp_path: Path) -> None:
    from timm.models.vision_transformer import VisionTransformer

    timms = VisionTransformer(img_size=32, patch_size=16, embed_dim=16, depth=1, num_heads=2, num_classes=5)
    save_file(timms.state_dict(), tmp_path / "timm.safetensors")
    trunk = vit_trunk(3, 32, 16, 16, depth=1, heads=2)
    load_weights(trunk, tmp_path / "timm.safetensors")
    picture = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(
        trunk.eval()(picture), timms.eval().forward_head(timms.forward_features(picture), pre_logits=True)
    )
    save_file(trunk.state_dict(), tmp_path / "own.safetensors")
    load_weights(trunk, tmp_path / "own.safetensors")


def test_weights_of_another_shape_or_model_are_named(tmp_path: Path) -> None:
    save_file(conv_trunk(1, (4, 8), 4, 8).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(
        UserError, match=r"w.safetensors holds \S+ with shape \(4, 1, 4, 4\), this model needs \(6, 1, 4, 4\)"
    ):
        load_weights(conv_trunk(1, (6, 8), 4, 8), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"weights of another model \(bias is missing, .*\): check `weights`"):
        load_weights(torch.nn.Linear(2, 2), tmp_path / "w.safetensors")


class Hostile:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("hostile",)


def test_a_hostile_damaged_or_missing_file_of_weights_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"w": Hostile()}, "hostile.pt")
    Path("pickle.pt").write_bytes(pickle.dumps(Hostile()))
    Path("damaged.safetensors").write_bytes(b"no such thing")
    Path("damaged.pt").write_bytes(b"no such thing")
    Path("empty.pt").touch()
    for name in ("hostile.pt", "pickle.pt", "damaged.safetensors", "damaged.pt", "empty.pt"):
        with pytest.raises(UserError, match="neither a safetensors file nor a torch file of tensors only"):
            load_weights(torch.nn.Linear(2, 2), name)
    assert not Path("hostile").exists()
    torch.save([1, 2], "list.pt")
    with pytest.raises(UserError, match="holds no state dict"):
        load_weights(torch.nn.Linear(2, 2), "list.pt")
    with pytest.raises(UserError, match=r"there is none at gone.pt: check the path"):
        load_weights(torch.nn.Linear(2, 2), "gone.pt")
