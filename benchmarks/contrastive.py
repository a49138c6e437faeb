"""Contrastive losses, forward + backward, against open_clip's: time, extra peak memory, and accuracy of gradients.

usage: python benchmarks/contrastive.py [--sizes 1024,16384] [--rounds 3] [--precision float32,bf16] [--quick]

One JSON line per case: median seconds (CPU time of one thread, taken in turns within one run; on a GPU wall time), its
ratio to open_clip's loss and to the tiled loss's own matrix products, extra peak memory in a fresh process, and the
relative error of the gradients against float64, on random and on clustered rows (4,096 at most).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from measure import DEVICE, begin, emit, interleaved, peak_mb
from open_clip.loss import ClipLoss, SigLipLoss
from torch import Tensor
from torch.nn import functional as F

from bindspace.losses import info_nce, info_nce_plain, siglip, siglip_plain
from bindspace.losses.products import Products
from bindspace.losses.tiles import TILE, Block

DIM, SCALE, BIAS = 512, 1 / 0.07, -10.0
OPEN_CLIP_MOST = 16384  # its matrices take 4 GB there
CLUSTERS, NOISE = 64, 0.02  # of clustered rows: neighbours have a cosine of about 0.8
Step = Callable[[], object]


def main() -> None:
    """Prints the machine, then a line for each loss, size and precision."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="1024,4096,16384")
    parser.add_argument("--losses", default="info_nce,siglip")
    parser.add_argument("--precision", default="float32,bf16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="1,024 rows, three rounds, no child processes")
    asked = parser.parse_args()
    has_units = begin()["amx_bf16"] or DEVICE == "cuda"
    for rows in [1024] if asked.quick else [int(size) for size in asked.sizes.split(",")]:
        for loss in asked.losses.split(","):
            for precision in asked.precision.split(","):
                if precision == "bf16" and not has_units:
                    emit(loss, rows=rows, precision=precision, skipped="no bf16 matrix instructions")
                    continue
                emit(loss, **measure(loss, rows, precision, asked.rounds, not asked.quick, DEVICE))


def measure(loss: str, rows: int, precision: str, rounds: int, memory: bool, device: str) -> dict[str, Any]:
    """One case. Small ones are repeated more often."""
    rounds = max(rounds, 30 * 1024 // rows) if rows <= 4096 else rounds
    inputs = unit_rows(rows, "random", device)
    names = [
        "tiled",
        "products",
        *(["open_clip"] if rows <= OPEN_CLIP_MOST else []),
        *(["plain"] if rows <= 4096 else []),
    ]
    taken = interleaved({name: step(loss, name, inputs, precision) for name in names}, rounds, int(rounds > 1))
    line: dict[str, Any] = {"rows": rows, "precision": precision, "rounds": rounds}
    line |= {f"{name}_s": taken.median(name) for name in names}
    line["tiled_over_products"] = taken.ratio("tiled", "products")
    if "open_clip" in names:
        line["tiled_over_open_clip"] = taken.ratio("tiled", "open_clip")
        if "plain" in names:
            line["plain_over_open_clip"] = taken.ratio("plain", "open_clip")
    if memory:
        for name in ("tiled", "open_clip"):
            if name in names:
                line[f"{name}_mb"] = peak_mb(warm_step, loss, name, rows, precision)
        if "open_clip" in names:
            line["open_clip_mb_over_tiled_mb"] = line["open_clip_mb"] / line["tiled_mb"]
    for data in ("random", "clustered"):
        line[f"error_{data}"] = gradient_error(loss, min(rows, 4096), data, precision, device)
    return line


def unit_rows(rows: int, data: str, device: str) -> tuple[Tensor, Tensor]:
    """Two sides of unit rows: independent, or round common centres."""
    generator = torch.Generator().manual_seed(rows)
    a, b = (torch.randn(rows, DIM, generator=generator) for _ in range(2))
    if data == "clustered":
        centre = F.normalize(torch.randn(CLUSTERS, DIM, generator=generator), dim=1)
        which = torch.randint(0, CLUSTERS, (rows,), generator=generator)
        a, b = (centre[which] + NOISE * each for each in (a, b))
    a, b = (F.normalize(each, dim=1).to(device) for each in (a, b))
    return a, b


def leaves(inputs: tuple[Tensor, Tensor], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Rows, scale and bias that take gradients."""
    numbers = [torch.tensor(value, device=inputs[0].device) for value in (SCALE, BIAS)]
    return [each.detach().to(dtype).requires_grad_() for each in (*inputs, *numbers)]


def loss_of(loss: str, method: str, x: list[Tensor], precision: str) -> Tensor:
    """The value, with its graph."""
    a, b, scale, bias = x
    if method == "open_clip":
        with torch.autocast(a.device.type, torch.bfloat16, enabled=precision == "bf16"):
            value: Tensor = ClipLoss()(a, b, scale) if loss == "info_nce" else SigLipLoss()(a, b, scale, bias)
            return value
    if method == "plain":
        return info_nce_plain(a, b, scale) if loss == "info_nce" else siglip_plain(a, b, scale, bias)
    if loss == "info_nce":
        return info_nce(a, b, scale, tiled=True, products=precision)
    return siglip(a, b, scale, bias, tiled=True, products=precision)


def step(loss: str, method: str, inputs: tuple[Tensor, Tensor], precision: str) -> Step:
    """Forward and backward of one method, or nothing but the matrix products of the tiled loss."""
    if method == "products":
        return lambda: bare_products(*inputs, 4 if loss == "info_nce" else 3, precision)

    def run() -> list[Tensor]:
        x = leaves(inputs)
        loss_of(loss, method, x, precision).backward()
        return x

    return run


@torch.no_grad()
def bare_products(a: Tensor, b: Tensor, count: int, precision: str) -> None:
    """`count` products of every tile: similarities once or twice, then either side's gradient."""
    products, block = Products(precision, a.device), Block(a, b)
    room, by_a, by_b = block.buffer(), torch.zeros_like(a), torch.zeros_like(b)
    with products.ready():
        for rows, columns in block.tiles():
            tile = room[: rows.stop - rows.start, : columns.stop - columns.start]
            for _ in range(count - 2):
                products.logits(a[rows], b[columns], 1.0, tile)
            products.add(by_a[rows], tile, b[columns])
            products.add(by_b[columns], tile.T, a[rows])


def warm_step(loss: str, method: str, rows: int, precision: str) -> Step:
    """One step, after a small one that loads what is loaded once."""
    step(loss, method, unit_rows(TILE // 8, "random", DEVICE), precision)()
    return step(loss, method, unit_rows(rows, "random", DEVICE), precision)


def gradient_error(loss: str, rows: int, data: str, precision: str, device: str) -> float:
    """The larger relative error, in norm, of both sides' gradients against the plain loss in float64."""
    inputs = unit_rows(rows, data, device)
    exact, tiled = leaves(inputs, torch.float64), leaves(inputs)
    loss_of(loss, "plain", exact, "float32").backward()
    loss_of(loss, "tiled", tiled, precision).backward()
    pairs = [(x.grad, y.grad) for x, y in zip(tiled[:2], exact[:2], strict=True)]
    return max(float((x.double() - y).norm() / y.norm()) for x, y in pairs if x is not None and y is not None)


if __name__ == "__main__":
    main()
