"""Multi-label zero-shot classification: mean average precision over classes, as for AudioSet.

Shape suffixes: N items, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bindspace.metrics import Permutations, central

CONTROLS = 200  # permutations of the items: each ranks all of them anew
DRAWS = 200


def present_of(
    events: Sequence[Sequence[int]], values: Sequence[list[str] | None], classes: Sequence[str]
) -> tuple[list[int], Tensor]:
    """The items whose first event has labels, and their labels (N, C) bool."""
    code = {name: number for number, name in enumerate(classes)}
    rows = [index for index, each in enumerate(events) if values[each[0]] is not None]
    present = torch.zeros(len(rows), len(classes), dtype=torch.bool)
    for row, index in enumerate(rows):
        present[row, [code[str(label)] for label in values[events[index][0]] or []]] = True
    return rows, present


class Ranking:
    """Scores (N, C), sorted once per class: permuted labels and resampled items are ranked without sorting again.

    Sorting AudioSet's 19 thousand items of 527 classes takes seconds, and they are ranked 400 times.
    """

    def __init__(self, score_NC: Tensor) -> None:
        falling_CN, self.order_CN = score_NC.T.contiguous().sort(dim=1, descending=True)
        last_CN = torch.searchsorted(-falling_CN, -falling_CN, right=True)
        self.at_least_CN = torch.empty_like(last_CN).scatter_(1, self.order_CN, last_CN)  # how many score as much

    def precision(self, present_NC: Tensor, drawn_R: Tensor | None = None) -> Tensor:
        """Average precision of each class (C,), NaN for one that no item has; ties count against the class.

        `drawn_R`: these items, possibly repeated, instead of all. The mean over a class's items of the
        precision at their place, in the order of falling scores (Manning et al. 2008, section 8.4).
        """
        class_P, item_P = present_NC.T.nonzero(as_tuple=True)
        place_P = self.at_least_CN[class_P, item_P]
        if drawn_R is not None:
            times_N = torch.bincount(drawn_R, minlength=len(present_NC))
            place_P = times_N[self.order_CN].cumsum(1)[class_P, place_P - 1]
            class_P, place_P = (each.repeat_interleave(times_N[item_P]) for each in (class_P, place_P))
        return _average(class_P, place_P, present_NC.shape[1])


def _average(class_P: Tensor, place_P: Tensor, classes: int) -> Tensor:
    """Mean precision by class of the positive items, given how many items score at least as much as each."""
    width = int(place_P.max()) + 1 if len(place_P) else 1
    key = (class_P * width + place_P).sort().values
    class_P, place_P = key // width, key % width
    before_P = torch.searchsorted(class_P, torch.arange(classes))[class_P]
    right = torch.arange(len(key)) + 1 - before_P
    tied = torch.searchsorted(key, key, right=True) - before_P - right  # positives of equal score that come later
    total = torch.zeros(classes, dtype=torch.float64).index_add_(0, class_P, right / (place_P - tied).double())
    return total / torch.bincount(class_P, minlength=classes)


def average_precision(score_NC: Tensor, present_NC: Tensor) -> Tensor:
    """Average precision of each class (C,): see `Ranking.precision`."""
    return Ranking(score_NC).precision(present_NC)


def rank_labels(score_NC: Tensor, present_NC: Tensor, permutations: Permutations) -> dict[str, Any]:
    """mAP over the classes that occur, its interval by bootstrap over items, chance, and mAP under permuted items."""
    occurring = present_NC.any(0)
    score, present = score_NC[:, occurring], present_NC[:, occurring]
    generator = torch.Generator().manual_seed(permutations.seed)
    drawn = [torch.randint(len(score), (len(score),), generator=generator) for _ in range(DRAWS)]
    ranking = Ranking(score)
    spread = torch.stack([ranking.precision(present, rows).nanmean() for rows in drawn])
    shuffled = permutations.of(len(score))[:CONTROLS].long()
    control = torch.stack([ranking.precision(present[rows]).nanmean() for rows in shuffled])
    tails = torch.tensor([0.025, 0.975], dtype=torch.float64)
    return {
        "classes": int(occurring.sum()),
        "n": len(score),
        "map": float(ranking.precision(present).mean()),
        "ci95": spread.quantile(tails).tolist(),
        "chance": float(present.double().mean()),
        "control95": central(control, 0.95),
    }
