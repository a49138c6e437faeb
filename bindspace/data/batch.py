"""A batch of one source, passed from the data layer to training."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

import torch
from torch import Tensor


@dataclass
class BadRow:
    """A cell that `read` refused: which source (manifest path), event and modality, and the reason."""

    source: str
    id: str
    modality: str
    reason: str


@dataclass
class Batch:
    """One batch of B events from one source; modalities may be missing from some events.

    `rows[name]` (n,) int64 says which of the B events hold that modality, ascending; `digests[name]` (n, 32) uint8 is
    the SHA-256 of each one's content and fragment. A modality is either in `inputs[name]`, the result of `prepare` for
    its n samples, or in `vectors[name]` (n, dim), cached unit vectors of a frozen tower.
    """

    source: str
    ids: list[str]
    rows: dict[str, Tensor]
    digests: dict[str, Tensor]
    inputs: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    vectors: dict[str, Tensor] = field(default_factory=dict)
    bad: list[BadRow] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)  # by event, for the ledger
    seconds: dict[str, float] = field(default_factory=dict)  # spent by `read` and `prepare` on this batch, by part

    def spend(self, part: str, since: float) -> None:
        """Adds the time since `then`, a `perf_counter()`, to the seconds of a part."""
        self.seconds[part] = self.seconds.get(part, 0.0) + perf_counter() - since

    def groups_of(self, a: str, b: str) -> list[str]:
        """The groups of those events that hold both modalities."""
        if not self.groups or a not in self.rows or b not in self.rows:
            return []
        both = self.rows[a][torch.isin(self.rows[a], self.rows[b])].tolist()
        return [group for event in both if (group := self.groups[event]) is not None]

    def to(self, device: torch.device, *, inputs: bool = True) -> Batch:
        """The same batch with its tensors on `device`; `inputs` False: without the inputs to encode."""
        move = lambda tensors: {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}  # noqa: E731
        moved = {name: move(batch) for name, batch in self.inputs.items()} if inputs else self.inputs
        return Batch(
            self.source,
            self.ids,
            move(self.rows),
            move(self.digests),
            moved,
            move(self.vectors),
            self.bad,
            self.groups,
            self.seconds,
        )
