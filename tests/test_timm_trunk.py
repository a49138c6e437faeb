"""timm's networks as trunks: by name, with a local file of weights, and never anything from elsewhere."""

import json
import re
import socket

import pytest
import timm
import torch
from safetensors.torch import save_file

import bindspace
from bindspace.contract.errors import UserError
from bindspace.modules.picture_config import Trunk
from bindspace.modules.timm_trunk import TimmTrunk
from bindspace.space.space import Space
from bindspace_audio import AudioConfig
from bindspace_depth import DepthConfig
from bindspace_image import MEAN, STD, ImageConfig
from bindspace_thermal import ThermalConfig

RESNET, VIT, CONVNEXT = "test_resnet", "test_vit", "test_convnext"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Whoever opens a connection fails the test."""

    def refuse(*_):
        raise AssertionError("something wants to connect")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def file(tmp_path):
    """A file of weights as timm saves it, with its classifier: `file(name)`, and the network."""

    def make(name: str, **settings):
        torch.manual_seed(1)
        network = timm.create_model(name, num_classes=5, **settings).eval()
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
        save_file(network.state_dict(), tmp_path / f"{name}.safetensors")
        return str(tmp_path / f"{name}.safetensors"), network

    return make


def loaded(config) -> TimmTrunk:
    """The encoder with its file, whose classifier is left out with a word."""
    with pytest.warns(
        UserWarning, match=r"left out its classifier \([\w.]+\.bias, .*\), which the head of the space replaces"
    ):
        return config.encoder(pretrained=True).eval()


def timms_features(network, pictures):
    """What the network itself gives before its classifier, for pictures in 0..1."""
    mean, std = (torch.tensor(network.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    features = network.forward_features((pictures - mean) / std)
    return network.forward_head(features, pre_logits=True)


@pytest.mark.parametrize("name", [RESNET, VIT, CONVNEXT])
@torch.no_grad()
def test_a_picture_gets_the_features_that_timm_gives_it(name, file):
    path, network = file(name)
    config = ImageConfig(trunk=Trunk.timm, model=name, weights=path, image_size=160)
    pictures = torch.rand(2, 3, 160, 160)
    ours = (pictures - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    torch.testing.assert_close(loaded(config)(ours), timms_features(network, pictures), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_other_channels_are_adapted_as_timm_does(file):
    path, network = file(RESNET)
    kernel = network.conv1[0].weight if isinstance(network.conv1, torch.nn.Sequential) else network.conv1.weight
    for config, expected in [
        (ThermalConfig, torch.cat([kernel[:, :1], kernel[:, 1:2]], 1) * 3 / 2),
        (DepthConfig, kernel),
        (AudioConfig, kernel.sum(1, keepdim=True)),
    ]:
        trunk = loaded(config(trunk=Trunk.timm, model=RESNET, weights=path))
        first = next(module for module in trunk.modules() if isinstance(module, torch.nn.Conv2d))
        torch.testing.assert_close(first.weight, expected)


@torch.no_grad()
def test_measurements_keep_the_preparation_of_their_plugin(file):
    path, network = file(RESNET)
    trunk = loaded(DepthConfig(trunk=Trunk.timm, model=RESNET, weights=path))
    pixels = torch.randn(2, 3, 48, 48)
    expected = network.forward_head(network.forward_features(pixels), pre_logits=True)
    torch.testing.assert_close(trunk(pixels), expected)


def test_positions_of_a_transformer_are_stretched_to_another_size(file):
    path, network = file(VIT)
    trunk = loaded(ImageConfig(trunk=Trunk.timm, model=VIT, weights=path, image_size=64))
    assert trunk.model.pos_embed.shape[1] < network.pos_embed.shape[1]
    torch.testing.assert_close(trunk.model.blocks[0].attn.qkv.weight, network.blocks[0].attn.qkv.weight)


@torch.no_grad()
@pytest.mark.parametrize("name", [RESNET, VIT])
def test_a_spectrogram_goes_in_as_a_grey_picture_of_whole_cells(name):
    config = AudioConfig(trunk=Trunk.timm, model=name)
    encoder = config.encoder(pretrained=True).eval()
    assert encoder.sides == (64, 128)  # 101 frames
    assert encoder(torch.randn(3, 1, 64, 101), torch.tensor([101, 50, 7])).shape == (3, config.width)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        (VIT, 6), (RESNET, 4), (CONVNEXT, 4), ("regnetx_002", 4), ("efficientnet_b0", 7),
        ("swin_tiny_patch4_window7_224", 4), ("densenet121", 0),
    ],
)  # fmt: skip
def test_blocks_are_those_of_a_transformer_and_the_stages_of_a_cnn(name, count):
    with torch.device("meta"):
        trunk = TimmTrunk(name, 3, 224)
    assert len(trunk.blocks) == count
    assert sum(p.numel() for block in trunk.blocks for p in block.parameters()) <= sum(
        p.numel() for p in trunk.parameters()
    )


def test_the_width_follows_the_network_and_is_saved_with_the_space(file, tmp_path):
    path, _ = file(RESNET)
    config = ImageConfig(trunk=Trunk.timm, model=RESNET, weights=path, width=7)
    with pytest.warns(UserWarning, match="left out its classifier"):
        space = Space({"image": config}, 8, "image", pretrained=True).eval()
    assert config.width == 96
    bindspace.save(space, tmp_path / "space")
    (tmp_path / "test_resnet.safetensors").unlink()
    again = bindspace.load(tmp_path / "space")
    pixels = torch.randn(2, 3, 64, 64)
    assert torch.equal(again.encode(image=pixels)["image"], space.encode(image=pixels)["image"])
    assert again.configs["image"].weights is None


def test_a_file_of_the_trunks_own_comes_back(tmp_path):
    trunk = ImageConfig(trunk=Trunk.timm, model=RESNET).encoder(pretrained=True)
    save_file(trunk.state_dict(), tmp_path / "own.safetensors")
    again = ImageConfig(trunk=Trunk.timm, model=RESNET, weights=str(tmp_path / "own.safetensors"))
    encoder = again.encoder(pretrained=True)
    assert all(torch.equal(value, trunk.state_dict()[name]) for name, value in encoder.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": "resnet81"}, r"unknown timm model 'resnet81': the closest are resnet\w+, .*lists them"),
        ({"model": "resnet18.imagenet"}, r"unknown tag of timm's resnet18 'imagenet': .*available: a1_in1k"),
        ({"model": None}, r"trunk=timm needs the name of a network: add model=NAME"),
        ({"model": VIT, "image_size": 60}, r"whole patches, got 60 for patch 16: choose a multiple, e.g. 64"),
        ({"model": "densenet121", "image_size": 8}, r"timm's densenet121 does not support 3 channels of 8 x 8"),
        (
            {"model": RESNET, "trunk": Trunk.conv},
            r"model=test_resnet has no effect with trunk=conv: add",
        ),
        ({"model": RESNET, "weights": "gone.safetensors"}, r"there is none at gone.safetensors: check the path"),
    ],
)
def test_what_cannot_be_built_is_one_sentence(settings, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        ImageConfig(**({"trunk": Trunk.timm} | settings)).encoder(pretrained=True)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["hf-hub:timm/resnet18", "hf_hub:x/y", "local-dir:/tmp/x", "timm/resnet18", "../up", "A"]
)
def test_names_that_lead_elsewhere_are_never_followed(name):
    with pytest.raises(UserError, match=r"expected a plain name of timm's, .* hubs and folders are never followed"):
        TimmTrunk(name, 3, 64)


def refusal(model: str, path) -> str:
    """The sentence that a file of weights is refused with."""
    with pytest.raises(UserError) as error:
        ImageConfig(trunk=Trunk.timm, model=model, weights=str(path)).encoder(pretrained=True)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_weights_of_another_network_are_named(file, tmp_path):
    path, network = file(RESNET)
    said = refusal(VIT, path)
    assert re.search(r"another model than timm's test_vit \(.* is missing, .* has no place; \d+ missing and \d+", said)
    assert "does not fit timm's test_convnext" in refusal(CONVNEXT, path)
    state = network.state_dict()
    save_file({name: value for name, value in state.items() if name.startswith("fc.")}, tmp_path / "head.safetensors")
    assert "holds no weights beside a classifier" in refusal(RESNET, tmp_path / "head.safetensors")
    last = next(name for name in reversed(state) if name.startswith("layer4") and name.endswith("conv2.weight"))
    save_file(state | {last: torch.zeros(3, 3, 3, 3)}, tmp_path / "shape.safetensors")
    assert last in refusal(RESNET, tmp_path / "shape.safetensors")


def test_a_strangers_space_builds_no_more_than_its_weights_account_for(tmp_path):
    config = ImageConfig(trunk=Trunk.timm, model=RESNET)
    folder = bindspace.save(Space({"image": config}, 8, "image"), tmp_path / "space")
    description = json.loads((folder / "space.json").read_text())
    for model, reason in [
        ("vit_giant_patch14_dinov2", "far more memory than the weights in the file"),
        ("hf-hub:timm/resnet18", "hubs and folders are never followed"),
        (CONVNEXT, "has (no|a) tensor"),
    ]:
        description["modalities"]["image"]["settings"]["model"] = model
        (folder / "space.json").write_text(json.dumps(description))
        with pytest.raises(UserError, match=reason):
            bindspace.load(folder)
