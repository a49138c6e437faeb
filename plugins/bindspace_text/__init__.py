"""Text: words by a stable hash, so there is no vocabulary file, and no unknown word."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bindspace import BadSample, Cell, ModalityConfig

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import Tensor, nn

# A word with inner apostrophes or hyphens; one character of a script that is written without spaces; one mark.
TOKEN = re.compile(r"[぀-ヿ㐀-鿿豈-﫿]|[^\W぀-ヿ㐀-鿿豈-﫿]+(?:['’-][^\W぀-ヿ㐀-鿿豈-﫿]+)*|[^\w\s]")
CONCEPTS = ["stone", "bell", "river", "engine", "bird", "glass", "drum", "wind", "footsteps", "clock"]
SCENES = ["a {} far away", "the {} again", "somewhere there is a {}", "one {} and nothing else", "listen: a {}"]
DROP = {"none": 0.0, "weak": 0.05, "strong": 0.15}


@dataclass(kw_only=True)
class TextConfig(ModalityConfig):
    """Hashed words -> `layers` transformer blocks, initialised to a bag of words -> mean -> MLP."""

    modality: ClassVar[str] = "text"
    expects: ClassVar[str] = "a text with at least one word: a string, or UTF-8 in bytes or a .txt file"
    cell: ClassVar[Cell] = Cell.value
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {"buckets": 16384, "channels": 384, "layers": 4, "heads": 6, "width": 384},
        "base": {"buckets": 65536, "channels": 512, "layers": 12, "heads": 8, "width": 512, "length": 128},
    }

    buckets: int = 4096  # rows of the embedding table; a word is the sum of two of them
    channels: int = 192  # width of embeddings and transformer
    layers: int = 0  # transformer blocks; 0: a bag of words
    heads: int = 4
    length: int = 64  # words of a text; further words are cut off

    def read(self, source: Any, info: Mapping[str, Any]) -> str:
        """The text in Unicode's composed form (NFC), without blanks around it."""
        if isinstance(source, Path):
            if source.suffix.lower() != ".txt":
                raise BadSample(f"expected a .txt file, got {source.name!r}: give the text itself, or save it as .txt")
            source = source.read_bytes()
        if isinstance(source, bytes):
            try:
                source = source.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise BadSample(
                    f"expected UTF-8, got byte {source[error.start]:#x} at {error.start}: save it as UTF-8"
                ) from error
        if not isinstance(source, str):
            raise BadSample(f"expected {self.expects}, got {type(source).__name__}")
        text = unicodedata.normalize("NFC", source).strip()
        if not text:
            raise BadSample("expected at least one word, got an empty text: leave the cell out where there is none")
        return text

    def prepare(
        self, samples: Sequence[str], *, seeds: Sequence[int] | None = None, augment: str = "weak"
    ) -> dict[str, Tensor]:
        """`ids` (R, L, 2) int64, two table rows a word, and `mask` (R, L), True where a word is."""
        import numpy as np

        from bindspace.io.sequences import check_augment, is_real, pad_rows

        check_augment(augment)
        rows = [np.array([bucket_pair(word) for word in words(text)[: self.length]]) for text in samples]
        if seeds is not None and DROP[augment]:
            rows = [_drop(row, seed, DROP[augment]) for row, seed in zip(rows, seeds)]
        ids, lengths = pad_rows(rows)
        return {"ids": ids % self.buckets, "mask": is_real(lengths, ids.shape[1])}

    def encoder(self, *, pretrained: bool) -> nn.Module:
        """Random weights, or those of the file `weights`."""
        from bindspace_text.encoder import TextEncoder

        encoder = TextEncoder(self.buckets, self.channels, self.layers, self.heads, self.length, self.width)
        if pretrained and self.weights is not None:
            from bindspace.modules.trunks import load_weights

            load_weights(encoder, self.weights)
        return encoder

    def example(self, rng: np.random.Generator, concept: int) -> tuple[str, dict[str, Any]]:
        """A short sentence about one of ten things."""
        return SCENES[rng.integers(len(SCENES))].format(CONCEPTS[concept]), {}

    def show(self, sample: str) -> Image:
        """The text, drawn."""
        from textwrap import wrap

        from PIL import Image, ImageDraw, ImageFont

        lines = wrap(sample, 34)[:8]
        image = Image.new("RGB", (320, max(160, 24 * len(lines) + 24)), "white")
        ImageDraw.Draw(image).multiline_text((12, 12), "\n".join(lines), "black", ImageFont.load_default(16), spacing=6)
        return image


def words(text: str) -> list[str]:
    """Lower-case words and marks in order.

    >>> words("A ball bounces, then stops.")
    ['a', 'ball', 'bounces', ',', 'then', 'stops', '.']
    """
    return TOKEN.findall(text.lower())


@lru_cache(maxsize=65536)  # captions repeat their words
def bucket_pair(word: str) -> tuple[int, int]:
    """Two independent 32-bit hashes of a word, the same on every machine and in every process.

    Two words are only confused if both collide (hash embeddings: Svenstrup et al. 2017, section 3).
    """
    digest = blake2b(word.encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:], "big")


def _drop(row: np.ndarray, seed: int, share: float) -> np.ndarray:
    """Leaves out each word with the given probability, but never all."""
    import numpy as np

    kept = row[np.random.default_rng(seed).random(len(row)) >= share]
    return kept if len(kept) else row
