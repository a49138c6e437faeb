"""Losses of ranks that share a batch, in processes of their own; imported by them, so it knows no test."""

from __future__ import annotations

from datetime import timedelta

import torch
import torch.distributed as dist
from torch.nn import functional as F

from bindspace.losses import info_nce, siglip, tiles
from bindspace.training.ranks import ProcessRanks

COUNTS = {2: [[4, 3], [0, 6]], 3: [[5, 0, 2], [1, 4, 3]]}  # rows of each rank
DIM = 8
CASES = {
    "InfoNCE": {},
    "duplicates": {"keys": True},
    "a frozen side": {"frozen": True},
    "sigmoid": {"keys": True, "siglip": True},
}


def batch(rows, case):
    """The joined batch of a case: two sides, and what the loss is asked with."""
    g = torch.Generator().manual_seed(rows)
    unit = lambda n: F.normalize(torch.randn(n, DIM, generator=g), dim=1)  # noqa: E731
    few = lambda n: torch.randint(0, 4, (n,), generator=g)  # noqa: E731
    a, b, asked = unit(rows), unit(rows), {}
    if case.get("keys"):
        asked |= {"keys_a": few(rows) * 7, "keys_b": torch.arange(rows) // 2}
    return a, b, asked


def evaluate(a, b, asked, case, **more):
    """Value and gradients."""
    a, b = a.clone().requires_grad_(not case.get("frozen")), b.clone().requires_grad_()
    scale, bias = torch.tensor(9.0, requires_grad=True), torch.tensor(-3.0, requires_grad=True)
    extra = (bias,) if case.get("siglip") else ()
    loss = (siglip if case.get("siglip") else info_nce)(a, b, scale, *extra, **asked, **more)
    loss.backward()
    return {"loss": loss.detach(), "a": a.grad, "b": b.grad, "scale": scale.grad, "bias": bias.grad}


def rank_main(rank, world, folder):
    """What a rank does: all cases; writes what it got."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world, timeout=timedelta(seconds=60)
    )
    tiles.TILE = 3
    found = {}
    for counts in COUNTS[world]:
        ranks = ProcessRanks(counts)
        for name, case in CASES.items():
            a, b, asked = batch(sum(counts), case)
            mine = {key: value[ranks.here] for key, value in asked.items()}
            found[(tuple(counts), name)] = evaluate(a[ranks.here], b[ranks.here], mine, case, ranks=ranks)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()
