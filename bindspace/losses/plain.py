"""The losses as their equations say, with the whole similarity matrix: the reference, and faster for few rows.

Shapes: B rows, D dims. `a_BD[i]` and `b_BD[i]` are the two sides of one event.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def content_keys(digests: Tensor) -> Tensor:
    """One int64 (B,) per SHA-256 digest, uint8 (B, 32): rows with equal keys hold the same content."""
    return digests[:, :8].contiguous().view(torch.int64).squeeze(1)


def not_negative(keys_a: Tensor, keys_b: Tensor) -> Tensor:
    """(B, B) bool: off the diagonal, where row and column hold the same content on either side of the pair.

    Such a column is neither a positive nor a negative: two captions of one picture, or one caption of two pictures.
    """
    same_BB = (keys_a[:, None] == keys_a[None, :]) | (keys_b[:, None] == keys_b[None, :])
    return same_BB.fill_diagonal_(False)


def info_nce_plain(
    a_BD: Tensor,
    b_BD: Tensor,
    logit_scale: Tensor | float,
    *,
    keys_a: Tensor | None = None,
    keys_b: Tensor | None = None,
) -> Tensor:
    """`info_nce`, as its equation says."""
    logits_BB = logit_scale * (a_BD @ b_BD.T)
    if keys_a is not None and keys_b is not None:
        logits_BB = logits_BB.masked_fill(not_negative(keys_a, keys_b), float("-inf"))
    own_B = torch.arange(len(logits_BB), device=logits_BB.device)
    return (F.cross_entropy(logits_BB, own_B) + F.cross_entropy(logits_BB.T, own_B)) / 2


def siglip_plain(
    a_BD: Tensor,
    b_BD: Tensor,
    logit_scale: Tensor | float,
    bias: Tensor | float,
    *,
    keys_a: Tensor | None = None,
    keys_b: Tensor | None = None,
) -> Tensor:
    """`siglip`, as its equation says."""
    z_BB = logit_scale * (a_BD @ b_BD.T) + bias
    negative_BB = ~torch.eye(len(z_BB), dtype=torch.bool, device=z_BB.device)
    if keys_a is not None and keys_b is not None:
        negative_BB = negative_BB & ~not_negative(keys_a, keys_b)
    total = F.softplus(-z_BB.diagonal()).sum() + torch.where(negative_BB, F.softplus(z_BB), 0.0).sum()
    return total / len(z_BB)
