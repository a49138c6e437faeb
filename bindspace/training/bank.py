"""The memory bank: rows of past batches as further negatives. They are stale: weights have moved since."""

from __future__ import annotations

import torch
from torch import Tensor

from bindspace.losses import Bank


class MemoryBank:
    """The last `size` rows of one pair, oldest first (XBM: Wang et al. 2020, section 3.3).

    Each row keeps the vector that it had when it was met, so the loss is exact for these negatives as they were, and
    not for what the towers would say of them now. It belongs to a stage, and goes into the checkpoint.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.rows: Bank | None = None

    def add(self, a_BD: Tensor, b_BD: Tensor, keys_a: Tensor, keys_b: Tensor) -> None:
        """Takes up a batch's rows, and drops the oldest."""
        new = [each.detach() for each in (a_BD, b_BD, keys_a, keys_b)]
        old = self.rows or [each[:0] for each in new]
        self.rows = Bank(*(torch.cat([past, now])[-self.size :] for past, now in zip(old, new, strict=True)))

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {} if self.rows is None else dict(self.rows._asdict())

    def load(self, state: dict[str, Tensor]) -> None:
        """Takes up the rows of a checkpoint."""
        self.rows = Bank(**state) if state else None

    def on(self, device: torch.device) -> Bank | None:
        """The rows on a device, where they stay; None before the first batch."""
        if self.rows is not None:
            self.rows = Bank(*(each.to(device) for each in self.rows))
        return self.rows
