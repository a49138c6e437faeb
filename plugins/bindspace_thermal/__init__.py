"""Thermal maps: the temperature of every pixel, or a camera's raw counts, from 8/16-bit PNG, TIFF, NPY or an array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from bindspace import BadSample
from bindspace.contract.errors import unknown
from bindspace.modules.picture_config import PictureConfig, Trunk

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor

CELSIUS = {"kelvin": (1.0, -273.15), "celsius": (1.0, 0.0), "centikelvin": (0.01, -273.15)}  # factor, then offset
COLDEST, HOTTEST = -80.0, 1500.0  # degrees C: values beyond indicate a wrong unit
ROOM, STEP = 20.0, 25.0  # degrees C: a sample is (T - ROOM) / STEP, so that absolute temperature survives
CLIP = (-4.0, 8.0)  # of a batch: -80..220 degrees C
FLAT = 0.02  # added to the deviation of a sample, so that half a degree of noise is not amplified


class Unit(Enum):
    """The unit of a thermal file; `raw` has no temperature, only relative warmth within one picture."""

    kelvin = "kelvin"
    celsius = "celsius"
    centikelvin = "centikelvin"
    raw = "raw"


@dataclass(kw_only=True)
class ThermalConfig(PictureConfig):
    """A sample is warmth (H, W) float32: (degrees C - 20) / 25, or raw counts standardised within the picture.

    A batch is `pixels` (B, 2, image_size, image_size).
    """

    modality: ClassVar[str] = "thermal"
    expects: ClassVar[str] = (
        "a thermal map (8- or 16-bit grey PNG, TIFF, NPY, or an array (H, W)) in the unit that `thermal.unit` says"
        " (kelvin, celsius, centikelvin, raw), else the setting `unit`; temperatures within -80..1500 degrees C"
    )
    channels: ClassVar[int] = 2
    stem: ClassVar[int] = 2
    widths: ClassVar[tuple[int, ...]] = (32, 64, 96)
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {"trunk": Trunk.vit, "image_size": 64, "patch": 8, "width": 192, "layers": 12, "heads": 3},
        "base": {"trunk": Trunk.vit, "image_size": 224, "patch": 16, "width": 384, "layers": 12, "heads": 6},
    }

    image_size: int = 32
    unit: Unit = Unit.centikelvin  # of files whose row or source does not say it

    def read(self, source: Any, info: Mapping[str, Any]) -> np.ndarray:
        """Warmth (H, W) float32. Info: `unit` (kelvin, celsius, centikelvin, raw), `xywh`."""
        import numpy as np

        from bindspace.io.pictures import cut, read_grey, read_map

        unit = str(info.get("unit", self.unit.value))
        if unit not in Unit.__members__:
            raise BadSample(unknown("unit of temperature", unit, Unit.__members__))
        read = read_grey if unit == "raw" else read_map  # grey saved as colour is brightness, not temperature
        counts = cut(read(source), info.get("xywh")).astype(np.float64)
        if lost := int((~np.isfinite(counts)).sum()):
            raise BadSample(f"expected a finite value per pixel, got {lost} that are NaN or infinite: fill them first")
        if unit == "raw":
            return ((counts - counts.mean()) / max(counts.std(), 1e-6)).astype(np.float32)
        factor, offset = CELSIUS[unit]
        degrees = counts * factor + offset
        if degrees.min() < COLDEST or degrees.max() > HOTTEST:
            raise BadSample(
                f"expected temperatures within {COLDEST:.0f}..{HOTTEST:.0f} degrees C, got {degrees.min():.6g}.."
                f"{degrees.max():.6g} by reading the values in {unit}:"
                f" set `thermal.unit` to one of {', '.join(Unit.__members__)}"
            )
        return ((degrees - ROOM) / STEP).astype(np.float32)

    def prepare(
        self, samples: Sequence[np.ndarray], *, seeds: Sequence[int] | None = None, augment: str = "weak"
    ) -> dict[str, Tensor]:
        """`pixels`: warmth clipped to -4..8, and relief: warmth standardised over the part in view."""
        import numpy as np
        import torch

        from bindspace.io.pictures import resample, views

        warmth = resample(samples, views(seeds, augment, len(samples)), self.image_size, smooth=True)
        relief = warmth - warmth.mean((1, 2), keepdims=True)
        relief /= relief.std((1, 2), keepdims=True) + FLAT
        return {"pixels": torch.from_numpy(np.stack([warmth.clip(*CLIP), relief], axis=1))}

    def example(self, rng: np.random.Generator, concept: int) -> tuple[bytes, dict[str, Any]]:
        """A 16-bit PNG in centikelvin: two warm spots, whose places say the concept, before a wall of 15 to 25."""
        import numpy as np

        from bindspace.io.pictures import example_field, png

        degrees = rng.uniform(15, 25) + 40 * example_field(rng, concept, 32)
        return png((100 * (degrees + 273.15)).round().astype(np.uint16)), {"unit": "centikelvin"}

    def show(self, sample: np.ndarray) -> Image:
        """Cold is dark blue, warm is pale yellow, over the range within this map."""
        import numpy as np

        from bindspace.io.pictures import coloured

        return coloured(sample, *np.percentile(sample, [1, 99]))
