"""Writes events as manifests and files: chunks of events go over a pool of processes, folders appear when complete."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np

from bindspace.errors import UserError
from bindspace.files import replace_folder
from bindspace.progress import Progress

from .attributes import Events, draw_events
from .captions import captions
from .files import ENCODERS, INFO
from .inertia import inertials
from .picture import pictures
from .ranging import depths, thermals
from .sound import sounds

RENDERERS = {"image": pictures, "audio": sounds, "depth": depths, "thermal": thermals, "imu": inertials}
CHUNK = 256  # events that a process renders and writes at once
MANIFEST = "manifest.jsonl"


@dataclass(frozen=True)
class Plan:
    """One folder to write: which events, and what of them."""

    folder: Path
    seed: int
    events: int
    modalities: tuple[str, ...]
    combinations: str = "seen"
    captions: int = 1


def plan_rows(plan: Plan, start: int = 0, stop: int | None = None) -> Iterator[dict[str, Any]]:
    """The manifest rows of a plan's events, without rendering any."""
    events = draw_events(plan.seed, np.arange(start, plan.events if stop is None else stop), plan.combinations)
    written = captions(events, plan.captions) if "text" in plan.modalities else None
    for i, number in enumerate(events.index.tolist()):
        row: dict[str, Any] = {"id": f"{plan.seed}-{number:06d}"}
        for name in plan.modalities:
            if name == "text":
                row[name] = written[i] if plan.captions > 1 else written[i][0]
            else:
                row[name] = f"{name}/{number:06d}{ENCODERS[name][0]}"
        for name in plan.modalities:
            row.update(INFO.get(name, {}))
        yield {**row, **events.labels(i), "concept": events.concept(i), "group": row["id"]}


def write_plans(plans: Iterable[Plan], workers: int) -> None:
    """Writes every plan's folder. Each appears when it is complete; after an error none is left half-written."""
    plans = list(plans)
    left = {number: -(-plan.events // CHUNK) for number, plan in enumerate(plans)}
    total = sum(plan.events for plan in plans)
    lines: dict[int, dict[int, str]] = {number: {} for number in left}
    with ExitStack() as everything:
        progress = everything.enter_context(Progress("writing events", total, shown=total > CHUNK))
        folders = [everything.enter_context(ExitStack()) for _ in plans]
        new = [_begin(stack, plan.folder) for stack, plan in zip(folders, plans)]
        tasks = [
            (number, start, replace(plan, folder=new[number]))
            for number, plan in enumerate(plans)
            for start in range(0, plan.events, CHUNK)
        ]
        for (number, start, _), text in _run(tasks, workers):
            lines[number][start] = text
            left[number] -= 1
            if not left[number]:
                (new[number] / MANIFEST).write_text("".join(text for _, text in sorted(lines.pop(number).items())))
                folders[number].close()
            progress.advance(min(CHUNK, plans[number].events - start))


def _begin(stack: ExitStack, folder: Path) -> Path:
    """A new folder that takes the place of `folder` when `stack` closes; sweeps up after runs that were killed."""
    folder = Path(os.path.realpath(folder))
    for old in folder.parent.glob(f".{folder.name}.new-*"):
        process = re.search(r"-(\d+)$", old.name)
        if process and not _alive(int(process[1])):
            rmtree(old, ignore_errors=True)
    return stack.enter_context(replace_folder(folder))


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


Task = tuple[int, int, Plan]


def _run(tasks: list[Task], workers: int) -> Iterator[tuple[Task, str]]:
    """Writes the chunks in any order, and yields each with its manifest lines."""
    if workers <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield task, write_chunk(task[2], task[1])
        return
    # Spawned, not forked: the caller may hold threads.
    pool = ProcessPoolExecutor(min(workers, len(tasks)), mp_context=get_context("spawn"))
    try:
        yield from _collect(pool, tasks)
    except BrokenExecutor as error:
        raise UserError(
            "a process that writes events has died, perhaps for want of memory: try again with workers=1"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _collect(pool: ProcessPoolExecutor, tasks: list[Task]) -> Iterator[tuple[Task, str]]:
    running: dict[Future[str], Task] = {pool.submit(write_chunk, task[2], task[1]): task for task in tasks}
    while running:
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield running.pop(future), future.result()


def write_chunk(plan: Plan, start: int) -> str:
    """Renders and writes the files of one chunk of a plan's events; its lines of the manifest."""
    stop = min(start + CHUNK, plan.events)
    events = draw_events(plan.seed, np.arange(start, stop), plan.combinations)
    try:
        for name in plan.modalities:
            if name in RENDERERS:
                _write_samples(plan.folder / name, name, events)
    except OSError as error:
        raise UserError(
            f"cannot write {error.filename or plan.folder}: {error.strerror}: make room or choose another folder"
        ) from error
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in plan_rows(plan, start, stop))


def render(name: str, events: Events) -> np.ndarray:
    """One modality of events, as the integers or floats that its files hold."""
    return RENDERERS[name](events)


def _write_samples(folder: Path, name: str, events: Events) -> None:
    folder.mkdir(exist_ok=True)
    suffix, encode = ENCODERS[name]
    for number, sample in zip(events.index.tolist(), render(name, events)):
        (folder / f"{number:06d}{suffix}").write_bytes(encode(sample))
