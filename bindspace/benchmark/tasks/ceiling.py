"""The ceiling: recall of an ideal retrieval by the attributes that both modalities can reveal, and nothing else."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from bindspace.metrics import match

TILE = 1024


def attribute_ceiling(
    query_events: Sequence[Sequence[int]],
    gallery_events: Sequence[Sequence[int]],
    columns: Sequence[Sequence[Hashable]],
    k: Sequence[int],
) -> dict[int, float]:
    """Expected recall@k of a ranking by the number of equal attributes, ties broken at random.

    `columns`: for each shared attribute a list of values by event; None equals nothing. An item of several events
    takes the attributes of its first. Ties give the expected value here, not the pessimistic one: with few
    attributes nearly all items tie, and the ceiling is what the attributes allow.
    """
    positives = match(query_events, gallery_events)
    code_AE = torch.stack([codes(column) for column in columns]) if columns else torch.zeros(0, 1 + _last(query_events))
    query_AN = code_AE[:, [each[0] for each in query_events]]
    gallery_AM = code_AE[:, [each[0] for each in gallery_events]]
    reached: list[Tensor] = []
    for start in range(0, len(query_events), TILE):
        tile_AT = query_AN[:, start : start + TILE]
        agree = ((tile_AT.unsqueeze(2) == gallery_AM.unsqueeze(1)) & (tile_AT.unsqueeze(2) >= 0)).sum(0)
        inside = (positives.query_P >= start) & (positives.query_P < start + TILE)
        positive = torch.zeros_like(agree, dtype=torch.bool)
        positive[positives.query_P[inside] - start, positives.gallery_P[inside]] = True
        reached.append(_expected(agree, positive, k))
    mean = torch.cat(reached).mean(0).tolist()
    return dict(zip(k, mean, strict=True))


def _expected(agree: Tensor, positive: Tensor, k: Sequence[int]) -> Tensor:
    """Probability (T, len(k)) that a positive is among the first k: 1 - C(t, k - g) / C(t + c, k - g).

    g non-positives share more attributes than the c best positives, and t share as many.
    """
    best = agree.masked_fill(~positive, -1).amax(1, keepdim=True)
    above = (agree > best).sum(1)
    tied = ((agree == best) & ~positive).sum(1).double()
    own = ((agree == best) & positive).sum(1).double()
    missed, by_k = torch.ones_like(tied), {}
    for drawn in range(max(k)):  # the (drawn + 1 - g)-th place among the tied
        place = drawn - above
        step = ((tied - place) / (tied + own - place).clamp(min=1)).clamp(min=0)
        missed = torch.where(place >= 0, missed * step, missed)
        by_k[drawn + 1] = 1 - missed
    return torch.stack([by_k[each] for each in k], dim=1)


def codes(column: Sequence[Hashable]) -> Tensor:
    """A number for each distinct value, -1 for None."""
    numbers: dict[Hashable, int] = {}
    return torch.tensor([-1 if value is None else numbers.setdefault(value, len(numbers)) for value in column])


def _last(events: Sequence[Sequence[int]]) -> int:
    return max(event for each in events for event in each)
