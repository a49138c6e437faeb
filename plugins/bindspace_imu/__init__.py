"""IMU: accelerometer and gyroscope -> 100 Hz, six channels -> 1-D CNN, or transformer at size=base."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from bindspace import ModalityConfig

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor, nn

# Fixed, not learned from data: gravity is 1, and so is a brisk turn.
SCALE = (9.81, 9.81, 9.81, 2.0, 2.0, 2.0)  # m/s^2 and rad/s
# Training: the sensor turned by at most so many degrees, its gain, its noise (both in units of SCALE).
VARIED = {"weak": (10.0, 0.05, 0.01), "strong": (30.0, 0.10, 0.03)}


class Trunk(Enum):
    """The trunk. `conv`: a small 1-D CNN. `transformer`: for much data."""

    conv = "conv"
    transformer = "transformer"


@dataclass(kw_only=True)
class ImuConfig(ModalityConfig):
    """Clips of `clip_seconds`; shorter signals are masked, longer ones give several clips."""

    modality: ClassVar[str] = "imu"
    expects: ClassVar[str] = (
        "six channels: accelerometer x y z in m/s^2 with gravity, gyroscope x y z in rad/s; an NPY file or array "
        "(n, 6) with its `rate` in Hz, or a CSV file with the columns ax,ay,az,gx,gy,gz and `rate` or time in seconds"
    )
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {"channels": [64, 128, 192], "depth": 2, "width": 384},
        "base": {"trunk": Trunk.transformer, "width": 512},
    }

    rate: float = 100.0  # Hz, after resampling
    clip_seconds: float = 2.0
    clips: int = 3  # at most this many of a longer signal in evaluation, evenly spread and averaged
    min_seconds: float = 0.1
    trunk: Trunk = Trunk.conv
    channels: list[int] = field(default_factory=lambda: [48, 64, 96])  # of trunk=conv: by stage
    depth: int = 1  # of trunk=conv: residual blocks a stage
    patch: int = 8  # this and the following: for trunk=transformer only; steps per patch
    layers: int = 6
    heads: int = 8

    def read(self, source: Any, info: Mapping[str, Any]) -> np.ndarray:
        """The signal as float32 (n, 6) at `rate`; the fragment `t` of it if there is one."""
        from bindspace_imu.reading import read_signal

        return read_signal(source, info, self.rate, self.min_seconds)

    def prepare(
        self, samples: Sequence[np.ndarray], *, seeds: Sequence[int] | None = None, augment: str = "weak"
    ) -> dict[str, Tensor]:
        """`signal` (R, 6, N) in units of `SCALE`, 0 behind the end; `steps` (R,), how many of N are real.

        Training takes one random crop, and turns the sensor a little, with another gain and noise. Evaluation covers a
        longer signal by several clips, with `owner`.
        """
        import numpy as np

        from bindspace.io.sequences import check_augment, cut_clips, pad_rows

        check_augment(augment)
        rows, owner = cut_clips(samples, round(self.clip_seconds * self.rate), self.clips, seeds)
        rows = [row / np.array(SCALE, np.float32) for row in rows]
        if seeds is not None and augment != "none":
            rows = [_vary(row, seed, *VARIED[augment]) for row, seed in zip(rows, seeds)]
        signal, steps = pad_rows(rows)
        return {"signal": signal.transpose(1, 2).contiguous(), "steps": steps} | owner

    def encoder(self, *, pretrained: bool) -> nn.Module:
        """Random weights, or those of the file `weights`."""
        from bindspace_imu.encoder import MotionConv, MotionTransformer

        encoder: nn.Module
        if self.trunk is Trunk.conv:
            encoder = MotionConv(self.channels, self.depth, self.width)
        else:
            length = round(self.clip_seconds * self.rate)
            encoder = MotionTransformer(length, self.patch, self.layers, self.heads, self.width)
        if pretrained and self.weights is not None:
            from bindspace.modules.trunks import load_weights

            load_weights(encoder, self.weights)
        return encoder

    def example(self, rng: np.random.Generator, concept: int) -> tuple[bytes, dict[str, Any]]:
        """An NPY file of a sensor that is shaken: the concept determines the frequency and the axes."""
        import numpy as np

        rate = 100.0
        time = np.arange(round(rng.uniform(1.2, 2.4) * rate)) / rate
        phase, vigour = rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 1.4)
        swing = np.sin(2 * np.pi * (1 + 0.8 * concept) * rng.uniform(0.97, 1.03) * time + phase)
        signal = rng.standard_normal((len(time), 6)) * [0.1, 0.1, 0.1, 0.02, 0.02, 0.02]
        signal[:, :3] += 9.81 * np.array([rng.normal(0, 0.1), rng.normal(0, 0.1), 1.0])
        signal[:, concept % 3] += 4 * vigour * swing
        signal[:, 3 + concept // 2 % 3] += 2 * vigour * swing
        file = io.BytesIO()
        np.save(file, signal.astype(np.float32))
        return file.getvalue(), {"rate": rate}

    def show(self, sample: np.ndarray) -> Image:
        """Six curves over time: the accelerometer above, the gyroscope below; x red, y green, z blue."""
        from PIL import Image, ImageDraw

        image = Image.new("RGB", (480, 320), "white")
        draw = ImageDraw.Draw(image)
        for panel, (title, limit) in enumerate((("acceleration, m/s2", 30.0), ("rotation, rad/s", 10.0))):
            middle = 80 + 160 * panel
            draw.line([(0, middle), (480, middle)], "lightgrey")
            draw.text((6, middle - 76), f"{title} (full height +-{limit:g}), {len(sample) / self.rate:.1f} s", "grey")
            for axis, colour in enumerate(("crimson", "seagreen", "royalblue")):
                values = (sample[:, 3 * panel + axis] / limit).clip(-1, 1)
                points = [(480 * i / len(values), middle - 78 * float(value)) for i, value in enumerate(values)]
                draw.line(points, colour, width=2)
        return image


def _vary(signal: np.ndarray, seed: int, degrees: float, gain: float, noise: float) -> np.ndarray:
    """The same motion by a sensor that is mounted and built a little differently (n, 6)."""
    import numpy as np

    rng = np.random.default_rng([seed, 0])
    turn = _rotation(rng.standard_normal(3), np.deg2rad(degrees) * rng.uniform(-1, 1))
    varied = np.concatenate([signal[:, :3] @ turn.T, signal[:, 3:] @ turn.T], axis=1)
    varied = varied * rng.uniform(1 - gain, 1 + gain) + noise * rng.standard_normal(signal.shape)
    return varied.astype(np.float32)


def _rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """The matrix (3, 3) of a turn about an axis (Rodrigues' formula)."""
    import numpy as np

    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
