"""Callbacks of a run: checkpoints that survive a kill, bad rows, progress, and validation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from bindspace.contract import UserError
from bindspace.data import BadRows, Batch, Pool
from bindspace.io.progress import Progress
from bindspace.metrics import match, ranks, recall
from bindspace.space import Space
from bindspace.training.module import BindModule
from bindspace.training.ranks import gather_counts, gather_lists
from bindspace.vectors import VectorCache, embed_items, open_caches


def after_step(trainer: L.Trainer, index: int, every: int) -> bool:
    """Whether batch `index` has just ended an optimiser step whose number is a multiple of `every` (0: never)."""
    ended = (index + 1) % trainer.accumulate_grad_batches == 0
    return ended and every > 0 and trainer.global_step % every == 0


class SaveLast(L.Callback):
    """Writes `checkpoints/last.ckpt` every so many steps and at the end of a stage, whole or not at all.

    What was logged until then is written before, so that a killed run goes on with the figures of its checkpoint.
    """

    def __init__(self, path: Path, every: int, stage: int) -> None:
        self.path, self.every, self.stage = path, every, stage

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, index: int
    ) -> None:
        """Saves when it is time. The last step of a stage is saved by `on_train_end`."""
        if after_step(trainer, index, self.every) and trainer.global_step < trainer.max_steps:
            self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Saves the finished stage."""
        self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        for logger in trainer.loggers:
            logger.save()
        try:
            trainer.save_checkpoint(self.path, weights_only=False)
        except UserError as error:
            raise UserError(f"{error}; then go on with run={self.path.parents[1]}") from error

    def on_save_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Says which stage the step belongs to."""
        checkpoint["stage"] = self.stage


class WatchBadRows(L.Callback):
    """Collects cells that could not be read, from all ranks, and stops the run on all when they are too many."""

    def __init__(self, bad: BadRows, total_rows: int, max_fraction: float) -> None:
        self.bad, self.total_rows, self.max_fraction = bad, total_rows, max_fraction

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Judges what was met while validation pools and cached vectors were made."""
        self.bad.check(self.total_rows, self.max_fraction)

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, _: int
    ) -> None:
        """Adds the batch's bad cells."""
        counts = gather_counts(torch.tensor([len(batch.bad)], device=module.device))
        if counts.sum():
            self.bad.add(gather_lists(batch.bad))
            self.bad.check(self.total_rows, self.max_fraction)


class ShowProgress(L.Callback):
    """One bar a stage, with the time left and the loss."""

    def __init__(self, name: str, steps: int, shown: bool) -> None:
        self.name, self.steps, self.shown = name, steps, shown
        self.progress: Progress | None = None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Opens the bar at the step that a resumed run goes on from."""
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


class Validate(L.Callback):
    """R@1, 5, 10 both ways of the stage's pairs on validation pools, every so many steps and at the end of a stage.

    `keep_best`: a metric of these, e.g. `val/image-text/r10`. The weights that were best by it are put back at the
    end of the stage, and the ledger records it as `selected_on`. `still`: modalities whose towers stand still, of
    which vectors are kept in the folder `cache`.
    """

    def __init__(
        self,
        pools: dict[str, Pool],
        every: int,
        keep_best: str | None,
        still: list[str] | None = None,
        cache: Path | None = None,
    ) -> None:
        self.pools, self.every, self.keep_best = pools, every, keep_best
        self.still, self.cache = still or [], cache
        self.caches: dict[str, VectorCache] | None = None
        self.best: tuple[float, dict[str, Tensor]] | None = None

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, index: int
    ) -> None:
        """Measures when it is time."""
        if after_step(trainer, index, self.every):
            self._measure(module)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Measures the end of the stage, and puts the best weights back where that is asked for."""
        if not (self.every and trainer.global_step % self.every == 0):
            self._measure(module)
        if self.best is not None and isinstance(module, BindModule) and self.keep_best is not None:
            module.space.load_state_dict(self.best[1], strict=False)
            assert module.space.ledger is not None
            module.space.ledger.select(self.keep_best)

    def _measure(self, module: L.LightningModule) -> None:
        assert isinstance(module, BindModule)
        if self.caches is None:
            self.caches = open_caches(module.space, self.still, self.cache)
        metrics = validate(module.space, self.pools, caches=self.caches)
        module.write(metrics)
        if self.keep_best is None:
            return
        if self.keep_best not in metrics:
            measured = ", ".join(name for name in metrics if name.endswith("r10"))
            raise UserError(
                f"trainer.keep_best={self.keep_best!r} is not measured in this stage: choose one of {measured}"
            )
        if self.best is None or metrics[self.keep_best] > self.best[0]:
            still = {f"towers.{name}" for name in module.rebuilt}
            state = module.space.state_dict()
            weights = {name: tensor.detach().clone() for name, tensor in state.items() if name not in still}
            self.best = (metrics[self.keep_best], weights)

    def state_dict(self) -> dict[str, Any]:
        """The best so far goes into the checkpoint."""
        return {} if self.best is None else {"metric": self.best[0], "weights": self.best[1]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the best so far."""
        self.best = (state["metric"], state["weights"]) if state else None


def validate(
    space: Space,
    pools: dict[str, Pool],
    batch_size: int = 128,
    caches: Mapping[str, VectorCache] | None = None,
) -> dict[str, float]:
    """Recall of trained pairs, each on its matched pool: `val/<pair>/r10` is the mean of both directions, in 0..1.

    `caches`: of modalities whose towers stand still.
    """
    metrics: dict[str, float] = {}
    for pair, pool in pools.items():
        a, b = pool.modalities
        z = {name: torch.cat(list(embed_items(space, pool, name, batch_size, caches))) for name in (a, b)}
        events = {name: [item.event for item in pool.items[name]] for name in (a, b)}
        directions = [ranks(z[q], z[g], match(events[q], events[g])) for q, g in ((a, b), (b, a))]
        for k in (1, 5, 10):
            metrics[f"val/{pair}/r{k}"] = sum(recall(rank, k) for rank in directions) / 2
    return metrics
