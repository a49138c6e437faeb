"""The text trunk. Shapes: B texts, L words, C channels."""

from __future__ import annotations

from torch import Tensor, nn

from bindspace.io.sequences import Transformer, masked_mean


class TextEncoder(nn.Module):
    """Hash embeddings -> transformer, at first the identity -> mean over words -> LayerNorm and one layer."""

    def __init__(self, buckets: int, channels: int, layers: int, heads: int, length: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(buckets, channels)
        nn.init.normal_(self.embedding.weight, std=0.5**0.5)  # a word is the sum of two rows
        self.transformer = Transformer(channels, layers, heads, length) if layers else None
        self.last = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width), nn.GELU())

    @property
    def blocks(self) -> list[nn.Module]:
        """The transformer blocks, from input to output (for `tune.unfreeze_last`)."""
        return list(self.transformer.blocks) if self.transformer is not None else []

    def words(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, L, 2) and (B, L) -> one vector a word, (B, L, C)."""
        x_BLC = self.embedding(ids).sum(2)
        return x_BLC if self.transformer is None else self.transformer(x_BLC, mask)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, L, 2) and (B, L) -> (B, width)."""
        return self.last(masked_mean(self.words(ids, mask), mask))
