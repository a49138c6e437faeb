"""Where the time of a stage goes, so that a person sees what to fix: reading, preparing, waiting, encoding, loss.

Loader workers time themselves, and the batch carries their timings; the rest is timed where Lightning's profiler is
called anyway. The first batch, which starts workers and warms up, is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import lightning as L
import torch
from lightning.pytorch.profilers import Profiler

from bindspace.data import Batch
from bindspace.io.files import write_json

FILE = "throughput.json"
OF_WORKERS = ("read", "prepare")
OF_DEVICE = ("encode", "loss", "backward")
PARTS = (*OF_WORKERS, "wait", *OF_DEVICE, "rest")
EVERY = 16  # on a GPU the parts of so many-th batch are timed, since each timing waits for the device
LATE = 0.1  # a share of waiting above this is reported


class StepClock(Profiler):
    """Adds up the seconds of a step's parts in `seconds`; `timed[part]` counts the events that they were spent on."""

    def __init__(self) -> None:
        super().__init__()
        self.gpu = False
        self._known: dict[str, str | None] = {}
        self._since: dict[str, float] = {}
        self._batch = 0
        self.clear()

    def clear(self) -> None:
        """Resets it."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.timed: defaultdict[str, int] = defaultdict(int)
        self.batches, self.events, self.began = 0, 0, perf_counter()

    def start(self, action_name: str) -> None:
        """Called by Lightning, and by the module, before an action; most are not timed."""
        part = self._known[action_name] if action_name in self._known else self._learn(action_name)
        if part is not None and self._timing(part):
            self._since[part] = self._now(part)

    def stop(self, action_name: str) -> None:
        """Called after it."""
        part = self._known.get(action_name)
        if part is not None and part in self._since:
            self.seconds[part] += self._now(part) - self._since.pop(part)

    def count(self, batch: Batch) -> None:
        """A batch has been trained on: its events, and what its worker spent."""
        for part in (*OF_WORKERS, "wait", *OF_DEVICE):
            if self._timing(part):
                self.timed[part] += len(batch.ids)
        for part, seconds in batch.seconds.items():
            self.seconds[part] += seconds
        self.batches, self.events, self._batch = self.batches + 1, self.events + len(batch.ids), self._batch + 1

    def _learn(self, action: str) -> str | None:
        ends = {".train_dataloader_next": "wait", "Strategy.backward": "backward"}
        part = action if action in OF_DEVICE else next((ends[end] for end in ends if action.endswith(end)), None)
        self._known[action] = part
        return part

    def _timing(self, part: str) -> bool:
        return not self.gpu or part not in OF_DEVICE or self._batch % EVERY == 0

    def _now(self, part: str) -> float:
        if self.gpu and part in OF_DEVICE:
            torch.cuda.synchronize()
        return perf_counter()


class ReportThroughput(L.Callback):
    """Adds the timings of a stage to `reports` when it ends, and writes them all into `path`."""

    def __init__(self, name: str, clock: StepClock, workers: int, path: Path, reports: list[dict[str, Any]]) -> None:
        self.name, self.clock, self.workers, self.path, self.reports = name, clock, workers, path, reports
        self.warm = False

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Notes the device of the towers."""
        self.clock.gpu = module.device.type == "cuda"

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, index: int
    ) -> None:
        """Counts the batch, unless it is the first."""
        if self.warm:
            self.clock.count(batch)
        else:
            self.warm = True
            self.clock.clear()

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Writes the timings; a stage of one batch has none."""
        if self.clock.batches and trainer.is_global_zero:
            self.reports.append(measured(self.name, self.clock, self.workers, trainer.world_size))
            write_json(self.path, self.reports)


def measured(name: str, clock: StepClock, workers: int, ranks: int) -> dict[str, Any]:
    """The timings of one stage, of the first rank but for `samples_per_second`, which is of all.

    `parts`: by part its seconds, its share of the time (of `read` and `prepare` that of the workers' time), and the
    samples a second that it alone would allow, with all workers at it. `rest`: the optimiser, callbacks, all else.
    """
    total = perf_counter() - clock.began
    parts: dict[str, dict[str, float]] = {}
    for part in PARTS[:-1]:
        timed = clock.timed[part]
        seconds = clock.seconds[part] * (clock.events / timed if timed else 0.0)  # those not timed took as long
        at_once = max(workers, 1) if part in OF_WORKERS else 1
        parts[part] = {"seconds": seconds, "share": seconds / total / at_once}
        if part != "wait" and seconds:
            parts[part]["samples_per_second"] = clock.events / seconds * at_once
    within = sum(parts[part]["seconds"] for part in ("wait", *OF_DEVICE))
    parts["rest"] = {"seconds": max(0.0, total - within), "share": max(0.0, 1 - within / total)}
    rounded = {part: {key: round(value, 4) for key, value in values.items()} for part, values in parts.items()}
    return {
        "stage": name,
        "batches": clock.batches,
        "samples": clock.events,
        "seconds": round(total, 4),
        "samples_per_second": round(clock.events * ranks / total, 1),
        "workers": workers,
        "ranks": ranks,
        "parts": rounded,
    }


def table(report: Mapping[str, Any]) -> str:
    """The timings of a stage for a person, with advice."""
    ranks = f" on {report['ranks']} ranks" if report["ranks"] > 1 else ""
    lines = [f"stage {report['stage']}: {report['samples_per_second']:,.0f} samples/s{ranks}"]
    where = f"{report['workers']} workers" if report["workers"] != 1 else "1 worker"
    for part in PARTS:
        values = report["parts"][part]
        alone = f"{values['samples_per_second']:>12,.0f} samples/s" if "samples_per_second" in values else " " * 22
        of = f" of {where if report['workers'] else 'wait'}" if part in OF_WORKERS else ""
        lines.append(f"  {part:<9}{alone} {values['share']:>6.1%}{of}")
    return "\n".join([*lines, f"  {advice(report)}"])


def advice(report: Mapping[str, Any]) -> str:
    """A sentence on what to fix first."""
    parts, wait = report["parts"], report["parts"]["wait"]["share"]
    if wait < LATE:
        longest = max(OF_DEVICE, key=lambda part: parts[part]["share"])
        return f"input is not the bottleneck: the step spends most time on {longest}"
    slower = max(OF_WORKERS, key=lambda part: parts[part]["seconds"])
    return (
        f"{wait:.0%} of the time is spent waiting for data, mostly to {slower} it: raise data.workers or data.memory_gb"
    )
