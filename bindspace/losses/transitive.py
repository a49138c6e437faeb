"""What a row is near to among landmarks, learned by way of the anchor that it is paired with.

Shapes: B rows, D dims, M landmarks. `anchor_BD[i]` and `z_BD[i]` are the two sides of one event; landmarks are unit
vectors of a third modality, and none of them is said to belong to any row.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def placed(anchor_BD: Tensor, landmarks_MD: Tensor, temperature: float, excluded_BM: Tensor | None = None) -> Tensor:
    """Where each anchor stands among the landmarks: q (B, M), the softmax of its cosines over a temperature.

    Without gradient, since it teaches. `excluded_BM`, bool: landmarks that are not offered to a row; one at least has
    to be left.
    """
    return _logits(anchor_BD, landmarks_MD, temperature, excluded_BM).softmax(1)


def transitive(
    z_BD: Tensor, q_BM: Tensor, landmarks_MD: Tensor, temperature: float, excluded_BM: Tensor | None = None
) -> Tensor:
    """The mean over rows of the cross-entropy -sum_m q log p, p the softmax of the rows' own cosines: a scalar.

    Distillation of similarities to a set (ISD: Tejankar et al. 2021), here from one modality to another. At equal
    temperatures it is least where a row stands among the landmarks as its anchor does. `q_BM` is 0 where `excluded_BM`
    is true.
    """
    logits_BM = _logits(z_BD, landmarks_MD, temperature, excluded_BM)
    aimed_B = (z_BD * (q_BM @ landmarks_MD)).sum(1) / temperature  # sum_m q logit, without 0 times -inf
    return (logits_BM.logsumexp(1) - aimed_B).mean()


def proxies(q_BM: Tensor, landmarks_MD: Tensor) -> Tensor:
    """The landmarks' mean as each row's anchor weighs them, normalised: (B, D)."""
    return F.normalize(q_BM @ landmarks_MD, dim=1)


def sampled(q_BM: Tensor, landmarks_MD: Tensor) -> Tensor:
    """A landmark for each row, drawn as its anchor weighs them: (B, D)."""
    return landmarks_MD[torch.multinomial(q_BM, 1)[:, 0]] if len(q_BM) else landmarks_MD[:0]


def perplexity(q_BM: Tensor) -> Tensor:
    """Among how many landmarks a row's teacher is divided, on average: a scalar from 1 to M."""
    return torch.special.entr(q_BM).sum(1).exp().mean()


def _logits(z_BD: Tensor, landmarks_MD: Tensor, temperature: float, excluded_BM: Tensor | None) -> Tensor:
    logits_BM = z_BD @ landmarks_MD.T / temperature
    return logits_BM if excluded_BM is None else logits_BM.masked_fill(excluded_BM, float("-inf"))
