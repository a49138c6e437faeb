"""What a term of the loss is, and what it is built from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bindspace.contract import TermConfig

if TYPE_CHECKING:
    from bindspace.training.terms.batch import TermBatch


@dataclass
class TermContext:
    """What a term is built from, at the start of a stage.

    `temperature(a, b, value, learned, minimum, bias)` gives a pair of the space its temperature, unless it has one.
    `head(name)`: the head of a modality's tower. `frozen`: modalities of which no parameter is trainable.
    """

    dim: int
    pivot: str
    frozen: frozenset[str]
    temperature: Callable[..., None]
    head: Callable[[str], nn.Module]
    names: list[str] = field(default_factory=list)  # the modalities that the term may take


class Term(nn.Module):
    """One term of the loss. It may own parameters: they are optimised, reduced over ranks, and in the checkpoint."""

    config: TermConfig

    def forward(self, batch: TermBatch) -> Tensor:
        """This rank's scalar; the mean over ranks is the loss of the global batch.

        Called on every rank, in the same steps: those in which some rank holds rows for it.
        """
        raise NotImplementedError

    def figures(self) -> dict[str, float]:
        """Metrics of the last `forward`, of this rank: the core takes their mean over ranks and logs them."""
        return {}

    def zero(self, batch: TermBatch) -> Tensor:
        """Zero with a gradient path, for a rank without rows."""
        return torch.zeros((), device=batch.device, requires_grad=True) * 1.0
