"""timm's networks over spectrograms. A file of its own, so that other trunks never import timm's registry."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from bindspace.modules.timm_trunk import TimmTrunk

CELL = 32  # frames that most networks turn into one cell: lengths are filled up to whole ones


class SpectrogramTimm(TimmTrunk):
    """A network over spectrograms of one length; shorter ones are filled up with the mean."""

    def forward(self, mel: Tensor, frames: Tensor | None = None) -> Tensor:
        """(B, 1, F, T) and (B,) -> (B, width)."""
        return super().forward(F.pad(mel, (0, self.sides[1] - mel.shape[-1])))
