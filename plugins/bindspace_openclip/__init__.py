"""The two halves of any open_clip model (CLIP, SigLIP, EVA and others) as pretrained towers that share one space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bindspace import BadSample, Cell, Head, ModalityConfig, UserError
from bindspace_openclip.hub import asks_to_fetch
from bindspace_openclip.models import check_weights, model_config, preprocessing, whose

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor, nn

THINGS = ["stone", "bell", "river", "engine", "bird", "glass", "drum", "wind", "footstep", "clock"]


class Interpolation(Enum):
    """The interpolation of resizing."""

    bicubic = "bicubic"
    bilinear = "bilinear"


class Resize(Enum):
    """The side that is resized to the model's size: the shortest (then cut), the longest (then padded), or both."""

    shortest = "shortest"
    longest = "longest"
    squash = "squash"


@dataclass(kw_only=True)
class OpenClipConfig(ModalityConfig):
    """Base of both halves. A tower ends in the model's own space, so its head is `identity`."""

    other: ClassVar[str]  # the modality of the other half

    width: int = 0  # dimensions of the model's space; 0: as the model says
    head: Head = Head.identity
    model: str = "ViT-B-32"  # as open_clip names it

    def __post_init__(self) -> None:
        """Lets `width` follow the model. Raises `UserError` for what does not fit it."""
        says = int(model_config(self.model)["embed_dim"])
        if self.width not in (0, says):
            raise UserError(f"width={self.width}: {self.model} ends in {says} dimensions: leave width out")
        self.width = says
        check_weights(self.model, self.weights)

    def declares(self) -> Mapping[str, str] | None:
        """The two halves were trained as a pair."""
        return None if self.weights is None else {self.other: whose(self.model, self.weights)}


@dataclass(kw_only=True)
class OpenClipImageConfig(OpenClipConfig):
    """The image half. A sample is (H, W, 3) uint8; a batch `pixels` (B, 3, S, S), as open_clip prepares them."""

    modality: ClassVar[str] = "image"
    other: ClassVar[str] = "text"
    near: ClassVar[int] = 48  # of 256 bits, as in bindspace's own image
    expects: ClassVar[str] = "a picture that Pillow opens, 8 bits a channel, or an array (H, W, 3) of uint8"

    mean: tuple[float, ...] = ()  # of red, green, blue in 0..1; empty: as the weights say, else CLIP's
    std: tuple[float, ...] = ()
    interpolation: Interpolation | None = None
    resize: Resize | None = None

    def __post_init__(self) -> None:
        """Determines how pictures are prepared, so that a space records it without the weights."""
        super().__post_init__()
        said = preprocessing(self.model, self.weights)
        self.mean, self.std = (tuple(map(float, getattr(self, name) or said[name])) for name in ("mean", "std"))
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise UserError(f"expected three numbers for mean and std, std above 0, got {self.mean} and {self.std}")
        if self.interpolation is None:  # open_clip reads `random` as bicubic outside training
            self.interpolation = Interpolation("bilinear" if said["interpolation"] == "bilinear" else "bicubic")
        if self.resize is None:
            self.resize = Resize(said["resize_mode"])

    @property
    def image_size(self) -> int:
        """The side of the square that the model sees."""
        return int(model_config(self.model)["vision_cfg"].get("image_size", 224))

    def read(self, source: Any, info: Mapping[str, Any]) -> np.ndarray:
        """The picture upright in colour, (H, W, 3) uint8; alpha is dropped as open_clip drops it. Info: `xywh`."""
        import numpy as np
        from PIL import ImageOps

        from bindspace.io.pictures import cut, mode_bits, open_picture

        if isinstance(source, Path | bytes) or hasattr(source, "getbands"):
            picture, bits = open_picture(source) if isinstance(source, Path | bytes) else (source, mode_bits(source))
            if bits > 8:
                raise BadSample(f"expected 8 bits per channel, got {bits}: store it in 8")
            pixels = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
        else:
            pixels = np.asarray(source)
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
            raise BadSample(f"expected an array (H, W, 3) of uint8, got {pixels.shape} of {pixels.dtype}")
        return cut(pixels, info.get("xywh"))

    def prepare(
        self, samples: Sequence[np.ndarray], *, seeds: Sequence[int] | None = None, augment: str = "weak"
    ) -> dict[str, Tensor]:
        """`pixels` (B, 3, S, S): open_clip's inference transform; in training, cut out at random before it."""
        import torch
        from PIL import Image

        from bindspace.io.pictures import resample, views
        from bindspace_openclip.towers import image_transform

        if seeds is not None and augment != "none":
            samples = list(resample(samples, views(seeds, augment, len(samples)), self.image_size, smooth=True))
        assert self.interpolation is not None
        assert self.resize is not None
        how = (self.image_size, self.mean, self.std, self.interpolation.value, self.resize.value)
        transform = image_transform(*how)
        return {"pixels": torch.stack([transform(Image.fromarray(sample)) for sample in samples])}

    def encoder(self, *, pretrained: bool) -> nn.Module:
        """The image half alone."""
        from bindspace_openclip.towers import image_tower, load_half

        return load_half(image_tower(self.model), self.model, self.weights if pretrained else None)

    def example(self, rng: np.random.Generator, concept: int) -> tuple[bytes, dict[str, Any]]:
        """A PNG of two bright blobs, whose places and colour say the concept."""
        import numpy as np

        from bindspace.io.pictures import example_field, png

        field = example_field(rng, concept, 64)[:, :, None]
        colour = 0.5 + 0.5 * np.cos(2 * np.pi * (0.3 * concept + np.array([0, 1 / 3, 2 / 3])))
        return png((255 * field * colour).round().astype(np.uint8)), {}

    def fingerprint(self, sample: np.ndarray) -> bytes | None:
        """Of grey values: the same for another format, quality or size of the whole picture."""
        from bindspace.io.fingerprints import picture_hash

        return picture_hash(sample)

    def show(self, sample: np.ndarray) -> Image:
        """The picture itself."""
        from PIL import Image

        return Image.fromarray(sample)


@dataclass(kw_only=True)
class OpenClipTextConfig(OpenClipConfig):
    """The text half. A sample is a string; a batch `ids` (B, L), by the model's own tokenizer."""

    modality: ClassVar[str] = "text"
    other: ClassVar[str] = "image"
    expects: ClassVar[str] = "a text with at least one word: a string, or UTF-8 in bytes or a .txt file"
    cell: ClassVar[Cell] = Cell.value

    def read(self, source: Any, info: Mapping[str, Any]) -> str:
        """The text as it is, without blanks around it: cleaning is the tokenizer's."""
        if isinstance(source, Path):
            source = source.read_bytes()
        if isinstance(source, bytes):
            try:
                source = source.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise BadSample(f"expected UTF-8, got byte {source[error.start]:#x} at {error.start}") from error
        if not isinstance(source, str):
            raise BadSample(f"expected {self.expects}, got {type(source).__name__}")
        if not source.strip():
            raise BadSample("expected at least one word, got an empty text: leave the cell out where there is none")
        return source.strip()

    def prepare(
        self, samples: Sequence[str], *, seeds: Sequence[int] | None = None, augment: str = "weak"
    ) -> dict[str, Tensor]:
        """`ids` (B, L) int64; the same in training and evaluation."""
        from bindspace.io.sequences import check_augment
        from bindspace_openclip.towers import tokenizer

        check_augment(augment)
        return {"ids": tokenizer(self.model, fetch=asks_to_fetch(self.weights))(list(samples))}

    def encoder(self, *, pretrained: bool) -> nn.Module:
        """The text half alone."""
        from bindspace_openclip.towers import load_half, text_tower

        tower = text_tower(self.model, fetch=asks_to_fetch(self.weights))
        return load_half(tower, self.model, self.weights if pretrained else None)

    def example(self, rng: np.random.Generator, concept: int) -> tuple[str, dict[str, Any]]:
        """A caption of one of ten things."""
        return f"a photo of {['a', 'the', 'one'][rng.integers(3)]} {THINGS[concept]}", {}

    def show(self, sample: str) -> Image:
        """The text, drawn."""
        from textwrap import fill

        from PIL import Image, ImageDraw, ImageFont

        image = Image.new("RGB", (320, 160), "white")
        ImageDraw.Draw(image).multiline_text((12, 12), fill(sample[:200], 34), "black", ImageFont.load_default(16))
        return image
