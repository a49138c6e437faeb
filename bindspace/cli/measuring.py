"""What `bindspace train` measures of its own space when it ends."""

from __future__ import annotations

from pathlib import Path

from bindspace.contract import UserError
from bindspace.settings import TrainRun, is_first
from bindspace.space import Space, load


def measure(run: TrainRun, space: Space, folder: Path) -> None:
    """The emergent benchmark on `data.test` by the first rank, beside a space of the same settings that was never
    trained, and the space that the run extends.
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
