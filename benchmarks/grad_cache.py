"""Cached gradients against the whole batch: time, peak memory, and how far the gradients are apart.

usage: python benchmarks/grad_cache.py [rows] [chunk] [rounds]     Two ViT-tiny towers on 64 x 64 pixels; one step is
forward, InfoNCE and backward. Also plain accumulation of chunks, which is cheaper but optimises another objective.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import torch
from measure import DEVICE, begin, emit, interleaved, peak_mb
from torch import Tensor

from bindspace import ModalityConfig
from bindspace.losses import info_nce
from bindspace.modules.trunks import vit_trunk
from bindspace.space.space import Space
from bindspace.training.cached_gradients import CachedGradients

SIDES = ("first", "second")


class FirstConfig(ModalityConfig):
    """A ViT-tiny on 64 x 64 pixels."""

    modality = "first"
    expects = "pixels"

    def encoder(self, *, pretrained: bool) -> torch.nn.Module:
        """(B, 3, 64, 64) -> (B, 192)."""
        return vit_trunk(3, 64, 8, 192)


class SecondConfig(FirstConfig):
    """The same under another name."""

    modality = "second"


def build(rows: int) -> tuple[Space, dict[str, Tensor]]:
    """A space of the two, and their pixels."""
    torch.manual_seed(0)
    space = Space({"first": FirstConfig(width=192), "second": SecondConfig(width=192)}, 512, "first").to(DEVICE)
    return space, {name: torch.randn(rows, 3, 64, 64, device=DEVICE) for name in SIDES}


def step(space: Space, pixels: dict[str, Tensor], way: str, chunk: int) -> None:
    """One step's gradients, added to the parameters'."""
    space.zero_grad()
    if way == "accumulated":
        for parts in zip(*(pixels[name].split(chunk) for name in SIDES), strict=True):
            a, b = (space(name, {"pixels": part}) for name, part in zip(SIDES, parts, strict=True))
            (info_nce(a, b, 1 / 0.07) * len(a) / len(pixels["first"])).backward()
        return
    cached = CachedGradients(space, chunk if way == "cached" else len(pixels["first"]))
    a, b = (cached.encode(name, {"pixels": pixels[name]}, space.device) for name in SIDES)
    info_nce(a, b, 1 / 0.07).backward()
    cached.second_pass(space.device)


def make(rows: int, way: str, chunk: int) -> Callable[[], object]:
    """One step in a fresh process."""
    space, pixels = build(rows)
    return partial(step, space, pixels, way, chunk)


def gradient(space: Space, pixels: dict[str, Tensor], way: str, chunk: int) -> Tensor:
    """All gradients of one step in one row."""
    step(space, pixels, way, chunk)
    return torch.cat([parameter.grad.flatten() for parameter in space.parameters() if parameter.grad is not None])


def main(rows: int = 128, chunk: int = 8, rounds: int = 2) -> None:
    """Prints a line for the whole batch, for cached gradients and for accumulation."""
    begin()
    space, pixels = build(rows)
    found = {way: gradient(space, pixels, way, chunk) for way in ("whole", "cached", "accumulated")}  # and warms up
    off = {way: float((row - found["whole"]).norm() / found["whole"].norm()) for way, row in found.items()}
    ways = ("whole", "cached")
    times = interleaved({way: partial(step, space, pixels, way, chunk) for way in ways}, rounds, warmup=0)
    peaks = {way: peak_mb(make, rows, way, chunk) for way in ways}
    for way in ways:
        emit(
            f"gradients {way}",
            rows=rows,
            chunk=rows if way == "whole" else chunk,
            seconds=times.median(way),
            time_over_whole=times.ratio(way, "whole"),
            peak_mb=peaks[way],
            peak_over_whole=peaks[way] / peaks["whole"],
            gradient_off=off[way],
        )
    emit("gradients accumulated", rows=rows, chunk=chunk, gradient_off=off["accumulated"])


if __name__ == "__main__":
    main(*(int(value) for value in sys.argv[1:]))
