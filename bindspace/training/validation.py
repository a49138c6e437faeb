"""Validation: recall of pairs both ways over the validation set, from the vectors of all ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bindspace.data import Batch
from bindspace.metrics import match, ranks, recall

K = (1, 5, 10)


@dataclass
class Validated:
    """Embeddings of one pair: by side the vectors, and of each its content and its event."""

    vectors: dict[str, list[Tensor]] = field(default_factory=dict)
    contents: dict[str, list[bytes]] = field(default_factory=dict)
    events: dict[str, list[str]] = field(default_factory=dict)

    def add(self, batch: Batch, z: Mapping[str, Tensor]) -> None:
        """Adds a batch: vectors (n, D) of each side, in the order of `batch.rows`."""
        for name, vectors in z.items():
            self.vectors.setdefault(name, []).append(vectors.float().cpu())
            rows = batch.digests[name].cpu().numpy()
            self.contents.setdefault(name, []).extend(row.tobytes() for row in rows)
            places = batch.rows[name].tolist()
            self.events.setdefault(name, []).extend(f"{batch.source}\n{batch.ids[place]}" for place in places)


def recalls(parts: Sequence[Validated], a: str, b: str) -> dict[str, float]:
    """`r1`, `r5`, `r10` of a pair in 0..1, the mean of both directions, over what all ranks have embedded.

    Each distinct content is one item, and correct for every event that holds it; events without one side are left out.
    """
    both = {event for part in parts for event in part.events.get(a, [])}
    both &= {event for part in parts for event in part.events.get(b, [])}
    number = {event: place for place, event in enumerate(sorted(both))}
    if not number:
        return {}
    z, events = zip(*(_items(parts, name, number) for name in (a, b)))
    found = [ranks(z[q], z[g], match(events[q], events[g])) for q, g in ((0, 1), (1, 0))]
    return {f"r{k}": sum(recall(rank, k) for rank in found) / 2 for k in K}


def _items(parts: Sequence[Validated], name: str, number: Mapping[str, int]) -> tuple[Tensor, list[list[int]]]:
    """The vectors of the distinct contents of one side, and by item the events that hold it."""
    vectors = torch.cat([each for part in parts for each in part.vectors.get(name, [])])
    contents = [each for part in parts for each in part.contents.get(name, [])]
    held = [each for part in parts for each in part.events.get(name, [])]
    places: dict[bytes, int] = {}
    chosen, events = list[int](), list[list[int]]()
    for row, (content, event) in enumerate(zip(contents, held, strict=True)):
        if event in number:
            if content not in places:
                places[content] = len(chosen)
                chosen.append(row)
                events.append([])
            events[places[content]].append(number[event])
    return vectors[chosen], events
