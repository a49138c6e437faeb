"""Trunks for six-channel motion. Shapes: B clips, N steps, D width; six channels become eight."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bindspace.io.sequences import ConvOverTime, Transformer, is_real, masked_mean


def robust(signal_B6N: Tensor) -> Tensor:
    """(B, 6, N) -> (B, 8, N): adds both magnitudes, invariant to rotation of the sensor; asinh compresses impacts."""
    acceleration = signal_B6N[:, :3].norm(dim=1, keepdim=True) - 1  # gravity is 1 after `prepare`
    rotation = signal_B6N[:, 3:].norm(dim=1, keepdim=True)
    return torch.asinh(torch.cat([signal_B6N, acceleration, rotation], dim=1))


class MotionConv(ConvOverTime):
    """A 1-D CNN over signals of any length."""

    def __init__(self, channels: Sequence[int], depth: int, width: int) -> None:
        super().__init__(8, channels, (1, 4), width, kernel=(1, 3), cells=(1, 4), depth=depth)

    def forward(self, signal: Tensor, steps: Tensor | None = None) -> Tensor:
        """(B, 6, N) and (B,) -> (B, width)."""
        return super().forward(robust(signal).unsqueeze(2), steps)


class MotionTransformer(nn.Module):
    """Patches of `patch` steps -> transformer, at first the identity -> mean."""

    def __init__(self, length: int, patch: int, layers: int, heads: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        self.stem = nn.Conv1d(8, width, patch, stride=patch)
        self.transformer = Transformer(width, layers, heads, -(-length // patch))
        self.norm = nn.LayerNorm(width)

    @property
    def blocks(self) -> list[nn.Module]:
        """The transformer blocks, from input to output (for `tune.unfreeze_last`)."""
        return list(self.transformer.blocks)

    def forward(self, signal: Tensor, steps: Tensor | None = None) -> Tensor:
        """(B, 6, N) and (B,), all of N if None -> (B, width)."""
        B, _, N = signal.shape
        steps = torch.full((B,), N, device=signal.device) if steps is None else steps
        x_B8N = F.pad(robust(signal) * is_real(steps, N)[:, None], (0, -N % self.patch))
        x_BND = self.stem(x_B8N).transpose(1, 2)
        mask_BN = is_real(-(-steps // self.patch), x_BND.shape[1])
        return self.norm(masked_mean(self.transformer(x_BND, mask_BN), mask_BN))
