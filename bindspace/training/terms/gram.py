"""GRAM: contrast by volume, over three modalities or more at once."""

from __future__ import annotations

import torch
from torch import Tensor

from bindspace.losses import gram
from bindspace.training.ranks import gather_live, gather_rows
from bindspace.training.terms import GramConfig
from bindspace.training.terms.batch import TermBatch
from bindspace.training.terms.term import Term, TermContext


class Gram(Term):
    """`bindspace.losses.gram` of events that hold all of the modalities. The anchor is the pivot, or the first."""

    config: GramConfig

    def __init__(self, config: GramConfig, context: TermContext) -> None:
        super().__init__()
        self.config = config
        self.anchor = context.pivot if context.pivot in config.of else config.of[0]
        self.others = [name for name in config.of if name != self.anchor]
        self._loss = 0.0

    def forward(self, batch: TermBatch) -> Tensor:
        """Over the global batch: every rank computes the whole loss, with the gradient of its own rows."""
        rows = batch.aligned(self.anchor, *self.others)
        counts = rows[self.anchor].counts
        z = {name: gather_live(each.z, counts) for name, each in rows.items()}
        keys = torch.stack([gather_rows(each.keys, counts) for each in rows.values()])
        others_KBD = torch.stack([z[name] for name in self.others])
        loss = gram(z[self.anchor], others_KBD, self.config.temperature, keys_KB=keys)
        self._loss = float(loss.detach()) if batch.logging else self._loss
        # DDP takes the mean of the ranks' gradients, and each rank has those of its own rows only
        return loss.detach() + len(counts) * (loss - loss.detach())

    def figures(self) -> dict[str, float]:
        """The loss of the global batch."""
        return {"loss": self._loss}
