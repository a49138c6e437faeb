"""`bindspace train`: composes a run, gives it a folder, and hands it to training. Also resume and sweeps."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bindspace.cli.arguments import split
from bindspace.cli.folders import CONFIG, claimed, named
from bindspace.contract import UserError
from bindspace.io.files import check_place
from bindspace.settings import check_world, is_first, is_restart, referenced, wait_for

if TYPE_CHECKING:
    from bindspace.settings import Pair, TrainRun

FLAGS = ["--help", "--multirun", "--cfg", "--resolve", "--config-dir"]


def run(arguments: list[str]) -> int:
    """`bindspace train [key=value ...]`."""
    given = split(arguments, FLAGS)
    if given.help:
        from bindspace.cli.help import train_help

        print(train_help(given.folders))
        return 0
    if resumed := [value for value in given.overrides if re.match(r"run=", value)]:
        return resume(resumed, [value for value in given.overrides if value not in resumed])
    if given.multirun:
        from bindspace.cli.compose.sweep import sweep

        return sweep(given.overrides, given.folders, train)
    return train(given.overrides, given.folders, cfg=given.cfg, resolve=given.resolve)


def train(
    overrides: Sequence[str],
    folders: Sequence[Path] = (),
    *,
    folder: Path | None = None,
    cfg: bool = False,
    resolve: bool = False,
) -> int:
    """Composes and trains one run. `folder`: of a job of a sweep, which resumes where it was stopped; None chooses one.

    `cfg`: print the config and do nothing.
    """
    from bindspace.cli.compose.compose import compose_train
    from bindspace.settings import check_run

    settings, composed = compose_train(overrides, folders)
    if cfg:
        print(composed.yaml(resolve=resolve), end="")
        return 0
    pairs = check_run(settings)
    check_world(settings.trainer.devices, settings.trainer.nodes, named=bool(settings.out or folder))
    place = folder or named(settings.out, composed.experiment)
    if not is_first():
        wait_for(place / CONFIG)
        return resume([f"run={_quoted(str(place))}"], [])
    if (folder is not None or is_restart()) and (place / CONFIG).exists():
        return _again(settings, pairs, place)
    with claimed(place, latest=folder is None and settings.out is None), relaunchable(overrides, folders, place):
        with_sources(settings, pairs)
        settings.out = str(place)
        _start(settings, pairs, place)
    return 0


def _start(settings: TrainRun, pairs: list[Pair], folder: Path) -> None:
    from bindspace.cli.compose.run_file import save_run

    save_run(settings, folder / CONFIG)
    from bindspace.cli.measuring import measure
    from bindspace.training.run import train as start

    measure(settings, start(settings, pairs, folder), folder)


def _again(settings: TrainRun, pairs: Sequence[Pair], folder: Path) -> int:
    """Another attempt at a job that was stopped: resumes in its folder, if that holds a run of the same settings."""
    from bindspace.cli.compose.run_file import load_run

    with_sources(settings, pairs)
    settings.out = str(folder)
    if load_run(folder / CONFIG) != settings:
        raise UserError(f"{folder} holds a run of other settings: resume it with run={folder}, or choose another out=")
    with _command([f"run={_quoted(str(folder))}"]):
        return resume([f"run={_quoted(str(folder))}"], [])


def resume(resumed: Sequence[str], changes: Sequence[str]) -> int:
    """Resumes a run: `run=FOLDER`, and the few settings that may change."""
    from bindspace.cli.arguments import settings as values
    from bindspace.cli.compose.run_file import changed_run, load_run, save_run
    from bindspace.settings import check_run

    folder = Path(str(values(resumed, ["run"], "train")["run"] or ""))
    if not folder.is_dir():
        raise UserError(
            f"run={folder}: there is no such folder: give the folder of a run, e.g. outputs/quickstart/latest"
        )
    folder = folder.resolve()
    settings = changed_run(load_run(folder / CONFIG), values(changes, None, "train"))
    pairs = check_run(settings)
    check_place(folder)
    check_world(settings.trainer.devices, settings.trainer.nodes, named=True)
    if changes and is_first():
        save_run(settings, folder / CONFIG)
    from bindspace.cli.measuring import measure
    from bindspace.training.run import resume as continued

    measure(settings, continued(settings, pairs, folder), folder)
    return 0


def with_sources(run: TrainRun, pairs: Sequence[Pair]) -> None:
    """Lets the selected data set write its manifests, and reads them as if they were anybody's."""
    data = run.data
    if data.dataset is None:
        return
    if data.train or data.val or data.test:
        raise UserError("data.train, data.val and data.test come with data=manifest: add that, or leave them out")
    asked = [(pair.of[0], pair.of[1]) for pair in pairs]
    asked += [(term.of[0], term.of[1]) for term in run.terms if len(term.of) == 2 and not term.references()]
    for name in referenced(run):
        if not any({run.pivot, name} == set(pair) for pair in asked):
            asked.append((run.pivot, name))
    sources = data.dataset.sources(asked, list(run.modality))
    data.train, data.val, data.test = (list(sources.get(split, [])) for split in ("train", "val", "test"))


@contextmanager
def relaunchable(overrides: Sequence[str], folders: Sequence[Path], folder: Path) -> Iterator[None]:
    """Makes `sys.argv` the whole command of this one run. Lightning starts the further ranks with it, so that they all
    use the folder that this process has named, within a sweep too.
    """
    kept = [value for value in overrides if not value.startswith(("out=", "hydra.", "hydra/"))]
    flags = [f"--config-dir={path.resolve()}" for path in folders]
    with _command([*flags, *kept, f"out={_quoted(str(folder))}"]):
        yield


@contextmanager
def _command(arguments: Sequence[str]) -> Iterator[None]:
    """`sys.argv` is `bindspace train ARGUMENTS`; where another program called us (submitit), so is the main module."""
    program, before, spec = sys.modules["__main__"], sys.argv, sys.modules["__main__"].__spec__
    if spec is not None and not spec.name.startswith("bindspace"):
        program.__spec__ = find_spec("bindspace.__main__")
    sys.argv = [before[0], "train", *arguments]
    try:
        yield
    finally:
        sys.argv, program.__spec__ = before, spec


def _quoted(text: str) -> str:
    """As a string of Hydra's grammar."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
