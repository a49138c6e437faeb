"""The losses as they are written down, with the whole matrix of similarities: the reference, and right for few rows.

Shapes: B rows, D dims, M rows of a bank. `a_BD[i]` and `b_BD[i]` are the two sides of one event.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Bank(NamedTuple):
    """Past rows of both sides of a pair, as further negatives: they are constants, from weights that were."""

    a_MD: Tensor
    b_MD: Tensor
    keys_a_M: Tensor
    keys_b_M: Tensor


def content_keys(digests: Tensor) -> Tensor:
    """One int64 (B,) per SHA-256 digest, uint8 (B, 32): rows with equal keys hold the same content."""
    return digests[:, :8].contiguous().view(torch.int64).squeeze(1)


def not_negative(keys_a: Tensor, keys_b: Tensor) -> Tensor:
    """(B, B) bool: off the diagonal, where row and column hold the same content on either side of the pair.

    Such a column is neither a positive nor a negative: two captions of one picture, or one caption of two pictures.
    """
    return _same(keys_a, keys_b, keys_a, keys_b).fill_diagonal_(False)


def info_nce_plain(
    a_BD: Tensor,
    b_BD: Tensor,
    logit_scale: Tensor | float,
    *,
    keys_a: Tensor | None = None,
    keys_b: Tensor | None = None,
    events: Tensor | None = None,
    bank: Bank | None = None,
    near_BB: Tensor | None = None,
    soft_BB: Tensor | None = None,
) -> Tensor:
    """`info_nce`, in the words of its equation."""
    logits_BB = logit_scale * (a_BD @ b_BD.T)
    positive = None if events is None else events[:, None] == events[None, :]
    if (ignored := _left_out(keys_a, keys_b, near_BB)) is not None:
        logits_BB = logits_BB.masked_fill(ignored if positive is None else ignored & ~positive, float("-inf"))
    past_a, past_b = _past_logits(a_BD, b_BD, logit_scale, keys_a, keys_b, bank)
    if soft_BB is not None:
        assert events is bank is None, "soft targets are over the rows of the batch, and name the positives"
        return (_soft_entropy(logits_BB, soft_BB) + _soft_entropy(logits_BB.T, soft_BB)) / 2
    return (_cross_entropy(logits_BB, past_a, positive) + _cross_entropy(logits_BB.T, past_b, positive)) / 2


def siglip_plain(
    a_BD: Tensor,
    b_BD: Tensor,
    logit_scale: Tensor | float,
    bias: Tensor | float,
    *,
    keys_a: Tensor | None = None,
    keys_b: Tensor | None = None,
    bank: Bank | None = None,
    near_BB: Tensor | None = None,
) -> Tensor:
    """`siglip`, in the words of its equation."""
    z_BB = logit_scale * (a_BD @ b_BD.T) + bias
    off = ~torch.eye(len(z_BB), dtype=torch.bool, device=z_BB.device)
    if (ignored := _left_out(keys_a, keys_b, near_BB)) is not None:
        off = off & ~ignored
    total = F.softplus(-z_BB.diagonal()).sum() + torch.where(off, F.softplus(z_BB), 0.0).sum()
    for past in _past_logits(a_BD, b_BD, logit_scale, keys_a, keys_b, bank):
        total = total + (0.0 if past is None else F.softplus(past + bias).sum())
    return total / len(z_BB)


def _left_out(keys_a: Tensor | None, keys_b: Tensor | None, near_BB: Tensor | None) -> Tensor | None:
    """Couples off the diagonal that are no negatives: of equal content, or near each other."""
    if keys_a is None or keys_b is None:
        return near_BB
    same_BB = not_negative(keys_a, keys_b)
    return same_BB if near_BB is None else same_BB | near_BB


def _same(rows_a: Tensor, rows_b: Tensor, columns_a: Tensor, columns_b: Tensor) -> Tensor:
    return (rows_a[:, None] == columns_a[None, :]) | (rows_b[:, None] == columns_b[None, :])


def _past_logits(
    a_BD: Tensor, b_BD: Tensor, scale: Tensor | float, keys_a: Tensor | None, keys_b: Tensor | None, bank: Bank | None
) -> tuple[Tensor | None, Tensor | None]:
    """Logits (B, M) of either side against the other side's bank, -inf where it holds the row's own content."""
    if bank is None:
        return None, None
    logits = [scale * (a_BD @ bank.b_MD.T), scale * (b_BD @ bank.a_MD.T)]
    if keys_a is not None and keys_b is not None:
        same = _same(keys_a, keys_b, bank.keys_a_M, bank.keys_b_M)
        logits = [each.masked_fill(same, float("-inf")) for each in logits]
    return logits[0], logits[1]


def _cross_entropy(logits_BB: Tensor, past_BM: Tensor | None, positive: Tensor | None) -> Tensor:
    rows = len(logits_BB)
    logits = logits_BB if past_BM is None else torch.cat([logits_BB, past_BM], dim=1)
    if positive is None:
        return F.cross_entropy(logits, torch.arange(rows, device=logits.device))
    log_share = torch.where(positive, logits.log_softmax(1)[:, :rows], 0.0)
    return -(log_share.sum(1) / positive.sum(1)).mean()


def _soft_entropy(logits_BB: Tensor, soft_BB: Tensor) -> Tensor:
    aimed_BB = torch.where(soft_BB > 0, logits_BB, 0.0)  # 0 times -inf is no number
    return (logits_BB.logsumexp(1) - (soft_BB * aimed_BB).sum(1)).mean()
