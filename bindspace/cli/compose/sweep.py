"""`bindspace train -m`: one run for each combination of values, through Hydra's sweepers and launchers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from bindspace.cli.compose import composition
from bindspace.cli.compose.compose import compose_train
from bindspace.cli.compose.overrides import parse, plain
from bindspace.contract import UserError
from bindspace.settings import check_run

# No files and folders of Hydra's own beside ours, no change of folder, no log handlers.
QUIET = ["hydra.output_subdir=null", "hydra.job.chdir=false", "hydra/job_logging=none", "hydra/hydra_logging=none"]


def sweep(overrides: Sequence[str], folders: Sequence[Path], train: Callable[..., int]) -> int:
    """Checks every job of a sweep, then runs them. Job N has the folder outputs/<experiment>/<date_time>/N or DIR/N.

    `train`: what runs a job, `bindspace.cli.train.train`.
    """
    parsed = parse(overrides)
    own = [o.input_line or "" for o in parsed if o.key_or_group.startswith(("hydra.", "hydra/"))]
    asked = [o for o in parsed if (o.input_line or "") not in own and o.key_or_group != "out"]
    if not any(override.is_sweep_override() for override in asked) and not own:
        raise UserError("-m needs a setting with several values, e.g. -m 'optim.lr=1e-3,2e-3'")
    experiments = set()
    for job in jobs(asked) if not any("sweeper" in line for line in own) else []:
        run, composed = compose_train(job, folders)
        check_run(run)
        experiments.add(composed.experiment)
    outs = [str(plain(override.value())) for override in parsed if override.key_or_group == "out"]
    name = experiments.pop() if len(experiments) == 1 else "sweep"
    base = Path(outs[-1]) if outs else Path("outputs") / name / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    lines = [override.input_line or "" for override in asked]
    with composition.session(folders):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        try:
            hydra.multirun(
                "train",
                partial(_job, folders=tuple(folders), train=train),
                [*QUIET, f"hydra.sweep.dir={base.absolute()}", *own, *lines],
                False,
            )
        except HydraException as error:
            raise UserError(" ".join(str(error).split())) from error
    return 0


def jobs(parsed: Sequence[Override]) -> list[list[str]]:
    """The overrides of each job: the product of all values, in the order that Hydra's basic sweeper takes."""
    choices = []
    for override in parsed:
        if not override.is_sweep_override():
            choices.append([override.input_line or ""])
        elif override.is_discrete_sweep():
            key = override.get_key_element()
            choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            raise UserError(
                f"{override.input_line!r} needs a sweeper that knows intervals: choose one with hydra/sweeper=NAME"
            )
    return [list(job) for job in itertools.product(*choices)]


def _job(_: Any, folders: Sequence[Path], train: Callable[..., int]) -> int:
    """One job, called by Hydra's launcher, here or elsewhere: composed anew by the same code as a single run."""
    own = HydraConfig.get()
    overrides, folder = list(own.overrides.task), Path(own.runtime.output_dir)
    before = HydraConfig.instance().cfg
    HydraConfig.instance().cfg = None  # else Lightning would start further ranks with the command of the whole sweep
    try:
        return train(overrides, folders, folder=folder)
    finally:
        HydraConfig.instance().cfg = before
