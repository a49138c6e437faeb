"""Depth and thermal maps for ImageBind. Their official preprocessing was never published: README.md has the sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from bindspace import BadSample
from bindspace_imagebind.base import ImagebindConfig

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor

    from bindspace_imagebind.towers import Shape, Trunk

SIDE, GRID, STRIDE = 224, (14, 14), 16  # pixels, patches, pixels
# Disparity as Omnivore publishes it for SUN RGB-D (Girdhar et al. 2022), whose authors ImageBind's are.
NEAREST, FARTHEST = 0.01, 50.0  # metres
LEAST, MOST = 0.01, 75.0  # pixels of disparity
MEAN, STD = 0.0418, 0.0295  # of disparity / MOST
DARK, BRIGHT = 1, 99  # percentiles of a thermal map that become 0 and 1


@dataclass(kw_only=True)
class MapConfig(ImagebindConfig):
    """A sample is a map (H, W) float32; a batch `inputs` (B, 1, 224, 224)."""

    def prepare(
        self, samples: Sequence[np.ndarray], *, seeds: Sequence[int] | None = None, augment: str = "weak"
    ) -> dict[str, Tensor]:
        """`inputs` (B, 1, 224, 224). Evaluation: the central square; training: cut like the image of the event."""
        import torch

        from bindspace.io.pictures import resample, views

        square = resample(samples, views(seeds, augment, len(samples)), SIDE, smooth=True)
        return {"inputs": torch.from_numpy(square)[:, None]}

    def tower(self, shape: Shape) -> Trunk:
        """A vision transformer over patches of 16 pixels."""
        from bindspace_imagebind.towers import GridTower

        return GridTower(shape, GRID, STRIDE)


@dataclass(kw_only=True)
class DepthImagebindConfig(MapConfig):
    """A sample is standardised disparity, 0 where the map is invalid; baseline and focal length are of the camera."""

    modality: ClassVar[str] = "depth"
    expects: ClassVar[str] = (
        "a depth map (16-bit PNG, TIFF, NPY, or an array (H, W) of integers or floats) in the unit that `depth.unit`"
        " says (m, cm, mm), else mm; at least 10 % of it valid, with a median within 0.05..200 m"
    )
    scale: ClassVar[float | None] = 5.0

    channels: int = 384
    heads: int = 8
    baseline: float = 0.075  # metres, of a Kinect; 0.095: RealSense, Xtion
    focal: float = 518.857901  # pixels of the stored map: the Kinect of NYU Depth v2
    invalid: list[float] = field(default_factory=lambda: [0.0])  # beside NaN and inf

    def read(self, source: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Standardised disparity (H, W) float32.

        Info: `baseline` (m), `focal` (pixels), and `unit`, `invalid`, `sunrgbd`, `xywh`, as for bindspace's own depth.
        """
        import numpy as np

        metres = self.plain(invalid=self.invalid).read(source, info).clip(NEAREST, FARTHEST)
        disparity = _length(info, "baseline", self.baseline) * _length(info, "focal", self.focal) / metres
        return np.nan_to_num((disparity.clip(LEAST, MOST) / MOST - MEAN) / STD).astype(np.float32)

    def show(self, sample: np.ndarray) -> Image:
        """Near is pale yellow, far is dark blue."""
        import numpy as np

        from bindspace.io.pictures import coloured

        return coloured(sample, *np.percentile(sample, [2, 98]))


@dataclass(kw_only=True)
class ThermalImagebindConfig(MapConfig):
    """A sample is brightness 0..1, as thermal cameras show it: not normalised further, which lowered results."""

    modality: ClassVar[str] = "thermal"
    expects: ClassVar[str] = (
        "a thermal map: a grey picture of 8 bits, warm is bright; or 16 bits, TIFF, NPY or an array (H, W) in any unit"
    )
    scale: ClassVar[float | None] = 10.0

    def read(self, source: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Brightness (H, W) float32: 8 bits as they are; else the 1st to the 99th percentile, as cameras stretch it."""
        import numpy as np

        from bindspace.io.pictures import cut, read_grey

        counts = cut(read_grey(source), info.get("xywh"))
        if counts.dtype == np.uint8:
            return counts.astype(np.float32) / 255
        if lost := int((~np.isfinite(counts)).sum()):
            raise BadSample(f"expected a finite value per pixel, got {lost} that are NaN or infinite: fill them first")
        low, high = np.percentile(counts.astype(np.float64), [DARK, BRIGHT])
        return ((counts - low) / max(high - low, 1e-6)).clip(0, 1).astype(np.float32)

    def show(self, sample: np.ndarray) -> Image:
        """Cold is dark blue, warm is pale yellow."""
        from bindspace.io.pictures import coloured

        return coloured(sample, 0.0, 1.0)


def _length(info: Mapping[str, Any], key: str, default: float) -> float:
    try:
        value = float(info.get(key, default))
    except (TypeError, ValueError):
        value = 0.0
    if not 0 < value < 1e6:
        raise BadSample(f"expected `depth.{key}` to be a number above 0, got {info.get(key, default)!r}: correct it")
    return value
