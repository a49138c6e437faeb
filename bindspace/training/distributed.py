"""Rows of all ranks, with gradient. One process is the trivial case: everything comes back as it went in."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from bindspace.launch import is_first

T = TypeVar("T")


def world_size() -> int:
    """How many ranks take part."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first_rank() -> bool:
    """Whether this process is the one that writes; also before the ranks have met."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() == 0
    return is_first()


def gather_counts(counts: Tensor) -> Tensor:
    """(P,) int64 of this rank to (ranks, P) of all."""
    if world_size() == 1:
        return counts[None]
    gathered = [torch.empty_like(counts) for _ in range(world_size())]
    dist.all_gather(gathered, counts)
    return torch.stack(gathered)


def gather_lists(items: list[T]) -> list[T]:
    """The items of all ranks: text, or what can be pickled."""
    if world_size() == 1:
        return items
    gathered: list[list[T]] = [[] for _ in range(world_size())]
    dist.all_gather_object(gathered, items)
    return [item for part in gathered for item in part]


def gather_rows(rows: Tensor, counts: list[int]) -> Tensor:
    """Rows (n, ...) of every rank one below the other; `counts` are the n of all ranks, and may be 0.

    With gradient: each rank computes the same loss from all rows, so the gradient of a rank's own rows is the *sum*
    over ranks, and DDP's mean over ranks then gives exactly the gradient of one process with the joined batch.
    """
    if world_size() == 1:
        return rows
    return _GatherRows.apply(rows, counts)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int]) -> Tensor:
        ctx.counts, ctx.rank = counts, dist.get_rank()
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        gathered = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(gathered, padded)
        return torch.cat([chunk[:count] for chunk, count in zip(gathered, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad = grads[0].clone(memory_format=torch.contiguous_format)  # autograd's own may not be changed in place
        dist.all_reduce(grad)
        start = sum(ctx.counts[: ctx.rank])
        return grad[start : start + ctx.counts[ctx.rank]], None
