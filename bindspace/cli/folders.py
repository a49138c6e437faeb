"""The folder of a run: named, made, and given back where the run is refused before it has begun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from bindspace.contract import UserError
from bindspace.settings import agreed, by_slurm, by_torchrun, slurm_name

CONFIG = "config.yaml"
OF_A_START = (CONFIG, "environment.json")  # what a run leaves that was refused when it read its data


def named(out: str | None, experiment: str) -> Path:
    """`out`, or outputs/<experiment>/<date_time>; under SLURM its job in the place of the time. Equal on all ranks."""
    if out is not None:
        return Path(out).absolute()
    if by_slurm():
        return (Path("outputs") / experiment / slurm_name()).absolute()
    return Path(agreed(str(_dated(experiment)))) if by_torchrun() else _dated(experiment)


def _dated(experiment: str) -> Path:
    """By date and time, with a number where two runs start within a second."""
    base = Path("outputs") / experiment / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}_{number}")
    return folder.absolute()


@contextmanager
def claimed(folder: Path, *, latest: bool) -> Iterator[None]:
    """Makes the folder, and lets `latest` beside it point at it.

    Raises `UserError` where that cannot be done. Where the block raises one before the run has left anything of its
    own, the folder is taken back, and `latest` points where it did before.
    """
    if (folder / CONFIG).exists():
        raise UserError(f"{folder} holds a run already: go on with it by run={folder}, or choose another out=")
    made, link, pointed = _make(folder), folder.with_name("latest"), False
    try:
        before = _point(link, folder.name) if latest else None
        pointed = latest
        yield
    except (UserError, OSError):
        if _take_back(folder, made) and pointed:
            _point(link, before)
        raise


def _make(folder: Path) -> list[Path]:
    """Makes the folder and what is above it, and returns those that were not there, the deepest first."""
    made = [path for path in [folder, *folder.parents] if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the run folder {folder} ({error.strerror}): choose another with out=") from error
    if not os.access(folder, os.W_OK):
        raise UserError(f"the run folder {folder} is read-only: choose another with out=")
    return made


def _take_back(folder: Path, made: list[Path]) -> bool:
    """Removes what a start leaves, unless there is more: a list of bad rows, say, is wanted."""
    if {path.name for path in folder.iterdir()} - set(OF_A_START):
        return False
    for name in OF_A_START:
        (folder / name).unlink(missing_ok=True)
    for path in made:
        if any(other.name != "latest" for other in path.iterdir()):
            break
        (path / "latest").unlink(missing_ok=True)
        path.rmdir()
    return True


def _point(link: Path, name: str | None) -> str | None:
    """Lets the link point at a folder beside it (None: at nothing); returns where it pointed."""
    if link.exists() and not link.is_symlink():
        raise UserError(f"{link} is in the way of the link to the newest run: move it, or choose a folder with out=")
    before = str(link.readlink()) if link.is_symlink() else None
    if name is None:
        link.unlink(missing_ok=True)
    else:
        new = link.with_name(f".latest-{os.getpid()}")
        new.symlink_to(name, target_is_directory=True)
        new.replace(link)
    return before
