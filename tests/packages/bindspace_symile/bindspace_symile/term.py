"""The term."""

import torch
from torch.nn import functional as F

from bindspace import Term


class Symile(Term):
    """Each modality in turn is the anchor: its own event's product of the others against shuffled ones."""

    def __init__(self, config, context):
        super().__init__()
        self.config = config

    def forward(self, batch):
        z = [rows.z for rows in batch.aligned(*self.config.of).values()]
        own = torch.stack(z).prod(0).sum(1)
        if not len(own):
            return self.zero(batch)
        losses = []
        for anchor, rows in enumerate(z):
            others = [x[torch.randperm(len(x))] for i, x in enumerate(z) if i != anchor]
            logits = rows @ torch.stack(others).prod(0).T
            logits = torch.where(torch.eye(len(own), dtype=torch.bool), own[:, None], logits) / self.config.temperature
            losses.append(F.cross_entropy(logits, torch.arange(len(own))))
        return torch.stack(losses).mean()
