"""A space and a pool whose vectors are given by hand, so that every answer can be worked out by hand."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bindspace import Cell, Head, ModalityConfig
from bindspace.ledger.ledger import Ledger
from bindspace.space.space import Space


class Given(nn.Module):
    """Hands through the vectors it is given; the parameter says where the space lives."""

    def __init__(self) -> None:
        super().__init__()
        self.where = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x


@dataclass(kw_only=True)
class Signal(ModalityConfig):
    head: Head = Head.identity
    words: dict[str, list[float]] = field(default_factory=dict)

    def read(self, source: Any, info: Any) -> Any:
        return torch.tensor(self.words[source])

    def prepare(self, samples: Any, *, seeds: Any = None, augment: str = "weak") -> dict[str, Tensor]:
        return {"x": torch.stack(list(samples))}

    def encoder(self, *, pretrained: bool) -> nn.Module:
        return Given()


@dataclass(kw_only=True)
class Words(Signal):
    cell = Cell.value


def make_space(
    dim: int, names: list[str], ledger: Ledger | None = None, words: dict[str, list[float]] | None = None
) -> Space:
    """A space of identity towers; the modality called `words` holds values."""
    kinds = {name: Words if name == "words" else Signal for name in names}
    space = Space({name: kind(width=dim, words=words or {}) for name, kind in kinds.items()}, dim, names[0])
    space.ledger = ledger
    return space


def digest(name: str, index: int) -> bytes:
    return hashlib.sha256(f"{name} {index}".encode()).digest()


@dataclass
class Item:
    digest: bytes
    event: list[int]


class Pool:
    """Vectors by modality, one item an event unless `events` says otherwise."""

    def __init__(
        self,
        vectors: dict[str, Tensor],
        events: dict[str, list[list[int]]] | None = None,
        attributes: dict[str, list[Any]] | None = None,
        groups: list[str | None] | None = None,
    ) -> None:
        self.vectors = {name: F.normalize(each.float(), dim=1) for name, each in vectors.items()}
        own = {name: [[i] for i in range(len(each))] for name, each in vectors.items()} | (events or {})
        self.items = {name: [Item(digest(name, i), e) for i, e in enumerate(own[name])] for name in vectors}
        count = 1 + max(event for each in own.values() for item in each for event in item)
        self.ids = [f"e{i}" for i in range(count)]
        self.groups = groups or [None] * count
        self.concepts = [None] * count
        self.attributes = attributes or {}
        self.left_out, self.bad = 0, []

    def batches(self, name: str, batch_size: int) -> Any:
        yield from ({"x": part} for part in self.vectors[name].split(batch_size))


def chain_ledger(names: list[str]) -> Ledger:
    """Each modality was trained with the next, on media that no pool holds."""
    ledger = Ledger.new(dict.fromkeys(names, "random"))
    for number, (a, b) in enumerate(itertools.pairwise(names)):
        digests = {name: [digest("training", 10 * number + side)] for side, name in enumerate((a, b))}
        ledger.record((a, b), "0" * 64, digests)
    return ledger
