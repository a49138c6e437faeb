"""One side of a pair in a batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Side:
    """One side of this rank's rows of a pair: unit vectors (B, D) and content digests (B, 32)."""

    z_BD: Tensor
    digests_B32: Tensor
