"""Targets and masks that follow how near the anchors of a batch are to each other. Shapes: B rows, D dims."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def near(anchor_BD: Tensor, above: float) -> Tensor:
    """(B, B) bool: off the diagonal, couples of rows whose anchors have a cosine above a limit."""
    return (anchor_BD @ anchor_BD.T > above).fill_diagonal_(False)


@torch.no_grad()
def soft_targets(anchor_BD: Tensor, weight: float, temperature: float, left_out_BB: Tensor | None = None) -> Tensor:
    """(B, B), rows that sum to 1: 1 - weight on the row's own partner, the rest by a softmax of the anchors' cosines.

    SoftCLIP (Gao et al. 2023) softens image-text targets so; here the anchors of one modality speak for both sides.
    `left_out_BB`: couples that are no negatives, which get nothing; the diagonal is not among them.
    """
    logits_BB = anchor_BD @ anchor_BD.T / temperature
    if left_out_BB is not None:
        logits_BB = logits_BB.masked_fill(left_out_BB, float("-inf"))
    own = torch.eye(len(anchor_BD), dtype=anchor_BD.dtype, device=anchor_BD.device)
    return (1 - weight) * own + weight * logits_BB.softmax(1)


def jittered(anchor_BD: Tensor, length: float) -> Tensor:
    """Unit vectors with Gaussian noise of about that length added, normalised again."""
    noise_BD = torch.randn_like(anchor_BD) * (length / anchor_BD.shape[1] ** 0.5)
    return F.normalize(anchor_BD + noise_BD, dim=1)
