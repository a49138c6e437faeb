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
    logits_BM = anchor_BD @ landmarks_MD.T / temperature
    if excluded_BM is not None:
        logits_BM = logits_BM.masked_fill(excluded_BM, float("-inf"))
    return logits_BM.softmax(1)


def proxies(q_BM: Tensor, landmarks_MD: Tensor) -> Tensor:
    """The landmarks' mean as each row's anchor weighs them, normalised: (B, D)."""
    return F.normalize(q_BM @ landmarks_MD, dim=1)


def sampled(q_BM: Tensor, landmarks_MD: Tensor) -> Tensor:
    """A landmark for each row, drawn as its anchor weighs them: (B, D)."""
    return landmarks_MD[torch.multinomial(q_BM, 1)[:, 0]] if len(q_BM) else landmarks_MD[:0]


def perplexity(q_BM: Tensor) -> Tensor:
    """Among how many landmarks a row's teacher is divided, on average: a scalar from 1 to M."""
    return torch.special.entr(q_BM).sum(1).exp().mean()
