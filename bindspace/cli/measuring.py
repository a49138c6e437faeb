"""The benchmark at the end of `bindspace train`."""

from __future__ import annotations

from pathlib import Path

from bindspace.contract import UserError
from bindspace.settings import TrainRun, is_first
from bindspace.space import Space, load


def measure(run: TrainRun, space: Space, folder: Path) -> None:
    """Runs the emergent benchmark on `data.test` on the first rank, with an untrained space of the same settings as a
    baseline, and the space that the run extends, if any.
    """
    if not run.data.test or not run.benchmark.at_end or not is_first():
        return
    import torch

    from bindspace.benchmark.measure import measure_pools

    ancestor = None if run.extend is None else load(run.extend)
    torch.manual_seed(run.seed + 1)
    untrained = Space(run.modality, run.dim, run.pivot)
    try:
        measure_pools(
            space,
            run.data,
            run.benchmark,
            folder / "benchmark",
            name=str(folder / "space"),
            untrained=untrained,
            ancestor=ancestor,
            progress=run.trainer.progress,
            cache=None if run.trainer.cache is None else Path(run.trainer.cache),
        )
    except UserError as error:
        unmeasured = f"{folder / 'space'} is trained but not measured"
        raise UserError(f"{unmeasured}: {error}; then measure it with run={folder}") from error
