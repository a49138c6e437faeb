"""The halves of an open_clip model as encoders, its tokenizer and its transform. Imports open_clip and torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

import open_clip
from open_clip.model import _build_text_tower, _build_vision_tower
from open_clip.transform import PreprocessCfg, image_transform_v2
from open_clip.transformer import TextTransformer, VisionTransformer
from torch import Tensor, nn

from bindspace import UserError
from bindspace.modules.trunks import load_weights
from bindspace_openclip.hub import FETCH, of_the_hub
from bindspace_openclip.models import model_config, weights_file

Half = TypeVar("Half", bound=nn.Module)
NOT_TEXT = ("visual.", "logit_scale", "logit_bias", "input_resolution", "context_length", "vocab_size", "attn_mask")


class ImageTower(nn.Module):
    """`pixels` (B, 3, S, S) -> (B, embed_dim), not yet of length 1."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.tower = visual

    @property
    def blocks(self) -> list[nn.Module]:
        """Transformer blocks, or the stages of a convolutional trunk, from input to output."""
        trunk = getattr(self.tower, "trunk", self.tower)  # `trunk`: timm's model
        for name in ("transformer.resblocks", "blocks", "stages"):
            try:
                return list(trunk.get_submodule(name).children())
            except AttributeError:
                continue
        return [module for name, module in trunk.named_children() if name.startswith("layer")]

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, embed_dim)."""
        return self.tower(pixels)

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of the names in an open_clip file, those of the image half, as this module calls them."""
        state = _plain(state)
        return {
            f"tower.{name.removeprefix('visual.')}": value
            for name, value in state.items()
            if name.startswith("visual.")
        }


class VitTower(ImageTower):
    """With every token in the space: open_clip's own ViT, which projects the token that it pools."""

    def tokens(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 1 + patches, embed_dim): the class token first, then the patches row by row."""
        tower = self.tower
        assert isinstance(tower, VisionTransformer)
        return tower.ln_post(tower.transformer(tower._embeds(pixels))) @ tower.proj


class TextTower(nn.Module):
    """`ids` (B, L) -> (B, embed_dim), not yet of length 1."""

    def __init__(self, text: nn.Module) -> None:
        super().__init__()
        self.tower = text

    @property
    def blocks(self) -> list[nn.Module]:
        """Transformer blocks from input to output."""
        transformer = self.tower.transformer
        layers = transformer.resblocks if hasattr(transformer, "resblocks") else transformer.encoder.layer
        return list(layers)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) -> (B, embed_dim)."""
        return self.tower(ids)

    def own_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of the names in an open_clip file, those of the text half, as this module calls them."""
        state = _plain(state)
        if any(name.startswith("text.") for name in state):
            state = {name.removeprefix("text."): value for name, value in state.items() if name.startswith("text.")}
        return {f"tower.{name}": value for name, value in state.items() if not name.startswith(NOT_TEXT)}


class TokenTower(TextTower):
    """With every token in the space: open_clip's own transformer."""

    def tokens(self, ids: Tensor) -> Tensor:
        """(B, L) -> (B, L, embed_dim); the row of the end token is what `forward` returns."""
        tower = self.tower
        assert isinstance(tower, TextTransformer)
        x_BLW, mask = tower._embeds(ids)
        x_BLW, projection = tower.ln_final(tower.transformer(x_BLW, attn_mask=mask)), tower.text_projection
        return projection(x_BLW) if isinstance(projection, nn.Linear) else x_BLW @ projection


def image_tower(model: str) -> ImageTower:
    """The image half of a model with random weights; timm builds some of them, and nothing is fetched."""
    config = model_config(model)
    vision = {**config["vision_cfg"], "timm_model_pretrained": False, "output_tokens": False}
    name = str(vision.get("timm_model_name") or "")
    named = name if ":" in name else None  # of none of open_clip's own models, but some may be added to it
    with of_the_hub(f"the network of {model}", named, f'import timm; timm.create_model("{name}")', fetch=False):
        visual = _build_vision_tower(config["embed_dim"], vision, config.get("quick_gelu", False))
    tokenwise = isinstance(visual, VisionTransformer) and visual.attn_pool is None and visual.pool_type == "tok"
    return VitTower(visual) if tokenwise and not visual.final_ln_after_pool else ImageTower(visual)


def text_tower(model: str, *, fetch: bool = False) -> TextTower:
    """The text half of a model with random weights. Some are Hugging Face's, whose architecture is on their hub.

    It is fetched from there with `fetch` only. Raises `UserError` where it is not to be had.
    """
    config = model_config(model)
    text_config = {**config["text_cfg"], "hf_model_pretrained": False, "output_tokens": False}
    name = text_config.get("hf_model_name")
    command = f'import transformers; transformers.AutoConfig.from_pretrained("{name}")'
    with of_the_hub(f"the architecture of {model}", name, command, fetch=fetch):
        text = _build_text_tower(config["embed_dim"], text_config, config.get("quick_gelu", False))
    plain = isinstance(text, TextTransformer) and text.cls_emb is None and text.text_projection is not None
    return TokenTower(text) if plain else TextTower(text)


@lru_cache(maxsize=8)
def tokenizer(model: str, *, fetch: bool = False) -> Callable[[list[str]], Tensor]:
    """The model's own tokenizer, built once: list of texts -> ids (B, L) int64. Fetched with `fetch` only."""
    name = model_config(model)["text_cfg"].get("hf_tokenizer_name")
    if not name and not fetch and "siglip" in model.lower():  # open_clip then takes a vocabulary from a plain address
        raise UserError(
            f"open_clip fetches the vocabulary of {model} each time, and nothing is fetched unasked: write "
            f"weights={FETCH}TAG, or choose a model that brings its own"
        )
    command = f'import open_clip; open_clip.get_tokenizer("{model}")'
    with of_the_hub(f"the tokenizer of {model}", name, command, fetch=fetch):
        return open_clip.get_tokenizer(model)


@lru_cache(maxsize=8)
def image_transform(
    size: int, mean: tuple[float, ...], std: tuple[float, ...], interpolation: str, resize: str
) -> Callable[[Any], Tensor]:
    """open_clip's inference transform: a PIL picture -> (3, size, size)."""
    config = PreprocessCfg(size=size, mean=mean, std=std, interpolation=interpolation, resize_mode=resize)
    return image_transform_v2(config, is_train=False)


def load_half(tower: Half, model: str, weights: str | None) -> Half:
    """Puts one half of the weights into its tower, strictly; None leaves it random."""
    if weights is not None:
        load_weights(tower, weights_file(model, weights))
    return tower


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without what data-parallel training puts before each name, and tables that newer models compute."""
    return {name.removeprefix("module."): value for name, value in state.items() if not name.endswith(".position_ids")}
