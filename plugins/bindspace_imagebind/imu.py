"""IMU for ImageBind: five seconds of accelerometer and gyroscope at 400 Hz."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bindspace_imagebind.base import ImagebindConfig

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor

    from bindspace_imagebind.towers import Shape, Trunk

RATE, STEPS = 400.0, 2000  # Hz; steps of a clip, five seconds


@dataclass(kw_only=True)
class ImuImagebindConfig(ImagebindConfig):
    """A sample is (n, 6) float32 at 400 Hz in SI units; a batch `inputs` (R, 6, 2000)."""

    modality: ClassVar[str] = "imu"
    expects: ClassVar[str] = (
        "six channels: accelerometer x y z in m/s^2 with gravity, gyroscope x y z in rad/s; an NPY file or array "
        "(n, 6) with its `rate` in Hz, or a CSV file with the columns ax,ay,az,gx,gy,gz and `rate` or time in seconds"
    )
    scale: ClassVar[float | None] = 5.0
    dropout: ClassVar[float] = 0.5

    channels: int = 512
    layers: int = 6
    heads: int = 8
    drop_path: float = 0.7
    clips: int = 3  # at most so many of a longer signal in evaluation, evenly spread
    min_seconds: float = 0.1

    def read(self, source: Any, info: Mapping[str, Any]) -> np.ndarray:
        """The signal (n, 6) at 400 Hz; the fragment `t` of it if there is one."""
        return self.plain(rate=RATE, min_seconds=self.min_seconds).read(source, info)

    def prepare(
        self, samples: Sequence[np.ndarray], *, seeds: Sequence[int] | None = None, augment: str = "weak"
    ) -> dict[str, Tensor]:
        """`inputs` (R, 6, 2000), 0 behind the end of a shorter signal; of a longer one several clips, with `owner`.

        Training takes one clip and varies nothing else.
        """
        from torch.nn import functional as F

        from bindspace.io.sequences import check_augment, cut_clips, pad_rows

        check_augment(augment)
        rows, owner = cut_clips(samples, STEPS, self.clips, seeds)
        signal, _ = pad_rows(rows)
        return {"inputs": F.pad(signal.transpose(1, 2), (0, STEPS - signal.shape[1])).contiguous()} | owner

    def tower(self, shape: Shape) -> Trunk:
        """A transformer over windows of 8 steps."""
        from bindspace_imagebind.towers import ImuTower

        return ImuTower(shape)

    def show(self, sample: np.ndarray) -> Image:
        """Six curves over time, as bindspace's own IMU shows them."""
        return self.plain(rate=RATE).show(sample)
