"""Toy modalities, as a stranger's package would bring them. The fixture `toys` in conftest.py installs them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import ClassVar

from bindspace import BadSample, Cell, ModalityConfig

SIZE = 6  # numbers of a vector


class Activation(Enum):
    """Of a toy encoder."""

    relu = "relu"
    tanh = "tanh"


@dataclass(kw_only=True)
class Depth:
    """Nested settings of a toy encoder."""

    layers: int = 1
    dropout: float = 0.5


@dataclass(kw_only=True)
class VectorConfig(ModalityConfig):
    """Six numbers in an .npy file. In evaluation each sample is two rows (itself, and half of it) of one owner."""

    modality: ClassVar[str] = "vector"
    expects: ClassVar[str] = "six finite numbers: an .npy file or an array | no more"

    width: int = 8
    activation: Activation = Activation.relu
    depth: Depth = field(default_factory=Depth)
    scales: tuple[float, ...] = (1.0, 0.5)
    label: str | None = None

    def read(self, source, info):
        """A float32 array of six numbers."""
        import io

        import numpy as np

        file = io.BytesIO(source) if isinstance(source, bytes) else source
        values = np.load(file) if isinstance(source, Path | bytes) else np.asarray(source)
        if values.shape != (SIZE,) or not np.isfinite(values).all():
            raise BadSample(f"expected six finite numbers, got {values.shape}")
        return values.astype(np.float32)

    def prepare(self, samples, *, seeds=None, augment="weak"):
        """`values` (R, 6), and `owner` (R,) in evaluation."""
        import numpy as np
        import torch

        values = torch.from_numpy(np.stack(samples))
        if seeds is not None:
            return {"values": values}
        rows = torch.cat([values * scale for scale in self.scales])
        return {"values": rows, "owner": torch.arange(len(samples)).repeat(len(self.scales))}

    def encoder(self, *, pretrained):
        """`values` (R, 6) -> (R, width); `gain` (R,) is a second stream that may be left out."""
        import torch
        from torch import nn

        class Encoder(nn.Module):
            def __init__(self, config):
                super().__init__()
                act = {"relu": nn.ReLU, "tanh": nn.Tanh}[config.activation.value]
                layers = [nn.Linear(SIZE, config.width), act()]
                for _ in range(config.depth.layers):
                    layers += [nn.Linear(config.width, config.width), nn.Dropout(config.depth.dropout)]
                self.blocks = nn.Sequential(*layers, nn.BatchNorm1d(config.width))
                self.register_buffer("table", torch.linspace(0, 1, config.width), persistent=False)

            def forward(self, values, gain=None):
                features = self.blocks(values) + self.table
                return features if gain is None else features * gain[:, None]

        return Encoder(self)

    def example(self, rng, concept):
        """Numbers round one of ten centres, as an NPY file."""
        import io

        import numpy as np

        centre, file = np.random.default_rng(concept).normal(size=SIZE), io.BytesIO()
        np.save(file, (centre + 0.1 * rng.normal(size=SIZE)).astype(np.float32))
        return file.getvalue(), {}


@dataclass(kw_only=True)
class CurveConfig(VectorConfig):
    """The same under another name, so that a space can have three modalities."""

    modality: ClassVar[str] = "curve"


@dataclass(kw_only=True)
class WordsConfig(ModalityConfig):
    """A string, as the mean of its words' embeddings."""

    modality: ClassVar[str] = "words"
    expects: ClassVar[str] = "a string with at least one word"
    cell: ClassVar[Cell] = Cell.value

    width: int = 8
    buckets: int = 32

    def read(self, source, info):
        """The words."""
        if not isinstance(source, str) or not source.split():
            raise BadSample(f"expected {self.expects}, got {source!r}")
        return source.split()

    def prepare(self, samples, *, seeds=None, augment="weak"):
        """`words` (B, longest) by hash, 0 where there is none."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        rows = [
            torch.tensor([1 + zlib.crc32(word.encode()) % (self.buckets - 1) for word in words]) for words in samples
        ]
        return {"words": pad_sequence(rows, batch_first=True)}

    def encoder(self, *, pretrained):
        """`words` (B, n) -> (B, width)."""
        from torch import nn

        class Encoder(nn.Module):
            def __init__(self, config):
                super().__init__()
                self.table = nn.EmbeddingBag(config.buckets, config.width, padding_idx=0)

            def forward(self, words):
                return self.table(words)

        return Encoder(self)

    def example(self, rng, concept):
        """A word of ten, with noise words."""
        return f"word{concept} noise{rng.integers(4)}", {}
