"""Symmetric InfoNCE over the rows of a batch. Torch only.

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
    same = (keys_a[:, None] == keys_a[None, :]) | (keys_b[:, None] == keys_b[None, :])
    return same.fill_diagonal_(False)


def info_nce(
    a_BD: Tensor,
    b_BD: Tensor,
    logit_scale: Tensor | float,
    *,
    keys_a: Tensor | None = None,
    keys_b: Tensor | None = None,
) -> Tensor:
    """The mean of both directions' cross-entropies over the batch's own rows: a scalar.

    Rows are unit vectors and the scale multiplies their cosines (van den Oord et al. 2018, equation 4; symmetric as in
    CLIP, Radford et al. 2021, figure 3; ImageBind, Girdhar et al. 2023, equation 1). `keys_a`, `keys_b` (B,), from
    `content_keys`: rows with the same content on either side are not counted as negatives of each other.
    """
    logits_BB = logit_scale * (a_BD @ b_BD.T)
    if keys_a is not None and keys_b is not None:
        logits_BB = logits_BB.masked_fill(not_negative(keys_a, keys_b), float("-inf"))
    target = torch.arange(len(a_BD), device=a_BD.device)
    return (F.cross_entropy(logits_BB, target) + F.cross_entropy(logits_BB.T, target)) / 2
