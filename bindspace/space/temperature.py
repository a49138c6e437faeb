"""The logit scale of a pair: 1 / temperature, and the bias of a sigmoid loss. Torch only."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Temperature(nn.Module):
    """The logit scale 1 / temperature of one pair, fixed or learned in log space (CLIP: Radford et al. 2021, 2.5).

    `clamp_`, which training calls after each step, keeps a learned one at or above `minimum`. `bias`: learned, added to
    the scaled similarities by a sigmoid loss (SigLIP: Zhai et al. 2023, section 3.2).
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
        """Gives the pair a learned bias, unless it has one; None: no change."""
        if bias is not None and self.bias is None:
            self.bias = nn.Parameter(torch.tensor(float(bias), device=self.log_scale.device))

    @torch.no_grad()
    def clamp_(self) -> None:
        """Clamps a learned temperature to the minimum."""
        if self.learned:
            self.log_scale.clamp_(max=-math.log(self.minimum))
