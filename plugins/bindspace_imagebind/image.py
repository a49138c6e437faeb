"""Pictures and videos for ImageBind: 224 pixels square, normalised as for CLIP, two frames a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bindspace_imagebind.base import ImagebindConfig

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor

    from bindspace_imagebind.towers import Shape, Trunk


@dataclass(kw_only=True)
class ImageImagebindConfig(ImagebindConfig):
    """A sample is a picture (H, W, 3) uint8, or of a video (clips, 2, H, W, 3) uint8: two frames of each clip."""

    modality: ClassVar[str] = "image"
    expects: ClassVar[str] = (
        "a picture (JPEG, PNG, WebP; grey, palette or colour, 8 bits a channel, opaque), an array (H, W, 3) of uint8,"
        " or a video file (MP4, MOV, WebM, MKV, AVI)"
    )
    extra: ClassVar[bool] = False
    near: ClassVar[int] = 48  # of 256 bits, as in bindspace's own image

    channels: int = 1280
    layers: int = 32
    heads: int = 16
    image_size: int = 224  # side of the square that the encoder sees, a multiple of 14
    clips: int = 5  # of a video, evenly spread
    clip_seconds: float = 2.0

    def read(self, source: Any, info: Mapping[str, Any]) -> np.ndarray:
        """The picture upright, whole; or frames of a video, of which only the fragment `t` is looked at."""
        from bindspace_imagebind.video import is_video, read_frames

        if isinstance(source, (Path, bytes)) and is_video(source):
            return read_frames(source, info.get("t"), self.clips, self.clip_seconds)
        return self.plain(image_size=1 << 20).read(source, info)  # so large that no picture is made smaller

    def prepare(
        self, samples: Sequence[np.ndarray], *, seeds: Sequence[int] | None = None, augment: str = "weak"
    ) -> dict[str, Tensor]:
        """`inputs` (R, 3, S, S), or (R, 3, 2, S, S) where a sample is a video.

        Evaluation: the short side to S, centre cut; of a video every clip at the left, in the middle and at the right
        (or top to bottom), with `owner`. Training: one view that the seed decides, and of a video one clip.
        """
        import torch

        from bindspace_imagebind import pixels

        pixels.check_side(self.image_size)
        if seeds is None:
            rows = [pixels.evaluation_views(sample, self.image_size) for sample in samples]
        else:
            rows = pixels.training_views(samples, seeds, augment, self.image_size)
        moving = any(row.ndim == 5 for row in rows)
        rows = [row[:, :, None].expand(-1, -1, 2, -1, -1) if moving and row.ndim == 4 else row for row in rows]
        counts = [len(row) for row in rows]
        if self.reference and max(counts) > 1:
            pixels.check_equal(counts)
            return {"inputs": torch.stack(rows)}
        inputs = {"inputs": torch.cat(rows)}
        if max(counts) > 1:
            inputs["owner"] = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor(counts))
        return inputs

    def tower(self, shape: Shape) -> Trunk:
        """A vision transformer (ViT-H/14 by default) whose patches span two frames."""
        from bindspace_imagebind.towers import ImageTower

        return ImageTower(shape)

    def fingerprint(self, sample: np.ndarray) -> bytes | None:
        """As bindspace's own image makes it; a video has none."""
        return self.plain().fingerprint(sample) if sample.ndim == 3 else None

    def show(self, sample: np.ndarray) -> Image:
        """The picture, or the first frame of the middle clip."""
        return super().show(sample if sample.ndim == 3 else sample[len(sample) // 2, 0])
