"""Duration of a training step by modality at size tiny: prepare, and forward + backward in both precisions.

usage: python benchmarks/tower_steps.py [batch] [rounds]     One line for each installed implementation that is made to
be trained from scratch: milliseconds, and the ratio of bf16 to float32.
"""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
import torch
from measure import DEVICE, begin, emit, interleaved
from torch import Tensor, nn

from bindspace import Head, ModalityConfig
from bindspace.contract import registry
from bindspace.space.space import Space


def main(batch: int = 128, rounds: int = 3) -> None:
    """Measures every installed modality."""
    begin()
    for name in registry.installed():
        config = registry.load(name)()
        if not config.slow and config.head is not Head.identity:
            measure(name, config, batch, rounds)


def step(tower: nn.Module, prepared: dict[str, Tensor], bf16: bool) -> None:
    """Forward and backward."""
    with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=bf16):
        z = tower(**prepared)
    z.sum().backward()


def measure(name: str, config: ModalityConfig, batch: int, rounds: int) -> None:
    """One implementation on its own generated examples."""
    torch.manual_seed(0)
    tower = Space({config.modality: config}, 128, config.modality).towers[config.modality].to(DEVICE)
    rng = np.random.default_rng(0)
    samples = [config.read(*config.example(rng, i % 10)) for i in range(batch)]
    prepare = partial(config.prepare, samples, seeds=list(range(batch)))
    prepared = {key: value.to(DEVICE) for key, value in prepare().items()}
    ways = {"float32": partial(step, tower, prepared, False), "bf16": partial(step, tower, prepared, True)}
    times = interleaved({"prepare": prepare, **ways}, rounds)
    milliseconds = {f"{way}_ms": 1e3 * times.median(way) for way in times.seconds}
    parameters = sum(parameter.numel() for parameter in tower.parameters())
    ratio = times.ratio("bf16", "float32")
    emit(f"tower {name}", batch=batch, parameters=parameters, **milliseconds, bf16_over_float32=ratio)


if __name__ == "__main__":
    main(*(int(value) for value in sys.argv[1:]))
