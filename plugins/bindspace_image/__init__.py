"""Pictures: JPEG, PNG, WebP and other formats of Pillow, as colour with 8 bits per channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bindspace import BadSample
from bindspace.modules.picture_config import PictureConfig, Trunk

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor

# Mean and deviation of red, green, blue in 0..1 over CLIP's training pictures (Radford et al. 2021, released code).
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
GREY = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601, which Pillow's "L" uses too
JITTER = {"none": 0.0, "weak": 0.15, "strong": 0.4}  # brightness, contrast, saturation: factors 1 +- this
KEPT = 3  # a picture whose short side is at least twice as many times image_size is kept smaller, for memory


@dataclass(kw_only=True)
class ImageConfig(PictureConfig):
    """A sample is (H, W, 3) uint8; a batch `pixels` (B, 3, image_size, image_size), normalised as for CLIP."""

    modality: ClassVar[str] = "image"
    expects: ClassVar[str] = (
        "a picture (JPEG, PNG, WebP; grey, palette or colour, 8 bits a channel, opaque) or an array (H, W, 3) of uint8"
    )
    near: ClassVar[int] = 48  # of 256 bits
    channels: ClassVar[int] = 3
    mean: ClassVar[tuple[float, ...] | None] = MEAN
    std: ClassVar[tuple[float, ...] | None] = STD
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {"trunk": Trunk.vit, "image_size": 128, "patch": 16, "width": 192, "layers": 12, "heads": 3},
        "base": {"trunk": Trunk.vit, "image_size": 224, "patch": 16, "width": 768, "layers": 12, "heads": 12},
    }

    def read(self, source: Any, info: Mapping[str, Any]) -> np.ndarray:
        """The picture upright as (H, W, 3) uint8. Info: `background`, `bits16`, `xywh` (pixels of the upright one)."""
        import numpy as np
        from PIL import Image

        from bindspace.io.pictures import cut

        if isinstance(source, (Path, bytes, Image.Image)):
            pixels = np.asarray(_colour(source, info))
        else:
            pixels = np.asarray(source)
            if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
                raise BadSample(f"expected an array (H, W, 3) of uint8, got {pixels.shape} of {pixels.dtype}")
        pixels = cut(pixels, info.get("xywh"))
        factor = min(pixels.shape[:2]) // (KEPT * self.image_size)
        return np.asarray(Image.fromarray(pixels).reduce(factor)) if factor > 1 else pixels

    def prepare(
        self, samples: Sequence[np.ndarray], *, seeds: Sequence[int] | None = None, augment: str = "weak"
    ) -> dict[str, Tensor]:
        """`pixels` (B, 3, S, S). Evaluation: short side to S, centre cut; a square of S pixels is left as it is."""
        import numpy as np
        import torch

        from bindspace.io.pictures import resample, views

        square = resample(samples, views(seeds, augment, len(samples)), self.image_size, smooth=True)
        pixels = torch.from_numpy(np.ascontiguousarray(square.transpose(0, 3, 1, 2))).float()
        if seeds is None or augment == "none":
            scale, offset = torch.tensor(STD).mul(255), torch.tensor(MEAN).mul(255)
            return {"pixels": pixels.sub_(offset[:, None, None]).div_(scale[:, None, None])}
        return {"pixels": _jittered(pixels, seeds, JITTER[augment])}

    def example(self, rng: np.random.Generator, concept: int) -> tuple[bytes, dict[str, Any]]:
        """A PNG of two bright blobs, whose places and colour say the concept, before a background of any grey."""
        import numpy as np

        from bindspace.io.pictures import example_field, png

        field = example_field(rng, concept, 64)[:, :, None]
        colour = 0.5 + 0.5 * np.cos(2 * np.pi * (0.3 * concept + np.array([0, 1 / 3, 2 / 3])))
        picture = field * colour + (1 - field) * rng.uniform(0.1, 0.4)
        return png((255 * picture).round().astype(np.uint8)), {}

    def fingerprint(self, sample: np.ndarray) -> bytes | None:
        """Of grey values: the same for another format, quality or size of the whole picture."""
        from bindspace.io.fingerprints import picture_hash

        return picture_hash(sample)

    def show(self, sample: np.ndarray) -> Image:
        """The picture itself."""
        from PIL import Image

        return Image.fromarray(sample)


def _colour(source: Path | bytes | Image, info: Mapping[str, Any]) -> Image:
    """Opens, turns upright and makes RGB; lossy conversions are refused unless `info` allows them."""
    from PIL import ImageOps

    from bindspace.io.pictures import mode_bits, open_picture

    picture, depth = open_picture(source) if isinstance(source, (Path, bytes)) else (source, mode_bits(source))
    picture = ImageOps.exif_transpose(picture)
    if depth > 8:
        picture = _in_8_bits(picture, depth, info.get("bits16"))
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        picture = _opaque(picture.convert("RGBA"), info.get("background"))
    return picture.convert("RGB")


def _in_8_bits(picture: Image, depth: int, how: Any) -> Image:
    import numpy as np
    from PIL import Image

    if depth != 16 or how != "scale":
        got = f"{depth}" if how is None else f"{depth} and bits16: {how}"
        allow = "; `read: {image: {bits16: scale}}` scales 16 bits down" if depth == 16 else ""
        raise BadSample(f"expected 8 bits per channel, got {got}: store it in 8{allow}")
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) / 257).round().astype(np.uint8))
    return picture  # colour: Pillow has scaled it already


def _opaque(picture: Image, background: Any) -> Image:
    from PIL import Image, ImageColor

    if picture.getchannel("A").getextrema()[0] == 255:
        return picture
    if background is None:
        raise BadSample(
            "expected an opaque picture, got a transparent one:"
            " set what is behind it, e.g. `read: {image: {background: white}}`"
        )
    try:
        colour = ImageColor.getcolor(str(background), "RGBA")
    except ValueError as error:
        raise BadSample(f"expected `background` to be a colour, e.g. white or '#808080', got {background!r}") from error
    return Image.alpha_composite(Image.new("RGBA", picture.size, colour), picture)


def _jittered(pixels: Tensor, seeds: Sequence[int], amount: float) -> Tensor:
    """Saturation, brightness, contrast and normalisation in one linear map of the three channels per picture."""
    import torch

    from bindspace.io.pictures import uniforms

    factors = 1 + amount * (2 * torch.from_numpy(uniforms(seeds, 3, stream=1)).float() - 1)
    saturation, brightness, contrast = factors[:, :, None, None].unbind(1)
    grey, scale, mean = torch.tensor(GREY), 255 * torch.tensor(STD)[:, None], 255 * torch.tensor(MEAN)[:, None]
    matrix = contrast * brightness * (saturation * torch.eye(3) + (1 - saturation) * grey)
    middle = (brightness[:, :, 0] * (pixels.mean((2, 3)) @ grey)[:, None])[
        :, :, None
    ]  # contrast is scaled about this grey
    offset = (1 - contrast) * middle - mean
    return torch.baddbmm(offset / scale, matrix / scale, pixels.flatten(2)).view_as(pixels)
