"""Both sides of a pair against their mean. Shapes: B rows, D dims."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F


def against_centroid(loss: Callable[[Tensor, Tensor], Tensor], a_BD: Tensor, b_BD: Tensor) -> Tensor:
    """The mean of a contrastive loss of each side with the rows' centroids: a scalar, with gradients by all three.

    An adaptive anchor in the place of a fixed one (CentroBind: Jeong et al. 2024, arXiv 2410.02086), here of one pair's
    two sides: the centroid of an event's three or more would pair them all.
    """
    centroid_BD = F.normalize(a_BD + b_BD, dim=1)
    return (loss(a_BD, centroid_BD) + loss(centroid_BD, b_BD)) / 2
