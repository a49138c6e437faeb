"""Heads: features of an encoder to a point of the space. Torch only."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bindspace.modality import Head


def build_head(kind: Head, width: int, dim: int) -> nn.Module:
    """The projection (B, width) -> (B, dim), before normalisation.

    `linear` is LayerNorm and one matrix, as in ImageBind (Girdhar et al. 2023, section 4); `mlp` has one hidden layer
    of `width`; `identity` needs `width == dim`, since the tower ends in the space already.
    """
    if kind is Head.linear:
        return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim, bias=False))
    if kind is Head.mlp:
        return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, dim, bias=False))
    if width != dim:
        raise ValueError(
            f"a head `identity` needs a tower of the space's dim {dim}, got width {width}: set dim={width}"
        )
    return nn.Identity()


class Temperature(nn.Module):
    """The logit scale 1 / temperature of one pair, fixed or learned in log space (CLIP: Radford et al. 2021, 2.5).

    A learned one is kept at or above `minimum` by `clamp_`, which training calls after each step. `bias`: what a
    sigmoid loss adds to the scaled similarities, learned (SigLIP: Zhai et al. 2023, section 3.2).
    """

    bias: nn.Parameter | None

    def __init__(self, temperature: float, learned: bool, minimum: float = 0.01, bias: float | None = None) -> None:
        super().__init__()
        self.register_parameter("bias", None)
        self.learned = learned
        self.minimum = minimum
        log_scale = -torch.tensor(float(temperature)).log()
        if learned:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)
        self.add_bias(bias)

    def forward(self) -> Tensor:
        """The factor on cosine similarities: a scalar tensor."""
        return self.log_scale.exp()

    def add_bias(self, bias: float | None) -> None:
        """Gives the pair a learned bias, unless it has one; None: leaves it as it is."""
        if bias is not None and self.bias is None:
            self.bias = nn.Parameter(torch.tensor(float(bias), device=self.log_scale.device))

    @torch.no_grad()
    def clamp_(self) -> None:
        """Brings a learned temperature back to the minimum where a step went below."""
        if self.learned:
            self.log_scale.clamp_(max=-math.log(self.minimum))
