"""Communication between ranks. With one process everything is returned as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from bindspace.settings import is_first

T = TypeVar("T")


def world_size() -> int:
    """How many ranks take part."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first_rank() -> bool:
    """Whether this process is the one that writes; also before process groups are initialised."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() == 0
    return is_first()


@contextmanager
def first_rank_first() -> Iterator[None]:
    """The block is run by the first rank, then by all others, which find what it has left on disk."""
    if world_size() > 1 and not is_first_rank():
        dist.barrier()
    yield
    if world_size() > 1 and is_first_rank():
        dist.barrier()


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
    """Rows (n, ...) of every rank, concatenated, without gradient; `counts`: the n of all ranks, possibly 0."""
    if world_size() == 1:
        return rows
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    gathered = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(gathered, padded)
    return torch.cat([chunk[:count] for chunk, count in zip(gathered, counts, strict=True)])


def gather_live(rows: Tensor, counts: list[int]) -> Tensor:
    """As `gather_rows`, with the gradient of this rank's own rows."""
    if world_size() == 1:
        return rows
    start = sum(counts[: dist.get_rank()])
    gathered = gather_rows(rows, counts)
    return torch.cat([gathered[:start], rows, gathered[start + len(rows) :]])


class ProcessRanks:
    """The ranks of torch.distributed that share a batch, as the losses use them (`bindspace.losses.world`)."""

    def __init__(self, counts: list[int]) -> None:
        start = sum(counts[: dist.get_rank()])
        self.counts, self.here = counts, slice(start, start + counts[dist.get_rank()])

    def gather(self, rows: Tensor) -> Tensor:
        """Rows (n, ...) of every rank, concatenated."""
        return gather_rows(rows, self.counts)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over ranks, the same on all."""
        total = values.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    def logsumexp(self, values: Tensor) -> Tensor:
        """The log-sum-exp over ranks, the same on all."""
        highest = values.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(highest, dist.ReduceOp.MAX)
        shift = torch.where(highest.isinf(), 0.0, highest)
        return self.sum((values - shift).exp()).log() + shift
