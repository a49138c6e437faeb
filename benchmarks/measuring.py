"""What the benchmarks here share: interleaved rounds, peak memory in a process of its own, one JSON line a case."""

from __future__ import annotations

import gc
import json
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch


def machine(device: str) -> dict[str, Any]:
    """What the numbers depend on."""
    capabilities = torch.cpu.get_capabilities()
    name = torch.cuda.get_device_name() if device == "cuda" else capabilities.get("cpu_name")
    bf16 = device == "cuda" or bool(capabilities.get("amx_bf16", False))
    return {"torch": torch.__version__, "machine": platform.machine(), "device": device, "name": name,
            "bf16_units": bf16, "threads": torch.get_num_threads()}  # fmt: skip


def default_device() -> str:
    """The GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def interleaved(cases: Mapping[str, Callable[[], object]], rounds: int, device: str) -> dict[str, float]:
    """Median seconds of each case, taken in turns after one round to warm up: process time, on a GPU wall time."""
    times: dict[str, list[float]] = {case: [] for case in cases}
    for _ in range(rounds + (rounds > 1)):
        for case, call in cases.items():
            start = _clock(device)
            call()
            times[case].append(_clock(device) - start)
            gc.collect()
    return {case: statistics.median(values[1:] or values) for case, values in times.items()}


def _clock(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def extra_peak_mb(call: Callable[[], object], device: str) -> float:
    """Peak memory of a call beyond what was held before it. To be taken in a fresh process."""
    gc.collect()
    if device == "cuda":
        held = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        return (torch.cuda.max_memory_allocated() - held) / 1e6
    Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark back to what is held now
    held_kb = _status("VmRSS")
    call()
    return (_status("VmHWM") - held_kb) * 1024 / 1e6


def _status(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found.group(1))


def in_child(file: str, arguments: list[str]) -> dict[str, Any]:
    """The last JSON line of this script run with `--child`."""
    done = subprocess.run([sys.executable, file, "--child", *arguments], capture_output=True, text=True, check=True)
    line: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return line


def say(line: Mapping[str, Any]) -> None:
    """One line of JSON, numbers to three digits."""
    print(json.dumps({k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in line.items()}), flush=True)
