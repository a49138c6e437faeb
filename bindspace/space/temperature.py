"""The logit scale of a pair: 1 / temperature, and the bias of a sigmoid loss. Torch only."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


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
