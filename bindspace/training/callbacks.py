"""Callbacks of a run: checkpoints that survive a kill, bad rows, progress, and validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from bindspace.contract import UserError
from bindspace.data import BadRow, BadRows, Batch
from bindspace.io.progress import Progress
from bindspace.training.module import BindModule
from bindspace.training.ranks import gather_counts, gather_lists
from bindspace.training.steps import after_step


class SaveLast(L.Callback):
    """Writes `checkpoints/last.ckpt` every so many steps and at the end of a stage, whole or not at all.

    What was logged until then is written before, so that a killed run resumes with the metrics of its checkpoint.
    """

    def __init__(self, path: Path, every: int, stage: int) -> None:
        self.path, self.every, self.stage, self.ended = path, every, stage, False

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, index: int
    ) -> None:
        """Saves when it is time. The last step of a stage is saved by `on_train_end`."""
        if after_step(trainer, index, self.every) and trainer.global_step < trainer.max_steps:
            self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Saves the finished stage."""
        self.ended = True
        self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        for logger in trainer.loggers:
            logger.save()
        try:
            trainer.save_checkpoint(self.path, weights_only=False)
        except UserError as error:
            raise UserError(f"{error}; then resume with run={self.path.parents[1]}") from error

    def on_save_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Says which stage the step belongs to, and whether it has ended: if it stopped early it stays so, unless a
        resumed run raises its steps."""
        checkpoint["stage"], checkpoint["stage_ended"] = self.stage, self.ended
        checkpoint["stage_steps"] = trainer.max_steps


class WatchBadRows(L.Callback):
    """Collects cells that could not be read, from all ranks, and stops the run on all when they are too many."""

    def __init__(self, bad: BadRows, total_rows: int, max_fraction: float) -> None:
        self.bad, self.total_rows, self.max_fraction = bad, total_rows, max_fraction
        self.waiting: list[BadRow] = []

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Checks the bad cells that were met while vectors were cached."""
        self.bad.check(self.total_rows, self.max_fraction)

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, _: int
    ) -> None:
        """Adds the batch's bad cells."""
        counts = gather_counts(torch.tensor([len(batch.bad)], device=module.device))
        if counts.sum():
            self.bad.add(gather_lists(batch.bad))
            self.bad.check(self.total_rows, self.max_fraction)

    def on_validation_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, *_: int
    ) -> None:
        """Keeps the bad cells of validation until its end: ranks have other batches."""
        self.waiting += batch.bad

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Adds them."""
        self.bad.add(gather_lists(self.waiting))
        self.waiting = []
        self.bad.check(self.total_rows, self.max_fraction)


class ShowProgress(L.Callback):
    """One bar a stage, with the time left and the loss."""

    def __init__(self, name: str, steps: int, shown: bool) -> None:
        self.name, self.steps, self.shown = name, steps, shown
        self.progress: Progress | None = None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Opens the bar at the step that a resumed run starts from."""
        shown = self.shown and trainer.is_global_zero
        self.progress = Progress(f"stage {self.name}", self.steps, start=trainer.global_step, shown=shown).__enter__()

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, index: int
    ) -> None:
        """One step more."""
        if self.progress is not None and after_step(trainer, index, every=1):
            self.progress.advance(note=f"loss {float(trainer.callback_metrics['train/loss']):.2f}")

    def teardown(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        """Closes the bar, after an error too."""
        if self.progress is not None:
            self.progress.__exit__()
            self.progress = None


class ValidateAtEnd(L.Callback):
    """Lets Lightning's validation loop run after the last step of a stage too, whatever `val_check_interval` says."""

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, index: int
    ) -> None:
        """The last step asks for a stop, before which Lightning validates."""
        if after_step(trainer, index, 1) and trainer.global_step >= trainer.max_steps:
            trainer.should_stop = True


class KeepBest(L.Callback):
    """Restores the weights that were best by a validation metric, e.g. `val/image-text/r10`, at the end of a stage.

    The ledger records the metric as `selected_on`. The best so far goes into the checkpoint.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.best: tuple[float, dict[str, Tensor]] | None = None

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Keeps the weights where they are better than before."""
        assert isinstance(module, BindModule)
        if self.metric not in trainer.callback_metrics:
            measured = ", ".join(name for name in trainer.callback_metrics if name.endswith("r10"))
            raise UserError(
                f"trainer.keep_best={self.metric!r} is not measured in this stage: choose one of {measured}"
            )
        value = float(trainer.callback_metrics[self.metric])
        if self.best is None or value > self.best[0]:
            rebuilt = {f"towers.{name}" for name in module.rebuilt}
            state = module.space.state_dict()
            self.best = value, {key: x.detach().clone() for key, x in state.items() if key not in rebuilt}

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Restores the best weights."""
        assert isinstance(module, BindModule)
        if self.best is not None:
            module.space.load_state_dict(self.best[1], strict=False)
            assert module.space.ledger is not None
            module.space.ledger.select(self.metric)

    def state_dict(self) -> dict[str, Any]:
        """The best so far goes into the checkpoint."""
        return {} if self.best is None else {"metric": self.best[0], "weights": self.best[1]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the best so far."""
        self.best = (state["metric"], state["weights"]) if state else None
