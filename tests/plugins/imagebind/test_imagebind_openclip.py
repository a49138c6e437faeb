"""open_clip's ViT-H-14 is the image and text pair of ImageBind: its file gives the same vectors there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bindspace.contract.errors import UserError

open_clip = pytest.importorskip("open_clip")

from bindspace_imagebind.format import CONFIGS, ImagebindFormat, load_space, official  # noqa: E402
from bindspace_openclip.formats import OpenClipFormat  # noqa: E402

SIZES = {"image": {"channels": 32, "layers": 2, "heads": 2}, "text": {"channels": 48, "layers": 3, "heads": 3}}
MODEL = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 224, "patch_size": 14, "width": 32, "head_width": 16, "layers": 2},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 48, "heads": 3, "layers": 3},
}


@pytest.fixture
def file(tmp_path):
    """Weights of a small model of that architecture, known to open_clip as `small-h`."""
    (tmp_path / "small-h.json").write_text(json.dumps(MODEL))
    open_clip.add_model_config(tmp_path / "small-h.json")
    torch.manual_seed(0)
    model = open_clip.create_model("small-h")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, tmp_path / "h.safetensors")
    yield tmp_path / "h.safetensors"
    open_clip.factory._MODEL_CONFIG_PATHS.remove(tmp_path / "small-h.json")
    del open_clip.factory._MODEL_CONFIGS["small-h"]


def imported(path: Path, modalities=None):
    """What the format makes of the file, at the size of the small model."""
    return load_space(path, modalities, {name: CONFIGS[name](width=24, **size) for name, size in SIZES.items()})


def eps(space, value: float) -> None:
    """Sets what every LayerNorm adds."""
    for module in space.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = value


def test_the_same_weights_give_the_same_vectors_in_both_architectures(file):
    ours, theirs = imported(file).double(), OpenClipFormat(model="small-h").load(file, None).double()
    texts, pixels = ["a dog barks", "rain on a tin roof", "x " * 90], torch.rand(3, 3, 224, 224, dtype=torch.float64)
    ids = theirs.configs["text"].prepare(texts)["ids"]
    assert torch.equal(ours.configs["text"].prepare(texts)["inputs"], ids)
    for exact in (False, True):
        if exact:
            eps(ours, 1e-5)
        a, b = ours.features(image=pixels, text=ids), theirs.features(image=pixels, text=ids)
        for name in ("image", "text"):
            error = ((a[name] - b[name]).norm() / b[name].norm()).item()
            assert error < (1e-12 if exact else 1e-3), (name, error)
    assert ours.logit_scale("image", "text").item() == theirs.logit_scale("image", "text").item()
    assert ours.ledger.status("image", "text") == "declared-trained"
    assert [each["by"] for each in ours.ledger.declarations] == ["open_clip (h.safetensors)"]


def test_such_a_space_is_written_as_an_official_file_and_read_again(file, tmp_path):
    space = imported(file)
    torch.save(official(space), tmp_path / "official.pth")
    again = imported(tmp_path / "official.pth")
    for name, value in space.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_one_half_is_taken_and_what_the_file_lacks_is_named(file):
    assert imported(file, ["text"]).modalities == ["text"]
    with pytest.raises(UserError, match=r"has no tensors of audio \(available: image, text\)"):
        imported(file, ["audio"])
    with pytest.raises(UserError, match=r"not a complete ImageBind checkpoint of image|expected shape"):
        ImagebindFormat().load(file, ["image"])  # another size than ViT-H-14
