"""Shared code of the benchmarks: interleaved rounds, peak memory of a fresh process, hardware, one JSON line per case.

Time is CPU time of this process on one thread, so that other work on the machine disturbs it little; with a GPU it is
wall-clock time between two synchronisations. Compare within one call of `interleaved` only.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
STATUS = Path("/proc/self/status")
MB = 2**20


def begin(threads: int = 1) -> dict[str, Any]:
    """Sets torch's threads, prints the machine as the first line, and returns it. Every script calls it first."""
    torch.set_num_threads(threads)
    line = machine()
    print(json.dumps({"machine": line}), flush=True)
    return line


def machine() -> dict[str, Any]:
    """The hardware and software behind the results: CPU or GPU, cores, threads, bf16 instructions, versions."""
    capabilities = torch.cpu.get_capabilities()
    return {
        "processor": capabilities.get("cpu_name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "avx512": bool(capabilities.get("avx512_f", False)),
        "avx512_bf16": bool(capabilities.get("avx512_bf16", False)),
        "amx_bf16": bool(capabilities.get("amx_bf16", False)),
        "gpu": torch.cuda.get_device_name() if DEVICE == "cuda" else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def emit(case: str, **results: Any) -> None:
    """Prints one case as a JSON line: four significant digits of every float."""
    print(json.dumps({"case": case, **{key: _short(value) for key, value in results.items()}}), flush=True)


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def clock() -> float:
    """Seconds of CPU time of this process; with a GPU, wall-clock seconds when it has nothing left to do."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


@dataclass
class Rounds:
    """Seconds of every case in every round."""

    seconds: dict[str, list[float]]

    def median(self, case: str) -> float:
        """The median of a case, in seconds."""
        return statistics.median(self.seconds[case])

    def ratio(self, case: str, base: str) -> float:
        """The median over rounds of one case's time to that of another in the same round."""
        return statistics.median(a / b for a, b in zip(self.seconds[case], self.seconds[base], strict=True))


def interleaved(cases: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1) -> Rounds:
    """Times each case once a round, in turn, so that what disturbs the machine disturbs all of them alike."""
    seconds: dict[str, list[float]] = {case: [] for case in cases}
    for number in range(warmup + rounds):
        for case, call in cases.items():
            start = clock()
            call()
            if number >= warmup:
                seconds[case].append(clock() - start)
    return Rounds(seconds)


def peak_mb(make: Callable[..., Callable[[], object]], *arguments: Any, threads: int = 1) -> float:
    """The extra peak memory (MB) of one call, measured in a fresh process: above what is held when the call begins.

    `make(*arguments)` builds the inputs and returns the call; it has to be a function of a module's top level. With a
    GPU it is the GPU's memory.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (make, arguments, threads))


def _peak(make: Callable[..., Callable[[], object]], arguments: tuple[Any, ...], threads: int) -> float:
    torch.set_num_threads(threads)
    call = make(*arguments)
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - held) / MB
    held = resident("VmRSS")
    with suppress(OSError):  # where the kernel forbids it, the peak of the imports stays in
        Path("/proc/self/clear_refs").write_text("5")
    call()
    return max(0.0, resident("VmHWM") - held) / MB


def resident(field: str) -> float:
    """Bytes that this process holds (`VmRSS`) or held at most (`VmHWM`)."""
    if STATUS.exists():
        found = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
        return float(found[field].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts in bytes, and knows the peak only
    return float(peak if sys.platform == "darwin" else peak * 1024)
