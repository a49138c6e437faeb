"""Work over a pool of processes, and folders that appear whole or not at all."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from shutil import rmtree
from typing import TypeVar

from bindspace import UserError

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h

Work = TypeVar("Work", bound=Callable[[], str])


def cannot_write(path: Path, error: OSError) -> UserError:
    """The error for a file or folder that cannot be written."""
    return UserError(f"cannot write {path}: {error.strerror or error}: make room, or choose another folder")


def check_free(folder: Path) -> None:
    """Raises `UserError` unless the folder is missing or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not an empty folder: remove it, or choose another place")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder that gets the name `folder` when the block ends without an error, else is removed.

    If another process has created the folder in the meantime, that one is kept.
    """
    folder = Path(os.path.realpath(folder))
    new = folder.with_name(f".{folder.name}.new-{os.getpid()}")
    try:
        _sweep(folder)
        new.mkdir(parents=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        yield new
        try:
            new.rename(folder)
        except OSError as error:
            if not folder.is_dir():
                raise cannot_write(folder, error) from error
    finally:
        rmtree(new, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Removes leftovers of killed writers of this folder."""
    for old in folder.parent.glob(f".{folder.name}.new-*"):
        process = re.fullmatch(r"\d+", old.name.rpartition("-")[2])
        if process and not _alive(int(process[0])):
            rmtree(old, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()  # our own id, reused: the leftover is from an earlier process


def run_tasks(tasks: Sequence[Work], workers: int) -> Generator[tuple[Work, str], None, None]:
    """Calls the tasks in any order, and yields each with its result."""
    if workers <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield task, task()
        return
    # Spawned, not forked: the caller may have threads.
    pool = ProcessPoolExecutor(min(workers, len(tasks)), get_context("spawn"), _begin_worker, (os.getpid(),))
    try:
        running = {pool.submit(task): task for task in tasks}
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    except BrokenExecutor as error:
        message = "a process that writes events has died, perhaps because memory ran out: try again with workers=1"
        raise UserError(message) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker(parent: int) -> None:
    """Ignores interrupts, which the parent handles, and exits when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _keep_memory()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _keep_memory() -> None:
    """Lets this process keep freed memory: allocating new pages for each large array takes a quarter more time."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:  # glibc only
        mallopt(_MMAP_THRESHOLD, 1 << 30)
        mallopt(_TRIM_THRESHOLD, 1 << 30)
