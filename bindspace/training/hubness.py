"""The callback `hubness`: hubness of learned metrics is corrected."""

from __future__ import annotations

import lightning as L
import torch

from bindspace.ledger.observer import NONE
from bindspace.losses import hub_direction
from bindspace.modules.heads import MetricHead
from bindspace.space import Space
from bindspace.training.references import References


class Hubness(L.Callback):
    """Corrects the heads of a stage before they are measured or saved.

    `weight`: the score, as a cosine of training, of a relevant reference vector; to first order this makes scores
    independent of length there.
    """

    def __init__(self, pivot: str, references: References, heads: dict[str, MetricHead], weight: float) -> None:
        self.pivot, self.references, self.heads, self.weight = pivot, references, heads, weight

    @torch.no_grad()
    def correct(self) -> None:
        """By the learned metrics as they are now."""
        for head in self.heads.values():
            x_MD = self.references.on(head.hubs.device)
            head.hubs.copy_(self.weight * hub_direction(x_MD, head.mapped(x_MD).norm(dim=1)))

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """What is validated is corrected."""
        self.correct()

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """At the end of the stage, and records it: the references have shaped these modalities."""
        self.correct()
        assert isinstance(module.space, Space)
        assert module.space.ledger is not None
        ledger, references = module.space.ledger, self.references
        for name in self.heads:
            pair, media = (name, references.name), {name: NONE, references.name: NONE}
            ledger.record(pair, references.sources[0], media, "unpaired", [self.pivot], gradient=[name])
            ledger.record_references(
                pair, references.name, references.digests_M32, references.sources, references.groups
            )
