"""Warnings on the settings of a run, before it starts."""

from __future__ import annotations

import warnings

from bindspace.settings import TrainRun


def warn_of_batches(run: TrainRun) -> None:
    """Warns where the batch settings have less effect than expected."""
    if run.trainer.accumulate > 1:
        warnings.warn(
            f"trainer.accumulate={run.trainer.accumulate} averages gradients and adds no negatives: each row is "
            f"contrasted with the {run.data.batch} rows of its own batch only; for more, raise data.batch and set "
            "trainer.micro_batch",
            stacklevel=3,
        )
    largest = max([run.data.batch, *(stage.batch or 0 for stage in run.stages)])
    share = -(-largest // (run.trainer.devices * run.trainer.nodes))  # the first rank's, which is the largest
    if run.trainer.micro_batch is not None and run.trainer.micro_batch >= share:
        warnings.warn(
            f"trainer.micro_batch={run.trainer.micro_batch} has no effect: a rank's share of a batch is {share}",
            stacklevel=3,
        )
