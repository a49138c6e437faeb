"""A batch of one source, passed from the data layer to training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter

import torch
from torch import Tensor

from bindspace.contract import UserError


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
    pair: tuple[str, str] | None = None  # of the validation set: the pair that the batch is for

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
            self.rows,  # positions, which are looked up on the CPU
            move(self.digests),
            moved,
            move(self.vectors),
            self.bad,
            self.groups,
            self.seconds,
            self.pair,
        )


def batch_of(tensors: Mapping[str, Mapping[str, Tensor]], source: str = "tensors") -> Batch:
    """A batch of events that all hold the same modalities: by modality what `prepare` returned, rows in one order.

    An event is known by its content. Raises `UserError` for modalities with other numbers of rows.
    """
    digests = {name: _digests(prepared) for name, prepared in tensors.items()}
    counts = {name: len(found) for name, found in digests.items()}
    if len(set(counts.values())) != 1:
        shown = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise UserError(f"expected as many rows of each modality, since row i is event i, got {shown}")
    count = next(iter(counts.values()))
    joined = [hashlib.sha256(b"".join(digests[name][i].numpy().tobytes() for name in digests)) for i in range(count)]
    rows = {name: torch.arange(count) for name in tensors}
    inputs = {name: dict(prepared) for name, prepared in tensors.items()}
    return Batch(source, [each.hexdigest()[:16] for each in joined], rows, digests, inputs)


def _digests(prepared: Mapping[str, Tensor]) -> Tensor:
    """SHA-256 (n, 32) of each sample, over all tensors; the windows of one sample (`owner`) are hashed together."""
    owner = prepared.get("owner")
    arrays = [
        x.detach().cpu().reshape(len(x), -1).contiguous().view(torch.uint8).numpy()
        for key, x in prepared.items()
        if key != "owner"
    ]
    owners = range(len(arrays[0])) if owner is None else owner.tolist()
    found = [hashlib.sha256() for _ in range(max(owners, default=-1) + 1)]
    for i, at in enumerate(owners):
        for array in arrays:
            found[at].update(array[i].tobytes())
    joined = b"".join(each.digest() for each in found)
    return torch.frombuffer(bytearray(joined), dtype=torch.uint8).view(-1, 32)
