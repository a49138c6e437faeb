"""What the metrics of a stage make near to everything, and the callback that takes it off."""

from __future__ import annotations

from typing import Any

import lightning as L
import numpy as np
import torch

from bindspace.data import Batch
from bindspace.losses import hub_direction
from bindspace.modules.heads import MetricHead
from bindspace.training.callbacks import after_step
from bindspace.training.metric import metric_heads
from bindspace.training.module import BindModule
from bindspace.training.references import Landmarks, landmarks_of
from bindspace.training.session import Session
from bindspace.training.stages import Stage
from bindspace.training.unpaired import NONE


class Hubs(L.Callback):
    """Takes off the heads of a stage what their metrics make near to everything, before they are measured or saved.

    `weight`: the score, as a cosine of training, that a landmark worth finding has; to first order this makes scores
    independent of length there. `every`: steps between validations, 0 for none.
    """

    def __init__(
        self, pivot: str, landmarks: Landmarks, heads: dict[str, MetricHead], weight: float, every: int
    ) -> None:
        self.pivot, self.landmarks, self.heads, self.weight, self.every = pivot, landmarks, heads, weight, every

    @torch.no_grad()
    def take_off(self) -> None:
        """By the metrics as they are now."""
        for head in self.heads.values():
            x_MD = self.landmarks.on(head.hubs.device)
            head.hubs.copy_(self.weight * hub_direction(x_MD, head.mapped(x_MD).norm(dim=1)))

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, index: int
    ) -> None:
        """Where validation follows."""
        if after_step(trainer, index, self.every):
            self.take_off()

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """At the end of the stage, which the ledger is told: landmarks have had a say in what these modalities are."""
        self.take_off()
        assert isinstance(module, BindModule)
        assert module.space.ledger is not None
        ledger, marks = module.space.ledger, self.landmarks
        for name in self.heads:
            digests: dict[str, np.ndarray] = {name: NONE, marks.name: NONE}
            ledger.record((name, marks.name), marks.sources[0], digests, kind="unpaired", shaped_by=[self.pivot])
            ledger.record_landmarks((name, marks.name), marks.name, marks.digests_M32, marks.sources, marks.groups)


def hubs_of(session: Session, stage: Stage) -> Hubs | None:
    """What is to be taken off in a stage; None where nothing is."""
    hubs, run = session.run.loss.hubs, session.run
    heads = metric_heads(session.space, stage.pairs, stage.freeze)
    heads.pop(str(hubs.of), None)
    if hubs.of is None or not heads:
        return None
    return Hubs(run.pivot, landmarks_of(session, hubs.of, hubs.landmarks), heads, hubs.weight, run.trainer.val_every)
