"""Batches beyond memory: gradients of the whole batch's loss, with the activations of one chunk at a time.

Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup" (arXiv 2101.06983), section
3: the loss needs all vectors, but only its gradient on them has to reach the towers. So a step (1) encodes chunk by
chunk without a graph, (2) takes the loss and its gradient on the vectors, (3) encodes each chunk again, with a graph,
and sends that chunk's gradient through it. The last chunk keeps its graph from (1), and a frozen tower needs no
(3). Random states are replayed, so that dropout is the same both times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bindspace.contract import UserError
from bindspace.space import Space
from bindspace.training.ranks import world_size

Prepared = Mapping[str, Tensor]
BUCKET = 2**23  # numbers that are reduced over ranks at once


@dataclass
class PendingChunks:
    """Chunks of one tower whose vectors were computed without a graph, and these vectors with their gradient."""

    name: str
    chunks: list[Prepared]
    seeds: list[int]
    z_nD: Tensor
    autocast: torch.dtype | None


class CachedGradients:
    """Encodes batches in chunks of `micro_batch` samples, and sends gradients through them in a second pass.

    `encode` stands in for the towers' forward; `second_pass` is called once after `backward` of the loss. Gradients
    then are those of the whole batch, and of several ranks their mean (`in_one_go` keeps DDP from reducing by itself).
    """

    def __init__(self, space: Space, micro_batch: int, module: nn.Module | None = None) -> None:
        """`module`: whose trainable parameters are reduced over ranks, those of terms included; None: the space."""
        self.space, self.micro_batch, self.module = space, micro_batch, module or space
        self._pending: list[PendingChunks] = []

    def check(self) -> None:
        """Raises `UserError` for a tower in training whose rows depend on each other: a chunk is not the batch."""
        for name, tower in self.space.towers.items():
            for place, module in tower.named_modules():
                if isinstance(module, _BatchNorm) and module.training:
                    raise UserError(
                        f"trainer.micro_batch={self.micro_batch}: modality {name!r} has batch normalisation ({place}), "
                        f"whose statistics would be those of a chunk: choose an encoder without, freeze it with "
                        f"modality.{name}.tune.freeze=true, or leave trainer.micro_batch out"
                    )

    def encode(self, name: str, prepared: Prepared, device: torch.device) -> Tensor:
        """Unit vectors (n, dim) of a prepared batch of one modality; with one chunk as the tower itself gives them."""
        chunks = list(split(prepared, self.micro_batch))
        seeds = torch.randint(2**62, (len(chunks),)).tolist()
        trained = any(parameter.requires_grad for parameter in self.space.towers[name].parameters())
        with torch.no_grad():
            early = [self._chunk(name, *given, device) for given in zip(chunks[:-1], seeds)]
        last = self._chunk(name, chunks[-1], seeds[-1], device)
        if not early:
            return last
        z_nD = torch.cat(early).requires_grad_(trained and torch.is_grad_enabled())
        if z_nD.requires_grad:
            self._pending.append(PendingChunks(name, chunks[:-1], seeds, z_nD, _autocast(device)))
        return torch.cat([z_nD, last])

    def second_pass(self, device: torch.device) -> None:
        """Adds to the parameters' gradients what the vectors' gradients say, then takes the mean over ranks."""
        for pending in self._pending:
            if pending.z_nD.grad is None:  # no pair of this batch has used them
                continue
            start = 0
            for chunk, seed in zip(pending.chunks, pending.seeds):
                with torch.autocast(device.type, pending.autocast, enabled=pending.autocast is not None):
                    z_cD = self._chunk(pending.name, chunk, seed, device)
                z_cD.backward(pending.z_nD.grad[start : start + len(z_cD)])
                start += len(z_cD)
        self._pending.clear()
        if world_size() > 1:
            mean_gradients([p for p in self.module.parameters() if p.requires_grad])

    def _chunk(self, name: str, chunk: Prepared, seed: int, device: torch.device) -> Tensor:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            return self.space(name, {key: value.to(device, non_blocking=True) for key, value in chunk.items()})


def split(prepared: Prepared, size: int) -> Iterator[Prepared]:
    """What `prepare` returned in parts of `size` samples; the rows of one sample (`owner`) stay together."""
    owner = prepared.get("owner")
    total = len(next(iter(prepared.values()))) if owner is None else int(owner.max()) + 1
    for start in range(0, total, size):
        if owner is None:
            yield {key: value[start : start + size] for key, value in prepared.items()}
        else:
            held = (owner >= start) & (owner < start + size)
            rows = {key: value[held] for key, value in prepared.items() if key != "owner"}
            yield {**rows, "owner": owner[held] - start}


@contextmanager
def in_one_go(strategy: Any) -> Iterator[None]:
    """Keeps DDP from reducing in the middle of a step; `second_pass` does so once at its end."""
    block: Callable[..., Any] | None = getattr(strategy, "block_backward_sync", None)
    if block is None or world_size() == 1:
        yield
        return
    with block():
        yield


@torch.no_grad()
def mean_gradients(parameters: list[nn.Parameter]) -> None:
    """Replaces each gradient by its mean over ranks, in place; one that no rank has stays None. Collective."""
    used = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32, device=parameters[0].device)
    dist.all_reduce(used)
    chosen = [parameter for parameter, ranks in zip(parameters, used.tolist()) if ranks]
    for bucket in _buckets(chosen):
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in bucket]
        flat = torch.cat([grad.reshape(-1) for grad in grads])
        dist.all_reduce(flat)
        flat /= world_size()
        for parameter, part in zip(bucket, flat.split([grad.numel() for grad in grads])):
            parameter.grad = part.view_as(parameter).clone(memory_format=torch.preserve_format)


def _buckets(parameters: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Parameters of one type, a few at a time, so that their gradients need little memory twice."""
    bucket: list[nn.Parameter] = []
    for parameter in parameters:
        full = sum(p.numel() for p in bucket) + parameter.numel() > BUCKET
        if bucket and (full or bucket[0].dtype is not parameter.dtype):
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket


def _autocast(device: torch.device) -> torch.dtype | None:
    """The type that autocast computes in at this moment, or None where it is off."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
