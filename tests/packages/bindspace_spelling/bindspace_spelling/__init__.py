"""Text by parts of words, so that a misspelt word stays near the right one (Bojanowski et al. 2017, section 3.2)."""

from __future__ import annotations

import unicodedata
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bindspace import BadSample, Cell, ModalityConfig

SCENES = ["a {} far away", "the {} again", "one {} and nothing else"]
CONCEPTS = ["stone", "bell", "river", "engine", "bird", "glass", "drum", "wind", "footsteps", "clock"]
DROP = {"none": 0.0, "weak": 0.05, "strong": 0.2}  # training: share of the parts that are left out


@dataclass(kw_only=True)
class SpellingConfig(ModalityConfig):
    """A sample is a text; a batch `parts` (R, N) int64, a table row for each three letters, 0 behind the end."""

    modality: ClassVar[str] = "text"
    expects: ClassVar[str] = "a text with at least one letter: a string, or UTF-8 in bytes or a file"
    cell: ClassVar[Cell] = Cell.value
    sizes: ClassVar[dict] = {"small": {"channels": 256, "width": 384}, "base": {"channels": 512, "width": 512}}
    small: ClassVar[dict] = {"buckets": 512, "channels": 32, "width": 32}

    buckets: int = 16384
    channels: int = 128
    length: int = 400  # parts that are read of a text

    def read(self, source, info):
        """The text in lower case and Unicode's composed form."""
        try:
            text = source.read_bytes() if isinstance(source, Path) else source
            text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        except UnicodeDecodeError as error:
            raise BadSample(f"expected UTF-8, got other bytes ({error})") from error
        if not isinstance(text, str) or not any(letter.isalnum() for letter in text):
            raise BadSample(f"expected {self.expects}, got {text!r}")
        return unicodedata.normalize("NFC", " ".join(text.lower().split()))

    def prepare(self, samples, *, seeds=None, augment="weak"):
        """`parts`: in training, some are left out."""
        import numpy as np

        from bindspace.io.sequences import check_augment, pad_rows

        check_augment(augment)
        rows = [np.array(self._parts(text)[: self.length]) for text in samples]
        for index, seed in enumerate(seeds or ()):
            kept = np.random.default_rng(seed).random(len(rows[index])) >= DROP[augment]
            rows[index] = rows[index][kept] if kept.any() else rows[index]
        return {"parts": pad_rows(rows)[0]}

    def _parts(self, text):
        words = [f"<{word}>" for word in text.split()]
        parts = [word[start : start + 3] for word in words for start in range(len(word) - 2)]
        return [1 + zlib.crc32(part.encode()) % (self.buckets - 1) for part in parts]

    def encoder(self, *, pretrained):
        """`parts` (R, N) -> (R, width)."""
        from torch import nn

        from bindspace.modules.trunks import load_weights

        class Encoder(nn.Module):
            def __init__(self, buckets, channels, width):
                super().__init__()
                self.table = nn.EmbeddingBag(buckets, channels, padding_idx=0)
                self.last = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width), nn.GELU())

            def forward(self, parts):
                return self.last(self.table(parts))

        encoder = Encoder(self.buckets, self.channels, self.width)
        if pretrained and self.weights is not None:
            load_weights(encoder, self.weights)
        return encoder

    def example(self, rng, concept):
        """A short text about one of ten things."""
        return SCENES[rng.integers(len(SCENES))].format(CONCEPTS[concept]), {}

    def rejects(self):
        """A text without a letter, bytes that are no UTF-8, a number."""
        return [(source, {}) for source in ("?!", b"\xff\xfe\x00", 7)]
