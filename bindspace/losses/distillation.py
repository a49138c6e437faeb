"""Targets of distillation: reference vectors, weighted by their similarity to the pivot of each row.

Shapes: B rows, D dims, M reference vectors. `pivot_BD[i]` is the pivot of row i; reference vectors are unit vectors
of a third modality, and none of them is paired with any row.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def placed(pivot_BD: Tensor, reference_MD: Tensor, temperature: float, excluded_BM: Tensor | None = None) -> Tensor:
    """Each pivot's weights over the reference vectors: q (B, M), the softmax of its cosines over a temperature.

    Without gradient, since it is a target. `excluded_BM`, bool: reference vectors that a row may not use; at least one
    has to be left.
    """
    logits_BM = pivot_BD @ reference_MD.T / temperature
    if excluded_BM is not None:
        logits_BM = logits_BM.masked_fill(excluded_BM, float("-inf"))
    return logits_BM.softmax(1)


def proxies(q_BM: Tensor, reference_MD: Tensor) -> Tensor:
    """The reference vectors' mean with each row's weights, normalised: (B, D)."""
    return F.normalize(q_BM @ reference_MD, dim=1)


def sampled(q_BM: Tensor, reference_MD: Tensor) -> Tensor:
    """A reference vector for each row, sampled by its weights: (B, D)."""
    return reference_MD[torch.multinomial(q_BM, 1)[:, 0]] if len(q_BM) else reference_MD[:0]


def perplexity(q_BM: Tensor) -> Tensor:
    """The mean perplexity of the rows' weights: a scalar from 1 to M."""
    return torch.special.entr(q_BM).sum(1).exp().mean()
