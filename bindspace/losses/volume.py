"""Contrast by the volume that an event's vectors span. Shapes: B events, D dims, K modalities beside the anchor."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SMALLEST = 1e-8  # of a squared volume: its root has a gradient there


def volumes(anchor_BD: Tensor, others_KBD: Tensor) -> Tensor:
    """(B, B): the volume of the parallelotope of anchor i and the K other unit vectors of event j.

    The root of the determinant of their Gram matrix (GRAM: Cicchetti et al., ICLR 2025, equation 4), 0 where they are
    parallel and 1 where they are orthogonal. By the Schur complement: det G = det M (1 - v' M^-1 v), with M the Gram
    matrix of the K others of event j, and v the anchor's cosines with them.
    """
    others_BKD = others_KBD.transpose(0, 1)
    gram_BKK = others_BKD @ others_BKD.transpose(1, 2)
    eye = torch.eye(len(others_KBD), dtype=gram_BKK.dtype, device=gram_BKK.device)
    gram_BKK = gram_BKK + 1e-6 * eye  # parallel vectors have no inverse
    cosine_jKi = others_BKD @ anchor_BD.T
    explained_ji = (cosine_jKi * torch.linalg.solve(gram_BKK, cosine_jKi)).sum(1)
    squared_ij = (torch.linalg.det(gram_BKK)[:, None] * (1 - explained_ji)).T
    return squared_ij.clamp(min=SMALLEST).sqrt()


def gram(anchor_BD: Tensor, others_KBD: Tensor, temperature: float, *, keys_KB: Tensor | None = None) -> Tensor:
    """The mean of both directions' cross-entropy over -volume / temperature: a scalar (the same paper, equation 6).

    `keys_KB` (any number of rows, B): events of equal content in any of these are not negatives of each other.
    """
    logits_BB = -volumes(anchor_BD, others_KBD) / temperature
    if keys_KB is not None:
        same_BB = (keys_KB[:, :, None] == keys_KB[:, None, :]).any(0).fill_diagonal_(False)
        logits_BB = logits_BB.masked_fill(same_BB, float("-inf"))
    own_B = torch.arange(len(logits_BB), device=logits_BB.device)
    return (F.cross_entropy(logits_BB, own_B) + F.cross_entropy(logits_BB.T, own_B)) / 2
