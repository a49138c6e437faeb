"""A modality that keeps the contract in every way the kit looks at; tests break it in one place at a time."""

SOURCE = '''\
"""Numbers over time, as NPY files."""
import io
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bindspace import BadSample, ModalityConfig


@dataclass(kw_only=True)
class ThingConfig(ModalityConfig):
    modality: ClassVar[str] = "thing"
    expects: ClassVar[str] = "an NPY file of at least 4 finite numbers"
    sizes: ClassVar[dict] = {"small": {"width": 12}, "base": {"width": 16}}
    small: ClassVar[dict] = {"width": 8}

    width: int = 10
    clip: int = 24

    def read(self, source, info):
        import numpy as np

        data = source.read_bytes() if isinstance(source, Path) else source
        try:
            values = np.load(io.BytesIO(data), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise BadSample(f"expected an NPY file, got another ({error})") from error
        if values.ndim != 1 or len(values) < 4 or not np.isfinite(values).all():
            raise BadSample(f"expected {self.expects}, got {values.shape}")
        return values

    def prepare(self, samples, *, seeds=None, augment="weak"):
        import numpy as np
        import torch

        from bindspace.io.sequences import check_augment, cut_clips, pad_rows

        check_augment(augment)
        rows, owner = cut_clips(samples, self.clip, 3, seeds)
        if seeds is not None and augment != "none":
            rows = [row * np.float32(1 + 0.1 * np.random.default_rng(s).random()) for row, s in zip(rows, seeds)]
        values, lengths = pad_rows(rows)
        return {"values": values, "lengths": lengths, **owner}

    def encoder(self, *, pretrained):
        from bindspace_thing.encoder import Encoder

        return Encoder(self.width)

    def example(self, rng, concept):
        import numpy as np

        time = np.arange(int(rng.integers(16, 40)))
        values = np.sin(0.3 * (concept + 1) * time + rng.uniform(0, 6)) + 0.05 * rng.standard_normal(len(time))
        file = io.BytesIO()
        np.save(file, (values + 0.3 * concept).astype(np.float32))
        return file.getvalue(), {"unit": "m"}

    def rejects(self):
        return [(b"\\x93NUMPY and no more", {})]

    def show(self, sample):
        from PIL import Image

        return Image.new("L", (len(sample), 8))
'''

ENCODER = '''\
"""Statistics of each row, then an MLP."""
import torch
from torch import nn


class Encoder(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(48, width)])
        self.frequencies = nn.Parameter(torch.linspace(0.1, 3.5, 24))
        self.dropout = nn.Dropout(0.1)
        self.last = nn.Linear(width, width)

    def tokens(self, values, lengths):
        return self(values, lengths)[:, None].expand(-1, 3, -1)

    def forward(self, values, lengths):
        mask = torch.arange(values.shape[1]) < lengths[:, None]
        angles = torch.arange(values.shape[1])[:, None] * self.frequencies
        waves = torch.cat([angles.sin(), angles.cos()], 1)
        spectrum = (values * mask) @ waves / lengths[:, None]
        features = self.blocks[0](spectrum.abs().add(1e-3).log()).relu()
        return self.last(self.dropout(features))
'''
