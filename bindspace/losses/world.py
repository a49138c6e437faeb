"""The interface of the ranks that share a batch. `bindspace.training.ranks` implements it with torch.distributed."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Ranks(Protocol):
    """Ranks that each hold some rows of one batch. Every method is collective, and carries no gradient."""

    counts: list[int]  # rows of each rank, possibly 0
    here: slice  # this rank's rows among all

    def gather(self, rows: Tensor) -> Tensor:
        """Rows (n, ...) of every rank, concatenated."""
        ...

    def sum(self, values: Tensor) -> Tensor:
        """The sum over ranks, the same on all."""
        ...

    def logsumexp(self, values: Tensor) -> Tensor:
        """The log-sum-exp over ranks, the same on all."""
        ...
