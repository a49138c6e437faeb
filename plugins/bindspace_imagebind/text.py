"""Text for ImageBind: CLIP's byte-pair encoding and a causal transformer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bindspace import Cell
from bindspace_imagebind.base import ImagebindConfig

if TYPE_CHECKING:
    from torch import Tensor

    from bindspace_imagebind.towers import Shape, Trunk


@dataclass(kw_only=True)
class TextImagebindConfig(ImagebindConfig):
    """At most 75 byte-pair tokens between a start and an end token. Needs `bindspace[clip]` for the vocabulary."""

    modality: ClassVar[str] = "text"
    expects: ClassVar[str] = "a text with at least one word: a string, or UTF-8 in bytes or a .txt file"
    cell: ClassVar[Cell] = Cell.value
    scale: ClassVar[float | None] = 1 / 0.07  # learned in the official model, at most 100
    extra: ClassVar[bool] = False

    channels: int = 1024
    layers: int = 24
    heads: int = 16

    def read(self, source: Any, info: Mapping[str, Any]) -> str:
        """The text in Unicode's composed form (NFC), without blanks around it."""
        return self.plain().read(source, info)

    def prepare(
        self, samples: Sequence[str], *, seeds: Sequence[int] | None = None, augment: str = "weak"
    ) -> dict[str, Tensor]:
        """`inputs` (B, 77) int64: start, tokens, end, then 0. Training sees texts as they are."""
        from bindspace.io.sequences import check_augment
        from bindspace_imagebind.tokenizer import tokenize

        check_augment(augment)
        return {"inputs": tokenize(samples)}

    def tower(self, shape: Shape) -> Trunk:
        """A causal transformer."""
        from bindspace_imagebind.towers import TextTower

        return TextTower(shape)
