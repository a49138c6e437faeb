"""Heads: features of an encoder to a point of the space. Torch only."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bindspace.contract import Head

FASTER = 10.0  # under Adam a metric learns so many times as fast as the rest: 1 and 30 kept less of what is new
WIDER = 4  # rows of a metric's map for each of the space's dims: fewer depend more on where they begin


def build_head(kind: Head, width: int, dim: int) -> nn.Module:
    """The projection (B, width) -> (B, dim), before normalisation.

    `linear` is LayerNorm and one matrix, as in ImageBind (Girdhar et al. 2023, section 4); `mlp` has one hidden layer
    of `width`; `metric` is `MetricHead`; `identity` needs `width == dim`, since the tower ends in the space already.
    """
    if kind is Head.linear:
        return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim, bias=False))
    if kind is Head.metric:
        return MetricHead(width, dim)
    if kind is Head.mlp:
        return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, dim, bias=False))
    if width != dim:
        raise ValueError(
            f"a head `identity` needs a tower of the space's dim {dim}, got width {width}: set dim={width}"
        )
    return nn.Identity()


class MetricHead(nn.Module):
    """A linear head, and a map H (K, D) of the space that is learned beside it. Shapes: B rows, D dims, K = 4 D.

    In training it gives `a`, which meets the pivot's x at `met(x)` = H x, normalised: a bilinear similarity, in which
    directions of the pivot that the modality cannot tell grow short. In evaluation it gives `back(a)` = H' a, a point
    of the space as it stands, whose cosine with x follows a' H x; less `hubs` (D,), since H x is longer for some x than
    for others, and a long one is near to everything.
    """

    hubs: Tensor

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.linear = build_head(Head.linear, width, WIDER * dim)
        self.map = nn.Parameter(torch.randn(WIDER * dim, dim) / (FASTER * dim**0.5))  # H / FASTER
        self.register_buffer("hubs", torch.zeros(dim))
        self.training_dim = WIDER * dim

    def forward(self, features: Tensor) -> Tensor:
        """(B, width) -> (B, K) in training, (B, D) in evaluation; before normalisation."""
        a_BK = self.linear(features)
        return a_BK if self.training else self.back(F.normalize(a_BK.float(), dim=-1)) - self.hubs

    def mapped(self, x_BD: Tensor) -> Tensor:
        """H x of points of the space: (B, K), not normalised."""
        return x_BD @ (FASTER * self.map).T

    def met(self, x_BD: Tensor) -> Tensor:
        """Where training meets the pivot's points: unit vectors (B, K)."""
        return F.normalize(self.mapped(x_BD), dim=-1)

    def back(self, a_BK: Tensor) -> Tensor:
        """Unit vectors of training as points of the space: (B, D), not normalised."""
        return a_BK @ (FASTER * self.map)
