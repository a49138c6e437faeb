"""open_clip's halves open no connection unless the command asks: not for weights, text halves or tokenizers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bindspace.contract.errors import UserError
from bindspace.space.bundle import load, save
from bindspace.space.space import Space

open_clip = pytest.importorskip("open_clip")
pytest.importorskip("transformers")
from huggingface_hub import constants  # noqa: E402

from bindspace_openclip import OpenClipImageConfig, OpenClipTextConfig, hub  # noqa: E402
from bindspace_openclip.formats import OpenClipFormat  # noqa: E402
from bindspace_openclip.towers import image_tower, text_tower, tokenizer  # noqa: E402

TEXT = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
MODELS = {
    "plain": {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT},
    "hub-words": {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT | {"hf_tokenizer_name": "nowhere/words"}},
    "tiny-siglip": {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT},
    "hub-picture": {"embed_dim": 24, "text_cfg": TEXT}
    | {"vision_cfg": {"timm_model_name": "hf-hub:nowhere/net", "image_size": 32}},
}
OWN = [name for name in open_clip.list_models() if "coca" not in name.lower()]


def text_of(model: str) -> dict:
    """open_clip's description of a model's text half."""
    return open_clip.get_model_config(model)["text_cfg"]


TOKENIZERS = {name: model for model in OWN if (name := text_of(model).get("hf_tokenizer_name"))}
ARCHITECTURES = {name: model for model in OWN if (name := text_of(model).get("hf_model_name"))}


@pytest.fixture(autouse=True)
def no_network(monkeypatch) -> Iterator[None]:
    """Whoever looks up a name or connects fails at once, and fails the test even if the error is swallowed."""
    asked = []

    def refuse(*given, **_):
        asked.append(given[-1] if isinstance(given[0], socket.socket) else given[0])
        raise OSError(f"a test asked the network for {asked[-1]}")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    yield
    assert asked == []


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch) -> Path:
    """Empty caches of the hub and of open_clip, in a folder of the test."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.setattr(constants, name, str(tmp_path / "hub"), raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HOME", str(tmp_path))
    tokenizer.cache_clear()
    return tmp_path


@pytest.fixture(scope="module", autouse=True)
def known(tmp_path_factory) -> Iterator[None]:
    """Small models beside open_clip's own."""
    folder = tmp_path_factory.mktemp("models")
    for name, config in MODELS.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    yield
    open_clip.factory._MODEL_CONFIG_PATHS.remove(folder)
    for name in MODELS:
        del open_clip.factory._MODEL_CONFIGS[name]


def both(name: str = "plain", **settings) -> dict:
    """The configs of both halves."""
    return {"image": OpenClipImageConfig(model=name, **settings), "text": OpenClipTextConfig(model=name, **settings)}


def plain_weights(path: Path) -> Path:
    """A file of weights of `plain`."""
    torch.manual_seed(0)
    state = open_clip.create_model("plain").state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return path


# --- text halves and tokenizers


@pytest.mark.parametrize("name", sorted(TOKENIZERS))
def test_no_tokenizer_is_fetched(name):
    with pytest.raises(UserError) as caught:
        tokenizer(TOKENIZERS[name])
    said = str(caught.value)
    assert said.startswith(
        f"the tokenizer of {TOKENIZERS[name]} ({name}) is kept on the Hugging Face hub and not in its"
    )
    assert f"run `python -c 'import open_clip; open_clip.get_tokenizer(\"{TOKENIZERS[name]}\")'` once" in said
    assert "\n" not in said
    assert constants.HF_HUB_OFFLINE is False


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_no_architecture_of_a_text_half_is_fetched(name):
    with pytest.raises(UserError) as caught:
        text_tower(ARCHITECTURES[name])
    assert f'import transformers; transformers.AutoConfig.from_pretrained("{name}")' in str(caught.value)


def test_a_vocabulary_that_open_clip_takes_from_a_plain_address_is_refused():
    with pytest.raises(
        UserError, match="open_clip fetches the vocabulary of tiny-siglip each time, and nothing is fetch"
    ):
        tokenizer("tiny-siglip")


def test_a_picture_half_on_a_hub_is_not_followed():
    with pytest.raises(
        UserError, match=r"the network of hub-picture \(hf-hub:nowhere/net\) is kept on the Hugging Face"
    ):
        image_tower("hub-picture")


def test_a_strangers_space_opens_no_connection(tmp_path):
    folder = save(Space({"text": OpenClipTextConfig(model="hub-words")}, 24, "text"), tmp_path / "space")
    space = load(folder)
    with pytest.raises(
        UserError, match=r"the tokenizer of hub-words \(nowhere/words\) is kept on the Hugging Face hub"
    ):
        space.embed(text=["a dog"])
    description = json.loads((folder / "space.json").read_text())
    settings = description["modalities"]["text"]["settings"]
    for model in ARCHITECTURES.values():
        settings |= {"model": model, "width": int(open_clip.get_model_config(model)["embed_dim"])}
        (folder / "space.json").write_text(json.dumps(description | {"dim": settings["width"]}))
        with pytest.raises(
            UserError, match=r"the architecture of .* is kept on the Hugging Face hub and not in its cache"
        ):
            load(folder)


def test_a_space_cannot_ask_to_fetch(tmp_path):
    folder = save(Space({"text": OpenClipTextConfig(model="hub-words")}, 24, "text"), tmp_path / "space")
    description = json.loads((folder / "space.json").read_text())
    for weights in ("fetch:laion2b_s34b_b79k", "laion2b_s34b_b79k"):
        description["modalities"]["text"]["settings"] |= {"model": "ViT-B-32", "width": 512, "weights": weights}
        (folder / "space.json").write_text(json.dumps(description | {"dim": 512}))
        with pytest.raises(UserError, match=r"settings\.weights: expected null"):
            load(folder)


# --- weights by tag


@pytest.fixture
def tag(monkeypatch) -> dict[str, str]:
    """What open_clip says of the tag `tiny_2b` of any model; may be changed."""
    said = {"hf_hub": "nowhere/tiny/"}
    monkeypatch.setattr(open_clip, "list_pretrained_tags_by_model", lambda model: ["tiny_2b"])
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, tag: dict(said))
    return said


@pytest.mark.parametrize("said", [{"hf_hub": "nowhere/tiny/"}, {"url": "https://example.org/a/tiny.pt"}, {}])
def test_a_tag_that_is_not_in_a_cache_is_refused_with_the_next_step(tag, said):
    tag.clear()
    tag |= said
    with pytest.raises(UserError) as caught:
        Space(both(weights="tiny_2b"), 24, "image", pretrained=True)
    assert str(caught.value) == (
        "the weights 'tiny_2b' of plain are not in open_clip's cache, and nothing is fetched unasked: write "
        "weights=fetch:tiny_2b to download them, or give a local file by weights=FILE"
    )


def test_every_real_tag_is_refused_without_a_connection():
    for model in ("ViT-B-32", "ViT-B-32-quickgelu", "RN50", "ViT-B-16-SigLIP"):
        for name in open_clip.list_pretrained_tags_by_model(model):
            said = open_clip.get_pretrained_cfg(model, name)
            with pytest.raises(UserError, match="nothing is fetched unasked"):
                hub.pretrained_file(model, name, said, fetch=False)


def test_a_tag_in_the_cache_of_the_hub_is_used(tag, caches):
    place = caches / "hub" / "models--nowhere--tiny"
    plain_weights(place / "snapshots" / "1" / "open_clip_model.safetensors")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("1")
    space = Space(both(weights="tiny_2b"), 24, "image", pretrained=True)
    torch.manual_seed(0)
    assert torch.equal(space.towers["image"].encoder.tower.proj, open_clip.create_model("plain").visual.proj)


def test_a_tag_in_the_cache_of_open_clip_is_used(tag, caches):
    tag.clear()
    tag["url"] = "https://example.org/a/tiny.safetensors"
    plain_weights(caches / ".cache" / "clip" / "tiny.safetensors")
    Space(both(weights="tiny_2b"), 24, "image", pretrained=True)


def test_the_command_may_ask_to_fetch_and_the_space_does_not_say_so(tag, tmp_path, monkeypatch):
    offline = []

    def download(said):
        offline.append(constants.HF_HUB_OFFLINE)
        return str(plain_weights(tmp_path / "fetched.safetensors"))

    monkeypatch.setattr(open_clip, "download_pretrained", download)
    space = Space(both(weights="fetch:tiny_2b"), 24, "image", pretrained=True)
    assert offline == [False, False]
    assert space.configs["text"].declares() == {"image": "open_clip plain (tiny_2b)"}
    assert "fetch" not in (save(space, tmp_path / "space") / "space.json").read_text()


def test_asking_to_fetch_reaches_tokenizer_and_text_half(tag, monkeypatch):
    asked = []
    monkeypatch.setattr(open_clip, "get_tokenizer", lambda model: asked.append(constants.HF_HUB_OFFLINE) or list)
    OpenClipTextConfig(model="hub-words", weights="fetch:tiny_2b").prepare(["a"])
    OpenClipTextConfig(model="hub-words", weights="tiny_2b").prepare(["a"])
    assert asked == [False, True]
    assert constants.HF_HUB_OFFLINE is False
    with pytest.raises(UserError, match="unknown pretrained tag of hub-words 'tiny_2p'"):
        OpenClipTextConfig(model="hub-words", weights="fetch:tiny_2p")


def test_an_import_names_a_tag_and_fetches_nothing(tag, tmp_path):
    file = plain_weights(tmp_path / "plain.safetensors")
    assert OpenClipFormat(model="plain", tag="tiny_2b").load(file, None).configs["image"].weights is None
    with pytest.raises(UserError, match="expected the name of a pretrained tag; the file is weights=FILE"):
        OpenClipFormat(model="plain", tag="fetch:tiny_2b").load(file, None)
