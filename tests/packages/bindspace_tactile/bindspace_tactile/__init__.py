"""Touch: pressures on a pad of 16 x 16 points over time. A clip's frames are the channels of a small CNN."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from bindspace import BadSample, ModalityConfig

GAIN = {"none": 0.0, "weak": 0.05, "strong": 0.2}  # how much stronger or weaker a pad may feel in training


@dataclass(kw_only=True)
class TactileConfig(ModalityConfig):
    """A sample is (n, 16, 16) float32 in kPa at `rate`; a batch is `pixels` (R, frames, 16, 16)."""

    modality: ClassVar[str] = "tactile"
    expects: ClassVar[str] = "an NPY file or array (n, 16, 16) of pressures in 0..1000 kPa, and `tactile.rate` in Hz"
    sizes: ClassVar[dict] = {"small": {"channels": [64, 128]}, "base": {"channels": [128, 256], "width": 512}}

    rate: float = 50.0  # what everything is resampled to, frames a second
    frames: int = 32  # of one clip
    clips: int = 3  # at most so many of a longer recording in evaluation, averaged
    channels: list[int] = field(default_factory=lambda: [32, 64])

    def read(self, source, info):
        """Pressures as float32 at `rate`; the fragment `t` of them if there is one."""
        import numpy as np

        try:
            file = io.BytesIO(source) if isinstance(source, bytes) else source
            values = np.asarray(np.load(file, allow_pickle=False) if isinstance(source, Path | bytes) else source)
        except (ValueError, EOFError, SyntaxError) as error:
            raise BadSample(f"expected a whole NPY file of numbers, got a damaged one ({error})") from error
        if values.shape[1:] != (16, 16) or not len(values) or values.dtype.kind not in "uif":
            raise BadSample(f"expected numbers (n, 16, 16), got {values.dtype} {values.shape}")
        if not (values.min() >= 0 and values.max() <= 1000):  # false for NaN too
            raise BadSample(f"expected 0..1000 kPa, got {values.min():g}..{values.max():g}: check the unit")
        rate = info.get("rate")
        if not isinstance(rate, int | float) or not 1 <= rate <= 10000:
            raise BadSample(f"expected `tactile.rate` of 1..10000 frames a second, got {rate!r}: add the column")
        start, end = info.get("t", (0.0, np.inf))
        steps = np.arange(start * rate, min(end * rate, len(values)), rate / self.rate)
        if not len(steps):
            raise BadSample(f"expected a part of {len(values) / rate:g} s, got #t={start:g},{end:g}")
        return values[steps.astype(int).clip(max=len(values) - 1)].astype(np.float32)

    def prepare(self, samples, *, seeds=None, augment="weak"):
        """Training: one clip, where the event's seed says. Evaluation: evenly spread clips, with their `owner`."""
        import numpy as np
        import torch

        from bindspace.io.sequences import check_augment, cut_clips

        check_augment(augment)
        clips, owner = cut_clips(samples, self.frames, self.clips, seeds)
        gains = [1.0] * len(clips)
        if seeds is not None:
            gains = [1 + GAIN[augment] * np.random.default_rng([seed, 1]).uniform(-1, 1) for seed in seeds]
        pixels = np.zeros((len(clips), self.frames, 16, 16), np.float32)  # after the end nothing presses
        for row, clip, gain in zip(pixels, clips, gains):
            row[: len(clip)] = np.log1p(gain * clip) / 3  # a stroke and a blow both count
        return {"pixels": torch.from_numpy(pixels), **owner}

    def encoder(self, *, pretrained):
        """`pixels` (R, frames, 16, 16) -> (R, width)."""
        from bindspace.modules.trunks import conv_trunk, load_weights

        trunk = conv_trunk(self.frames, self.channels, stem=2, width=self.width)
        if pretrained and self.weights is not None:
            load_weights(trunk, self.weights)
        return trunk

    def example(self, rng, concept):
        """An NPY file of something that presses 1 to 3 times; the concept is its outline, and how often."""
        import numpy as np

        from bindspace.io.pictures import example_field

        beat = np.linspace(0, 1, int(rng.integers(50, 200)))
        force = rng.uniform(20, 200) * np.sin(np.pi * (1 + concept % 3) * beat) ** 2
        file = io.BytesIO()
        np.save(file, (force[:, None, None] * example_field(rng, concept, 16)).astype(np.float32))
        return file.getvalue(), {"rate": 100.0}

    def show(self, sample):
        """Eight moments from left to right; dark is no pressure, pale the highest."""
        import numpy as np

        from bindspace.io.pictures import coloured

        moments = sample[np.linspace(0, len(sample) - 1, 8).astype(int)]
        return coloured(np.hstack(moments), 0.0, float(sample.max())).resize((8 * 64, 64), 0)
