"""Writes events as manifests and files: chunks of events go over a pool of processes, folders appear when complete."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bindspace.io.progress import Progress

from .attributes import Events, draw_events
from .captions import captions
from .files import ENCODERS, INFO
from .inertia import inertials
from .new_modalities import Maker
from .picture import pictures
from .pool import cannot_write, check_free, new_folder, run_tasks
from .ranging import depths, thermals
from .sound import sounds

RENDERERS = {"image": pictures, "audio": sounds, "depth": depths, "thermal": thermals, "imu": inertials}
CHUNK = 256  # events that a process renders and writes at once
MANIFEST = "manifest.jsonl"
TEXT = "text"


@dataclass(frozen=True)
class Plan:
    """One folder to write: which events, and what of them."""

    folder: Path
    seed: int
    events: int
    modalities: tuple[str, ...]
    combinations: str = "seen"
    captions: int = 1


def makers(plan: Plan) -> dict[str, Maker]:
    """Generators of the examples for the plan's new modalities."""
    return {name: Maker(name) for name in plan.modalities if name not in RENDERERS and name != TEXT}


def path_columns(plan: Plan) -> list[str]:
    """The plan's modalities whose cells are paths."""
    return [name for name in plan.modalities if name in RENDERERS] + [
        name for name, maker in makers(plan).items() if maker.writes_files
    ]


def plan_rows(
    plan: Plan, start: int = 0, stop: int | None = None, keep: Callable[[str, bytes], None] | None = None
) -> Iterator[dict[str, Any]]:
    """The manifest rows of a plan's events, without rendering any.

    `keep`: called with the path and the bytes of each file that a plugin makes, since its row depends on it.
    """
    events = draw_events(plan.seed, np.arange(start, plan.events if stop is None else stop), plan.combinations)
    written = captions(events, plan.captions) if TEXT in plan.modalities else []
    made_by = makers(plan)
    for i, number in enumerate(events.index.tolist()):
        row: dict[str, Any] = {"id": f"{plan.seed}-{number:06d}"}
        infos: dict[str, Any] = {}
        for name in plan.modalities:
            if name == TEXT:
                row[name] = written[i] if plan.captions > 1 else written[i][0]
            elif name in RENDERERS:
                row[name] = f"{name}/{number:06d}{ENCODERS[name][0]}"
                infos |= INFO.get(name, {})
            else:
                made = made_by[name](plan.seed, number, events.concept(i))
                row[name] = f"{name}/{number:06d}{made.suffix}" if made_by[name].writes_files else made.cell
                infos |= made.info
                if keep is not None and made_by[name].writes_files:
                    keep(row[name], made.data)
        yield {**row, **infos, **events.labels(i), "concept": events.concept(i), "group": row["id"]}


def is_complete(folder: Path) -> bool:
    """Whether a folder was written: it appears whole, so a manifest is enough."""
    return (folder / MANIFEST).is_file()


def write_plans(plans: Iterable[Plan], workers: int) -> None:
    """Writes every plan's folder. Each appears when it is complete; after an error none is left half-written."""
    plans = list(plans)
    for plan in plans:
        check_free(plan.folder)
    lines: list[dict[int, str]] = [{} for _ in plans]
    parts = [list(_parts(plan.events)) for plan in plans]
    total = sum(plan.events for plan in plans)
    with ExitStack() as everything:
        progress = everything.enter_context(Progress("writing events", total, shown=total > CHUNK))
        places = [everything.enter_context(ExitStack()) for _ in plans]
        new = [place.enter_context(new_folder(plan.folder)) for place, plan in zip(places, plans)]
        tasks = [
            Task(number, start, stop, replace(plan, folder=new[number]))
            for number, plan in enumerate(plans)
            for start, stop in parts[number]
        ]
        # Closed before the folders are: no process may still write into them.
        for task, text in everything.enter_context(closing(run_tasks(tasks, workers))):
            done = lines[task.number]
            done[task.start] = text
            if len(done) == len(parts[task.number]):
                _write(task.plan.folder / MANIFEST, "".join(done[start] for start in sorted(done)).encode())
                places[task.number].close()
            progress.advance(task.stop - task.start)


def _parts(events: int) -> Iterator[tuple[int, int]]:
    """Cuts a number of events into chunks of nearly equal size."""
    count = -(-events // CHUNK)
    bounds = [events * k // count for k in range(count + 1)]
    return pairwise(bounds)


@dataclass(frozen=True)
class Task:
    """One chunk of a plan's events."""

    number: int  # of the plan
    start: int
    stop: int
    plan: Plan

    def __call__(self) -> str:
        """Renders and writes the files of the chunk; its lines of the manifest."""
        events = draw_events(self.plan.seed, np.arange(self.start, self.stop), self.plan.combinations)
        for name in self.plan.modalities:
            if name in RENDERERS:
                _write_samples(self.plan.folder / name, name, events)
        rows = plan_rows(self.plan, self.start, self.stop, lambda place, data: _write(self.plan.folder / place, data))
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def render(name: str, events: Events) -> np.ndarray:
    """One modality of events, as the integers or floats that its files hold."""
    return RENDERERS[name](events)


def _write_samples(folder: Path, name: str, events: Events) -> None:
    suffix, encode = ENCODERS[name]
    for number, sample in zip(events.index.tolist(), render(name, events)):
        _write(folder / f"{number:06d}{suffix}", encode(sample))


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise cannot_write(path, error) from error
