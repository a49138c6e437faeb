"""A step as terms see it: vectors of events, with a record of what each term takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from bindspace.contract import PluginError, UserError, unknown
from bindspace.data import Batch
from bindspace.ledger.observer import EventKeys, Taken
from bindspace.losses import content_keys
from bindspace.space import Space
from bindspace.training.ranks import ProcessRanks, gather_counts, gather_rows, world_size
from bindspace.training.references import References


@dataclass
class Rows:
    """Rows of one modality on this rank: unit vectors (n, D), and by row content key, id and group of the event.

    `counts`: how many rows each rank has of the same call.
    """

    z: Tensor
    counts: list[int]
    _keys: Tensor = field(repr=False)
    _positions: np.ndarray = field(repr=False)
    _batch: Batch = field(repr=False)

    def __len__(self) -> int:
        return len(self.z)

    @property
    def keys(self) -> Tensor:
        """int64 (n,): rows with equal keys hold the same content."""
        return self._keys

    @property
    def ids(self) -> list[str]:
        """The ids of the events."""
        return [self._batch.ids[position] for position in self._positions.tolist()]

    @property
    def groups(self) -> list[str | None]:
        """Their groups."""
        groups = self._batch.groups
        return [groups[position] if groups else None for position in self._positions.tolist()]


class Step:
    """One batch, encoded, with which rank holds what. `names`: all modalities that some term may take, in order.

    Made once a step on every rank: the only collective behind the calls of terms.
    """

    def __init__(self, batch: Batch, z: Mapping[str, Tensor], space: Space, names: Sequence[str]) -> None:
        self.batch, self.z, self.space, self.names = batch, z, space, list(names)
        self.device = space.device
        self.rows = {name: batch.rows[name].cpu().numpy() for name in self.names if name in batch.rows and name in z}
        self.held = np.zeros((len(batch.ids), len(self.names)), dtype=bool)
        for column, name in enumerate(self.names):
            if name in self.rows:
                self.held[self.rows[name], column] = True
        self.held_by_rank = _gathered(self.held, self.device)
        self._common: dict[tuple[str, ...], np.ndarray] = {}

    def columns(self, names: Iterable[str]) -> list[int]:
        """Where the names stand in `held`."""
        return [self.names.index(name) for name in names]

    def counts(self, names: Sequence[str]) -> list[int]:
        """By rank, how many events hold all of these names."""
        columns = self.columns(names)
        return [int(held[:, columns].all(1).sum()) for held in self.held_by_rank]

    def meets(self, names: Sequence[str], needed: int) -> bool:
        """Whether some rank has an event that holds so many of these names."""
        columns = self.columns(names)
        return any(bool((held[:, columns].sum(1) >= needed).any()) for held in self.held_by_rank)

    def common(self, names: Sequence[str]) -> np.ndarray:
        """Positions of this rank's events that hold all of these names, ascending."""
        key = tuple(sorted(names))
        if key not in self._common:
            self._common[key] = np.flatnonzero(self.held[:, self.columns(key)].all(1))
        return self._common[key]

    def taken_of(self, name: str, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        """Vectors and content keys of a modality at these events. All of them are shared, not copied."""
        if name not in self.rows:
            width = self.space.training_dim(name)
            empty = torch.zeros(0, width, device=self.device, requires_grad=True)
            return empty, torch.zeros(0, dtype=torch.int64, device=self.device)
        z, keys = self.z[name], self.keys[name]
        if len(positions) == len(self.rows[name]):
            return z, keys
        chosen = torch.from_numpy(np.searchsorted(self.rows[name], positions)).to(z.device)
        return z[chosen], keys[chosen.to(keys.device)]

    @cached_property
    def keys(self) -> dict[str, Tensor]:
        """Content keys by modality, int64."""
        return {name: content_keys(self.batch.digests[name]) for name in self.rows}

    @cached_property
    def media(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """By modality the digests (n, 32), and the events that they are of."""
        return {name: (self.batch.digests[name].cpu().numpy(), rows) for name, rows in self.rows.items()}

    @cached_property
    def events(self) -> EventKeys:
        """The identity of the events."""
        return EventKeys(self.batch.ids, self.batch.groups, self.media.get(self.space.pivot))

    @cached_property
    def owners(self) -> np.ndarray:
        """Hashes of what makes an event the same as one of the global batch; collective, once a step."""
        own = References.owners(self.batch.ids, self.batch.groups, self.media.get(self.space.pivot))
        counts = [3 * len(held) for held in self.held_by_rank]
        padded = torch.from_numpy(np.resize(own, 3 * len(self.batch.ids)) if len(own) else own).to(self.device)
        return gather_rows(padded, counts).cpu().numpy() if world_size() > 1 else own


class TermBatch:
    """What one term gets of a step. No call is a collective, so that a term may call whichever it needs.

    `logging`: whether `figures` is called after this step.
    """

    def __init__(
        self, step: Step, names: Sequence[str], references: Mapping[str, References], source: str, logging: bool
    ) -> None:
        self._step, self._names, self._references, self.logging = step, list(names), references, logging
        self.taken = Taken(step.events, source, step.media)
        self.device = step.device
        self.ids = step.batch.ids

    def aligned(self, *names: str) -> dict[str, Rows]:
        """Rows of the events of this rank that hold all of these modalities, in one order. Two names or more."""
        for name in names:
            self._check(name, self._names)
        if len(set(names)) < 2:
            raise PluginError(f"aligned: expected two different modalities or more, got {', '.join(names) or 'none'}")
        positions, counts = self._step.common(names), self._step.counts(names)
        found = {}
        for name in names:
            z, keys = self._step.taken_of(name, positions)
            self.taken.aligned.setdefault(name, set()).update(positions.tolist())
            found[name] = Rows(self.taken.watch(name, z), counts, keys, positions, self._step.batch)
        return found

    def alone(self, name: str) -> Tensor:
        """Rows (n, D) of one modality, of events that hold no other of the term's, nor share a group or a pivot's
        content with one that does."""
        self._check(name, self._names)
        others = [other for other in self._names if other != name]
        held, columns = self._step.held, self._step.columns(others)
        single = held[:, self._step.columns([name])[0]] & ~held[:, columns].any(1)
        events = self._step.events
        known = events.keys(np.flatnonzero(held[:, columns].any(1)).tolist())
        positions = [at for at in np.flatnonzero(single).tolist() if not events.keys([at]) & known]
        self.taken.alone.setdefault(name, set()).update(positions)
        return self.taken.watch(name, self._step.taken_of(name, np.array(positions, np.int64))[0])

    def reference(self, name: str, count: int = 0) -> Tensor:
        """Vectors (count, D) of a frozen tower, of training events that are not in the global batch, nor share a group
        or the pivot's content with one that is. `count` 0: all of them."""
        self._check(name, self._references)
        references = self._references[name]
        kept = references.disjoint_from(self._step.owners, count)
        self.taken.references.append(references.as_recorded)
        return references.on(self.device)[torch.from_numpy(kept).to(self.device)]

    def ranks(self, rows: Rows) -> ProcessRanks | None:
        """The ranks that share these rows, as the losses use them; None in a single process."""
        return ProcessRanks(rows.counts) if len(rows.counts) > 1 else None

    def logit_scale(self, a: str, b: str) -> Tensor:
        """1 / temperature of a pair of the space: a scalar tensor."""
        return self._step.space.logit_scale(a, b)

    def logit_bias(self, a: str, b: str) -> Tensor:
        """The bias of a pair of the space, 0 where it has none: a scalar tensor."""
        return self._step.space.logit_bias(a, b)

    @staticmethod
    def _check(name: str, known: Iterable[str]) -> None:
        if name not in known:
            raise UserError(unknown("modality of this term", name, known, hint="list it in `of`"))


def _gathered(held: np.ndarray, device: torch.device) -> list[np.ndarray]:
    """What each rank's events hold."""
    if world_size() == 1:
        return [held]
    counts = gather_counts(torch.tensor([len(held)], device=device))[:, 0].tolist()
    rows = gather_rows(torch.from_numpy(held.astype(np.uint8)).to(device), counts).cpu().numpy().astype(bool)
    return np.split(rows, np.cumsum(counts)[:-1])
