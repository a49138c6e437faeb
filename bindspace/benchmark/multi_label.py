"""Zero-shot with several labels an item: mean average precision over classes, as AudioSet is measured.

Shape suffixes: N items, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bindspace.benchmark.intervals import central
from bindspace.benchmark.permutation import Permutations

CONTROLS = 200  # permutations of the items: each ranks all of them anew
DRAWS = 200


def present_of(
    events: Sequence[Sequence[int]], values: Sequence[list[str] | None], classes: Sequence[str]
) -> tuple[list[int], Tensor]:
    """The items whose first event has labels, and which (N, C) bool."""
    code = {name: number for number, name in enumerate(classes)}
    rows = [index for index, each in enumerate(events) if values[each[0]] is not None]
    present = torch.zeros(len(rows), len(classes), dtype=torch.bool)
    for row, index in enumerate(rows):
        present[row, [code[str(label)] for label in values[events[index][0]] or []]] = True
    return rows, present


def average_precision(score_NC: Tensor, present_NC: Tensor) -> Tensor:
    """Average precision of each class (C,), NaN for one that no item has; ties stand against the class.

    The mean over a class's items of the precision at their place, in the order of falling scores (Manning et al. 2008,
    section 8.4).
    """
    order = _pessimistic(score_NC, present_NC)
    hit = present_NC.gather(0, order).double()
    place = torch.arange(1, len(hit) + 1, dtype=torch.float64).unsqueeze(1)
    return ((hit.cumsum(0) / place) * hit).sum(0) / hit.sum(0)


def _pessimistic(score_NC: Tensor, present_NC: Tensor) -> Tensor:
    """Items by falling score, of equal ones those without the label first."""
    first = present_NC.int().argsort(dim=0, stable=True)
    return first.gather(0, score_NC.gather(0, first).argsort(dim=0, descending=True, stable=True))


def rank_labels(score_NC: Tensor, present_NC: Tensor, permutations: Permutations) -> dict[str, Any]:
    """mAP over the classes that occur, its interval by bootstrap over items, chance, and mAP under permuted items."""
    occurring = present_NC.any(0)
    score, present = score_NC[:, occurring], present_NC[:, occurring]
    generator = torch.Generator().manual_seed(permutations.seed)
    drawn = [torch.randint(len(score), (len(score),), generator=generator) for _ in range(DRAWS)]
    spread = torch.stack([average_precision(score[rows], present[rows]).nanmean() for rows in drawn])
    shuffled = permutations.of(len(score))[:CONTROLS].long()
    control = torch.stack([average_precision(score, present[rows]).nanmean() for rows in shuffled])
    tails = torch.tensor([0.025, 0.975], dtype=torch.float64)
    return {
        "classes": int(occurring.sum()),
        "n": len(score),
        "map": float(average_precision(score, present).mean()),
        "ci95": spread.quantile(tails).tolist(),
        "chance": float(present.double().mean()),
        "control95": central(control, 0.95),
    }
