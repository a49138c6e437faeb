"""How long a training step takes by modality at size tiny: prepare, and forward + backward in both precisions.

usage: python benchmarks/tower_steps.py [batch] [rounds]     One JSON line per case: medians over interleaved rounds, in
milliseconds, and the ratio of bf16 to float32 in the same run.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bindspace import registry
from bindspace.space import Space


def main(batch: int = 128, rounds: int = 5) -> None:
    """Prints a line for each installed modality implementation."""
    torch.set_num_threads(1)
    print(
        json.dumps(
            {"torch": torch.__version__, "processor": torch.cpu.get_capabilities().get("cpu_name"), "threads": 1}
        )
    )
    for name in registry.installed():
        print(json.dumps(measure(name, batch, rounds)), flush=True)


def measure(name: str, batch: int, rounds: int) -> dict[str, Any]:
    """The medians of one modality on its own generated examples."""
    config = registry.load(name)()
    torch.manual_seed(0)
    tower = Space({config.modality: config}, 128, config.modality).towers[config.modality]
    rng = np.random.default_rng(0)
    samples = [config.read(*config.example(rng, i % 10)) for i in range(batch)]
    prepared = config.prepare(samples, seeds=list(range(batch)))

    def step(bf16: bool) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            z = tower(**prepared)
        z.sum().backward()

    cases: dict[str, Callable[[], object]] = {
        "prepare": lambda: config.prepare(samples, seeds=list(range(batch))),
        "float32": lambda: step(False),
        "bf16": lambda: step(True),
    }
    times: dict[str, list[float]] = {case: [] for case in cases}
    for _ in range(rounds + 1):  # the first warms up
        for case, call in cases.items():
            start = time.process_time()
            call()
            times[case].append(time.process_time() - start)
    medians = {case: 1e3 * statistics.median(values[1:]) for case, values in times.items()}
    parameters = sum(parameter.numel() for parameter in tower.parameters())
    line = {f"{case}_ms": round(value, 1) for case, value in medians.items()}
    return {"modality": name, "batch": batch, "parameters": parameters, **line} | {
        "bf16_over_float32": round(medians["bf16"] / medians["float32"], 2)
    }


if __name__ == "__main__":
    main(*(int(value) for value in sys.argv[1:]))
