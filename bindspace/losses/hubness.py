"""Hubness: vectors that are near to every query, and its correction. Shapes: M reference vectors, D dims."""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 1e-5  # times the number of reference vectors: negligible unless they span less than the space


@torch.no_grad()
def hub_direction(x_MD: Tensor, lengths_M: Tensor) -> Tensor:
    """The direction (D,) along which lengths grow: least squares of the lengths on the points, with a constant.

    A score that is proportional to a vector's length favours the long ones for any query (hubs: Radovanović et
    al. 2010). Dividing by the length would undo it; `x @ hub_direction` is the part of the length that a point's
    cosines with all others can be corrected for, in float64.
    """
    x, lengths = x_MD.double(), lengths_M.double()
    x = x - x.mean(0)
    ridge = RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    return torch.linalg.solve(x.T @ x + ridge, x.T @ (lengths - lengths.mean())).to(x_MD.dtype)
