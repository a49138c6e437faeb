"""What a run measures of its own space when it ends."""

from __future__ import annotations

from pathlib import Path

import torch

from bindspace.benchmark.measure import measure_pools
from bindspace.bundle import load
from bindspace.settings import TrainRun
from bindspace.space import Space


def measure(run: TrainRun, space: Space, folder: Path, cache: Path | None = None) -> None:
    """The emergent benchmark on `data.test`, beside a space of the same settings that was never trained, and the space
    that the run extends. `cache`: where vectors of the space are kept for other runs.
    """
    if not run.data.test or not run.benchmark.at_end:
        return
    ancestor = None if run.extend is None else load(run.extend)
    torch.manual_seed(run.seed + 1)
    untrained = Space(run.modality, run.dim, run.pivot)
    measure_pools(
        space,
        run.data,
        run.benchmark,
        folder / "benchmark",
        name=str(folder / "space"),
        untrained=untrained,
        ancestor=ancestor,
        progress=run.trainer.progress,
        cache=cache,
    )
