"""Heads: project features of an encoder into the space. Torch only."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bindspace.contract import Head

FASTER = 10.0  # learning-rate factor of the metric under Adam: 1 and 30 had lower recall on held-out combinations
WIDER = 4  # rows of the metric's map per dim of the space: fewer depend more on the initialisation


def build_head(kind: Head, width: int, dim: int) -> nn.Module:
    """The projection (B, width) -> (B, dim), before normalisation.

    `linear` is LayerNorm and one matrix, as in ImageBind (Girdhar et al. 2023, section 4); `mlp` has one hidden layer
    of `width`; `metric` is `MetricHead`; `identity` needs `width == dim`: the tower ends in the space.
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
    """A linear head with a learned metric: a map H (K, D) of the space. Shapes: B rows, D dims, K = 4 D.

    In training it returns `a`, which is compared with `met(x)` = H x of the pivot's x, normalised: a bilinear
    similarity, in which directions of the pivot that are absent from the modality get small. In evaluation it returns
    `back(a)` = H' a, a point of the unchanged space, whose cosine with x follows a' H x; minus `hubs` (D,), the hubness
    correction: H x is longer for some x than for others, and a long one is close to every query.
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
        """The pivot's points as training compares them: unit vectors (B, K)."""
        return F.normalize(self.mapped(x_BD), dim=-1)

    def back(self, a_BK: Tensor) -> Tensor:
        """Unit vectors of training as points of the space: (B, D), not normalised."""
        return a_BK @ (FASTER * self.map)
