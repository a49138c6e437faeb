"""The folder of a run: named, created, and removed again if the run is refused before it starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from bindspace.contract import UserError
from bindspace.settings import agreed, by_slurm, by_torchrun, slurm_name

CONFIG = "config.yaml"
OF_A_START = (CONFIG, "environment.json")  # files of a run that was refused while reading its data


def named(out: str | None, experiment: str) -> Path:
    """`out`, or outputs/<experiment>/<date_time>; under SLURM the job id instead of the time. Equal on all ranks."""
    if out is not None:
        return Path(out).absolute()
    if by_slurm():
        return (Path("outputs") / experiment / slurm_name()).absolute()
    return Path(agreed(str(_dated(experiment)))) if by_torchrun() else _dated(experiment)


def _dated(experiment: str) -> Path:
    """Date and time, with a number if two runs start within a second."""
    base = Path("outputs") / experiment / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}_{number}")
    return folder.absolute()


@contextmanager
def claimed(folder: Path, *, latest: bool) -> Iterator[None]:
    """Creates the folder, and points `latest` beside it to it.

    Raises `UserError` if that fails. If the block raises one before the run has written anything of its own, the folder
    is removed, and `latest` is restored.
    """
    if (folder / CONFIG).exists():
        raise UserError(f"{folder} holds a run already: resume it with run={folder}, or choose another out=")
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
    """Creates the folder and its parents, and returns the new ones, the deepest first."""
    made = [path for path in [folder, *folder.parents] if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the run folder {folder} ({error.strerror}): choose another with out=") from error
    if not os.access(folder, os.W_OK):
        raise UserError(f"the run folder {folder} is read-only: choose another with out=")
    return made


def _take_back(folder: Path, made: list[Path]) -> bool:
    """Removes the files of a start, unless there are others: a list of bad rows is kept."""
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
    """Points the link to a folder beside it (None: removes it); returns the previous target."""
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
