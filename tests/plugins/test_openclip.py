"""open_clip's halves: the same pictures, ids and vectors as open_clip's own, from any kind of its weights."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from bindspace import BadSample
from bindspace.contract.errors import UserError
from bindspace.space.bundle import load, save
from bindspace.space.space import Space

open_clip = pytest.importorskip("open_clip")

from bindspace_openclip import OpenClipImageConfig, OpenClipTextConfig, models  # noqa: E402
from bindspace_openclip.formats import OpenClipFormat  # noqa: E402

TEXT = {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VISION = {"image_size": 48, "layers": 2, "width": 48, "head_width": 24, "patch_size": 16}
MODELS = {
    "tiny": {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT},
    "tiny-custom": {"embed_dim": 24, "custom_text": True, "init_logit_bias": -10, "nonscalar_logit_scale": True}
    | {"vision_cfg": {**VISION, "pool_type": "avg"}, "text_cfg": {**TEXT, "proj_bias": True, "pool_type": "last"}},
    "tiny-wide": {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": TEXT},
    "tiny-resnet": {"embed_dim": 24, "text_cfg": TEXT}
    | {"vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}},
    "tiny-timm": {"embed_dim": 24, "custom_text": True, "text_cfg": TEXT}
    | {"vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear", "image_size": 160}},
}
CAPTIONS = ["a photo of a dog", "Café &amp; caf\u00e9's 3 bells!", "one " * 40, "<end_of_text> after it"]


@pytest.fixture(scope="module", autouse=True)
def known(tmp_path_factory):
    """Small models beside open_clip's own."""
    folder = tmp_path_factory.mktemp("models")
    for name, config in MODELS.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    yield
    open_clip.factory._MODEL_CONFIG_PATHS.remove(folder)
    for name in MODELS:
        del open_clip.factory._MODEL_CONFIGS[name]


def original(name: str = "tiny", seed: int = 0, **more):
    """open_clip's own model with weights of that seed."""
    torch.manual_seed(seed)
    model = open_clip.create_model(name, **more).eval()
    with torch.no_grad():
        model.logit_scale.fill_(3.3)
    return model


@pytest.fixture
def file(tmp_path) -> Path:
    """The weights of `tiny`, as open_clip's converted checkpoints are."""
    path = tmp_path / "tiny.safetensors"
    save_file({name: value.contiguous() for name, value in original().state_dict().items()}, path)
    return path


@pytest.fixture
def pictures(tmp_path) -> list[Path]:
    """Pictures of several shapes and kinds: wide, high, small, grey, with a palette."""
    rng, paths = np.random.default_rng(0), []
    for number, (size, mode) in enumerate(
        [((120, 80), "RGB"), ((60, 140), "RGB"), ((30, 20), "RGB"), ((77, 77), "L"), ((90, 64), "P"), ((48, 48), "RGB")]
    ):
        noise = Image.fromarray(rng.integers(0, 255, (7, 9, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
        paths.append(tmp_path / f"{number}.png")
        noise.convert(mode).save(paths[-1])
    return paths


def both(name: str = "tiny", **settings) -> dict:
    """The configs of both halves."""
    return {"image": OpenClipImageConfig(model=name, **settings), "text": OpenClipTextConfig(model=name, **settings)}


# --- the same as open_clip


@pytest.mark.parametrize(
    "how", [{}, {"resize": "squash"}, {"resize": "longest"}, {"interpolation": "bilinear"}, {"mean": (0.5, 0.4, 0.3)}]
)
def test_pictures_are_prepared_exactly_as_by_open_clip(pictures, how):
    from bindspace_openclip import Interpolation, Resize

    kinds = {"resize": Resize, "interpolation": Interpolation, "mean": tuple}
    config = OpenClipImageConfig(model="tiny", **{key: kinds[key](value) for key, value in how.items()})
    theirs = {"image_resize_mode": how.get("resize"), "image_interpolation": how.get("interpolation")}
    _, _, transform = open_clip.create_model_and_transforms("tiny", image_mean=how.get("mean"), **theirs)
    expected = torch.stack([transform(Image.open(path).convert("RGB")) for path in pictures])
    assert torch.equal(config.prepare([config.read(path, {}) for path in pictures])["pixels"], expected)


def test_texts_get_the_ids_of_open_clip():
    config = OpenClipTextConfig(model="tiny")
    ids = config.prepare([config.read(text, {}) for text in CAPTIONS])["ids"]
    assert torch.equal(ids, open_clip.get_tokenizer("tiny")(CAPTIONS))
    assert torch.equal(ids, open_clip.tokenize(CAPTIONS, context_length=20))
    assert torch.equal(config.prepare(CAPTIONS, seeds=[0, 1, 2, 3], augment="strong")["ids"], ids)


@pytest.mark.parametrize("name", MODELS)
def test_vectors_are_those_of_open_clip(tmp_path, pictures, name):
    model = original(name)
    path = tmp_path / "weights.pt"
    torch.save(model.state_dict(), path)
    space = Space(both(name, weights=str(path)), MODELS[name]["embed_dim"], "image", pretrained=True).eval()
    pixels = space.configs["image"].prepare([space.configs["image"].read(path, {}) for path in pictures])["pixels"]
    ids = open_clip.get_tokenizer(name)(CAPTIONS)
    with torch.no_grad():
        image, text = model.encode_image(pixels, normalize=True), model.encode_text(ids, normalize=True)
    torch.testing.assert_close(space.encode(image=pixels)["image"], image, rtol=0, atol=1e-6)
    torch.testing.assert_close(space.embed(text=CAPTIONS)["text"], text, rtol=0, atol=1e-6)
    torch.testing.assert_close(space.embed(image=pictures)["image"], image, rtol=0, atol=1e-6)


def test_each_encoder_holds_its_own_half_and_shares_nothing(file):
    space = Space(both(weights=str(file)), 24, "image", pretrained=True)
    model = original()
    image, text = (sum(p.numel() for p in space.towers[name].parameters()) for name in ("image", "text"))
    assert image == sum(p.numel() for p in model.visual.parameters())
    assert image + text + 1 == sum(p.numel() for p in model.parameters())  # 1: logit_scale
    pointers = [p.data_ptr() for p in space.parameters()]
    assert len(set(pointers)) == len(pointers)


def test_tokens_lie_in_the_space_and_the_pooled_one_is_the_vector():
    torch.manual_seed(0)
    space = Space(both(), 24, "image").eval()
    pixels, ids = torch.rand(2, 3, 48, 48), open_clip.get_tokenizer("tiny")(CAPTIONS[:2])
    image, text = space.towers["image"].encoder, space.towers["text"].encoder
    with torch.no_grad():
        assert image.tokens(pixels).shape == (2, 1 + 9, 24)
        torch.testing.assert_close(image.tokens(pixels)[:, 0], image(pixels))
        assert text.tokens(ids).shape == (2, 20, 24)
        torch.testing.assert_close(text.tokens(ids)[torch.arange(2), ids.argmax(1)], text(ids))


@pytest.mark.parametrize(("name", "image", "text"), [("tiny", 2, 2), ("tiny-resnet", 4, 2), ("tiny-timm", 6, 2)])
def test_blocks_are_there_to_unfreeze(name, image, text):
    space = Space(both(name), 24, "image")
    assert [len(space.towers[half].encoder.blocks) for half in ("image", "text")] == [image, text]


def test_training_pictures_are_cut_by_the_seed_of_the_event(pictures):
    config = OpenClipImageConfig(model="tiny")
    samples = [config.read(path, {}) for path in pictures[:2]]
    one, again, other = (
        config.prepare(samples, seeds=seeds, augment="strong")["pixels"] for seeds in ([1, 2], [1, 2], [3, 4])
    )
    assert one.shape == (2, 3, 48, 48)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(
        config.prepare(samples, seeds=[1, 2], augment="none")["pixels"], config.prepare(samples)["pixels"]
    )


# --- weights of every kind


def as_training_checkpoint(state, folder):
    """What open_clip's own training writes, under data parallelism."""
    wrapped = {f"module.{name}": value for name, value in state.items()}
    torch.save({"epoch": 3, "name": "x", "state_dict": wrapped, "optimizer": {"lr": 1}}, folder / "epoch_3.pt")
    return str(folder / "epoch_3.pt")


def as_folder(state, folder):
    """What open_clip pushes to a hub."""
    config = {"model_cfg": MODELS["tiny"], "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "resize_mode": "squash"}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


def as_half_precision(state, folder):
    """As many published files are."""
    torch.save({name: value.half() for name, value in state.items()}, folder / "half.pt")
    return str(folder / "half.pt")


@pytest.mark.parametrize("write", [as_training_checkpoint, as_folder, as_half_precision])
def test_weights_are_loaded_from_whatever_open_clip_writes(tmp_path, write):
    model = original()
    weights = write(model.state_dict(), tmp_path)
    space = Space(both(weights=weights), 24, "image", pretrained=True)
    exact = write is not as_half_precision
    expected = model.visual.proj if exact else model.visual.proj.half().float()
    assert torch.equal(space.towers["image"].encoder.tower.proj, expected)
    assert torch.allclose(space.towers["text"].encoder.tower.text_projection, model.text_projection, atol=1e-3)
    if write is as_folder:
        assert space.configs["image"].mean == (0.1, 0.2, 0.3)
        assert space.configs["image"].resize.value == "squash"


def test_the_tag_of_a_pretrained_model_is_resolved_by_open_clip(file, monkeypatch):
    monkeypatch.setattr(open_clip, "list_pretrained_tags_by_model", lambda model: ["tiny_2b"])
    said = {"hf_hub": "nowhere/tiny/", "mean": (0.5, 0.5, 0.5), "interpolation": "bilinear"}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, tag: said)
    monkeypatch.setattr(open_clip, "download_pretrained", lambda cfg: str(file))
    space = Space(both(weights="fetch:tiny_2b"), 24, "image", pretrained=True)
    assert torch.equal(space.towers["image"].encoder.tower.proj, original().visual.proj)
    assert space.configs["image"].mean == (0.5, 0.5, 0.5)
    assert space.configs["image"].interpolation.value == "bilinear"
    assert space.configs["text"].declares() == {"image": "open_clip tiny (tiny_2b)"}
    with pytest.raises(UserError, match=r"unknown pretrained tag of tiny 'tiny_2p': did you mean 'tiny_2b'\?"):
        OpenClipTextConfig(model="tiny", weights="tiny_2p")

    def offline(cfg):
        raise OSError("We couldn't connect to the hub\nand a page more")

    monkeypatch.setattr(open_clip, "download_pretrained", offline)
    with pytest.raises(UserError, match=r"'tiny_2b' of tiny cannot be fetched \(We couldn't connect to the hub\)") as e:
        Space(both(weights="fetch:tiny_2b"), 24, "image", pretrained=True)
    assert "\n" not in str(e.value)


def test_weights_of_another_activation_are_refused():
    with pytest.raises(UserError, match="belong to the activation of ViT-B-32-quickgelu, not of ViT-B-32: set model="):
        OpenClipImageConfig(model="ViT-B-32", weights="openai")
    assert OpenClipImageConfig(model="ViT-B-16-SigLIP", weights="webli").resize.value == "squash"


def test_the_width_is_that_of_the_model_and_costs_no_torch():
    assert OpenClipImageConfig().width == 512
    assert OpenClipTextConfig(model="ViT-H-14").width == 1024
    with pytest.raises(UserError, match="width=256: ViT-B-32 ends in 512 dimensions: leave width out"):
        OpenClipImageConfig(width=256)
    with pytest.raises(UserError, match=r"unknown open_clip model 'ViT-B32' \(available: ViT-B-32, .* prints all"):
        OpenClipImageConfig(model="ViT-B32")
    with pytest.raises(UserError, match="is a CoCa, whose decoder a space does not support"):
        OpenClipTextConfig(model="coca_ViT-B-32")
    for name in ("hf-hub:somebody/model", "local-dir:/etc", "../tiny"):
        with pytest.raises(UserError, match="unknown open_clip model"):
            OpenClipTextConfig(model=name)


def test_the_descriptions_read_without_open_clip_are_its_own(monkeypatch):
    expected = open_clip.get_model_config("ViT-B-16-SigLIP")
    monkeypatch.delitem(models.sys.modules, "open_clip")
    assert models.model_config("ViT-B-16-SigLIP") == expected
    with pytest.raises(UserError, match="unknown open_clip model 'tiny'"):  # this process alone knew it
        models.model_config("tiny")


def test_without_open_clip_the_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(models, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"open_clip is not installed, .* pip install 'bindspace\[clip\]'"):
        OpenClipImageConfig()


# --- a space, and the way back


def test_a_space_is_loaded_again_without_the_weights(file, pictures, tmp_path):
    space = Space(both(weights=str(file)), 24, "image", pretrained=True).eval()
    expected = space.embed(image=pictures, text=CAPTIONS)
    save(space, tmp_path / "space")
    file.unlink()
    again = load(tmp_path / "space")
    for name, vectors in again.embed(image=pictures, text=CAPTIONS).items():
        assert torch.equal(vectors, expected[name])
    assert load(tmp_path / "space", modalities=["text"]).modalities == ["text"]


@pytest.mark.parametrize("name", ["tiny", "tiny-custom"])
@pytest.mark.filterwarnings("ignore:a space has no logit bias")
def test_import_and_export_are_each_others_inverse(tmp_path, name):
    model = original(name)
    torch.save(model.state_dict(), tmp_path / "a.pt")
    format_ = OpenClipFormat(model=name)
    space = format_.load(tmp_path / "a.pt", None)
    assert space.logit_scale("image", "text").item() == pytest.approx(model.logit_scale.exp().item(), rel=1e-6)
    assert space.ledger.status("image", "text") == "declared-trained"
    assert space.configs["image"].weights is None
    path = format_.save(load(save(space, tmp_path / "space")), tmp_path / "b.safetensors")
    again = open_clip.create_model(name, pretrained=str(path))
    for key, value in model.state_dict().items():
        if key != "logit_bias":
            assert torch.equal(again.state_dict()[key], value), key


def test_one_half_is_imported_alone(file, tmp_path):
    space = OpenClipFormat(model="tiny").load(file, ["text"])
    assert (space.modalities, space.pivot) == (["text"], "text")
    with pytest.raises(UserError, match="expected a space with image and text, got one without image"):
        OpenClipFormat(model="tiny").save(space, tmp_path / "b.safetensors")


def test_the_pictures_of_a_file_are_prepared_as_its_tag_says(file, monkeypatch):
    monkeypatch.setattr(open_clip, "list_pretrained_tags_by_model", lambda model: ["webli"])
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, tag: {"mean": (0.5, 0.5, 0.5)})
    space = OpenClipFormat(model="tiny", tag="webli").load(file, None)
    assert space.configs["image"].mean == (0.5, 0.5, 0.5)
    assert space.ledger.declarations[0]["note"] == "webli"
    assert OpenClipFormat(model="tiny").load(file, None).configs["image"].mean == models.DEFAULTS["mean"]


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


def truncated(file, folder):
    """The first half of a file."""
    path = folder / "half.safetensors"
    path.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return path


def with_code(file, folder):
    """A pickle that runs something."""
    path = folder / "evil.pt"
    path.write_bytes(pickle.dumps({"state_dict": Payload(folder / "ran")}))
    return path


def of_another_model(file, folder):
    """Weights of another size."""
    torch.save(original("tiny-wide").state_dict(), folder / "wide.pt")
    return folder / "wide.pt"


def of_something_else(file, folder):
    """A state dict of no CLIP."""
    save_file({"weight": torch.zeros(3)}, folder / "linear.safetensors")
    return folder / "linear.safetensors"


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (truncated, "is neither a safetensors file nor a torch file of tensors only"),
        (with_code, "is neither a safetensors file nor a torch file of tensors only"),
        (of_another_model, "this model needs (48, 24): set the sizes that those weights were made with"),
        (of_something_else, "holds weights of another model (tower.class_embedding is missing"),
        (
            lambda file, folder: folder,
            "holds no open_clip_config.json that can be read: give the file of weights itself",
        ),
    ],
)
def test_what_is_no_such_file_is_refused_and_runs_nothing(file, tmp_path, spoil, sentence):
    folder = tmp_path / "spoilt"
    folder.mkdir()
    path = spoil(file, folder)
    with pytest.raises(UserError) as caught:
        OpenClipFormat(model="tiny").load(path, None)
    assert sentence in str(caught.value)
    assert not (folder / "ran").exists()
    with pytest.raises(UserError):
        Space(both(weights=str(path)), 24, "image", pretrained=True)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ("no/such.pt", "expected `weights` to be a file of weights, there is none at no/such.pt"),
        ("local-dir:no/such", "weights=local-dir:no/such: there is no such folder"),
    ],
)
def test_weights_that_are_not_there_are_named(weights, sentence):
    with pytest.raises(UserError, match=sentence):
        OpenClipTextConfig(model="tiny", weights=weights)


def test_the_folder_of_another_model_is_refused(tmp_path):
    as_folder(original().state_dict(), tmp_path)
    with pytest.raises(UserError, match=r"holds another model than tiny-wide \(embed_dim differs\)"):
        OpenClipTextConfig(model="tiny-wide", weights=str(tmp_path))


def test_a_space_of_something_else_is_not_exported(tmp_path):
    from bindspace.contract.modality import Head

    format_, path = OpenClipFormat(model="tiny"), tmp_path / "x.safetensors"
    with pytest.raises(UserError, match="the image tower of the space is tiny-wide: write model=tiny-wide"):
        format_.save(Space(both("tiny-wide"), 32, "image"), path)
    with pytest.raises(UserError, match="the image tower has a head linear, which open_clip does not support"):
        format_.save(Space(both(head=Head.linear), 16, "image"), path)
    with pytest.warns(UserWarning, match="has no temperature for image-text"):
        format_.save(Space(both(), 24, "image"), path)


# --- bad samples


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        (b"", "expected a picture, got 0 bytes"),
        (b"nonsense", "expected a picture, got 8 bytes"),
        (np.zeros((4, 4), np.uint8), r"expected an array \(H, W, 3\) of uint8"),
        (np.zeros((4, 4, 3), np.float32), "of float32"),
    ],
)
def test_bad_pictures_are_named(item, sentence):
    with pytest.raises(BadSample, match=sentence):
        OpenClipImageConfig(model="tiny").read(item, {})


def test_pictures_are_read_upright_in_8_bits_and_cut():
    config, buffer = OpenClipImageConfig(model="tiny"), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.new("RGB", (30, 20)).save(buffer, "JPEG", exif=exif)
    assert config.read(buffer.getvalue(), {}).shape == (30, 20, 3)
    assert config.read(Image.new("RGBA", (5, 6)), {"xywh": (0, 0, 2, 3)}).shape == (3, 2, 3)
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(buffer, "PNG")
    with pytest.raises(BadSample, match="expected 8 bits per channel, got 16"):
        config.read(buffer.getvalue(), {})


@pytest.mark.parametrize(("item", "sentence"), [(" ", "an empty text"), (b"\xff", "expected UTF-8"), (3, "got int")])
def test_bad_texts_are_named(item, sentence):
    with pytest.raises(BadSample, match=sentence):
        OpenClipTextConfig(model="tiny").read(item, {})


def test_examples_are_read_and_shown(tmp_path):
    rng = np.random.default_rng(0)
    for config in both().values():
        source, info = config.example(rng, 3)
        sample = config.read(source, info)
        assert config.show(sample).size[0] > 0
        assert len(config.prepare([sample])[next(iter(config.prepare([sample])))]) == 1
    (tmp_path / "t.txt").write_text("\ufeffhello ", encoding="utf-8")
    assert OpenClipTextConfig(model="tiny").read(tmp_path / "t.txt", {}) == "hello"
