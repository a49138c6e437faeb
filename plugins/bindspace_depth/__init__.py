"""Depth maps: the distance of every pixel along the optical axis, from 16-bit PNG, TIFF, NPY or an array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from bindspace import BadSample
from bindspace.contract.errors import unknown
from bindspace.modules.picture_config import PictureConfig, Trunk

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor

METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
NEAR, FAR = 0.05, 200.0  # metres that the median of a map lies between, whatever the sensor
LEAST_VALID = 0.1  # of the pixels
SUN_FARTHEST = 8000  # mm: where the toolbox of SUN RGB-D cuts
LOG_MEAN = 1.0  # of ln(depth in metres): 2.7 m becomes 0
FLAT = 0.02  # added to the deviation of ln(depth), so that a flat wall stays flat: 2 % of its distance


class Unit(Enum):
    """The unit of a depth file."""

    m = "m"
    cm = "cm"
    mm = "mm"


@dataclass(kw_only=True)
class DepthConfig(PictureConfig):
    """A sample is (H, W) float32 in metres, NaN where invalid; a batch `pixels` (B, 3, image_size, image_size)."""

    modality: ClassVar[str] = "depth"
    expects: ClassVar[str] = (
        "a depth map (16-bit PNG, TIFF, NPY, or an array (H, W) of integers or floats) in the unit that `depth.unit`"
        " says (m, cm, mm), else the setting `unit`; at least 10 % of it valid, with a median within 0.05..200 m"
    )
    channels: ClassVar[int] = 3
    stem: ClassVar[int] = 3
    widths: ClassVar[tuple[int, ...]] = (32, 64, 96)
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {"trunk": Trunk.vit, "image_size": 128, "patch": 16, "width": 192, "layers": 12, "heads": 3},
        "base": {"trunk": Trunk.vit, "image_size": 224, "patch": 16, "width": 384, "layers": 12, "heads": 6},
    }

    image_size: int = 48
    unit: Unit = Unit.mm  # of files whose row or source does not say it
    invalid: list[float] = field(default_factory=lambda: [0.0])  # beside NaN and inf

    def read(self, source: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Metres (H, W) float32, NaN where invalid.

        Info: `unit` (m, cm, mm), `invalid` (number or list), `sunrgbd` (true: a PNG of SUN RGB-D, whose bits are
        rotated), `xywh`.
        """
        import numpy as np

        from bindspace.io.pictures import cut, read_map

        stored = cut(read_map(source), info.get("xywh"))
        if info.get("sunrgbd", False):
            stored, info = _millimetres_of_sun(stored), {**info, "unit": "mm"}
        if stored.dtype.itemsize == 1:
            raise BadSample(
                "expected depth in 16 bits or more, got 8-bit values, which are a picture of depth, not depth"
            )
        unit = str(info.get("unit", self.unit.value))
        if unit not in METRES:
            raise BadSample(unknown("unit of depth", unit, METRES))
        valid = np.isfinite(stored) & ~np.isin(stored, _numbers(info.get("invalid", self.invalid)))
        metres = np.where(valid, stored.astype(np.float64) * METRES[unit], np.nan).astype(np.float32)
        _check(metres[valid], valid.mean(), unit)
        return metres

    def prepare(
        self, samples: Sequence[np.ndarray], *, seeds: Sequence[int] | None = None, augment: str = "weak"
    ) -> dict[str, Tensor]:
        """`pixels`: relief, level and mask of the part in view.

        Level is ln(metres) about 2.7 m; relief is the level standardised over the view, since shapes vary less than
        distances; both are 0 where invalid. Mask is 1 where valid.
        """
        import numpy as np
        import torch

        from bindspace.io.pictures import resample, views

        metres = resample(samples, views(seeds, augment, len(samples)), self.image_size, smooth=False)
        mask = np.isfinite(metres)
        level = np.where(mask, np.log(np.where(mask, metres, 1.0)) - LOG_MEAN, 0.0)
        count = mask.sum((1, 2), keepdims=True).clip(1)
        relief = np.where(mask, level - level.sum((1, 2), keepdims=True) / count, 0.0)
        relief /= np.sqrt((relief**2).sum((1, 2), keepdims=True) / count) + FLAT
        return {"pixels": torch.from_numpy(np.stack([relief, level, mask], axis=1).astype(np.float32))}

    def example(self, rng: np.random.Generator, concept: int) -> tuple[bytes, dict[str, Any]]:
        """A 16-bit PNG in mm: two bumps, whose places say the concept, before a wall at 2 to 4 m; some pixels lost."""
        import numpy as np

        from bindspace.io.pictures import example_field, png

        field = example_field(rng, concept, 48)
        millimetres = 1000 * rng.uniform(2, 4) * (1 - 0.4 * field)
        millimetres[rng.random(field.shape) < 0.02] = 0
        return png(millimetres.round().astype(np.uint16)), {"unit": "mm"}

    def show(self, sample: np.ndarray) -> Image:
        """Near is pale yellow, far is dark blue, invalid is grey."""
        import numpy as np

        from bindspace.io.pictures import coloured

        low, high = np.nanpercentile(-np.log(sample), [2, 98])
        return coloured(-np.log(sample), low, high)


def _millimetres_of_sun(counts: np.ndarray) -> np.ndarray:
    """The depth of a map of SUN RGB-D, cut at 8 m as its toolbox does (read3dPoints.m)."""
    import numpy as np

    if counts.dtype != np.uint16:
        raise BadSample(f"expected 16 bits in a map of SUN RGB-D, got {counts.dtype}: leave `sunrgbd` out")
    return ((counts >> 3) | (counts << 13)).clip(max=SUN_FARTHEST)


def _numbers(invalid: Any) -> np.ndarray:
    import numpy as np

    try:
        return np.atleast_1d(np.asarray(invalid, np.float64))
    except ValueError as error:
        raise BadSample(f"expected `depth.invalid` to be a number or a list of numbers, got {invalid!r}") from error


def _check(valid_metres: np.ndarray, share: float, unit: str) -> None:
    """Raises `BadSample` for a map that is mostly empty, or whose unit is implausible."""
    import numpy as np

    if share < LEAST_VALID:
        raise BadSample(
            f"expected at least {LEAST_VALID:.0%} of the pixels valid, got {share:.1%}:"
            " check the file, and the values of `depth.invalid`"
        )
    if valid_metres.min() <= 0:
        raise BadSample(
            f"expected depths above 0, got {valid_metres.min():.4g} m: name values of lost pixels in `depth.invalid`"
        )
    median = float(np.median(valid_metres))
    if not NEAR <= median <= FAR:
        raise BadSample(
            f"expected a median depth within {NEAR}..{FAR:.0f} m, got {median:.4g} m by reading the values in {unit}:"
            f" set `depth.unit` to one of {', '.join(METRES)}"
        )
