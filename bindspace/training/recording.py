"""Between the module and the ledger: what terms took until the optimiser steps, and what no term accounts for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bindspace.data import Batch
from bindspace.ledger.observer import Observed, Observer, Reached, StepRecord, Taken, names_of, note, observed, watched
from bindspace.space import Space
from bindspace.training.ranks import gather_lists
from bindspace.training.terms.listing import Listed


class Recording:
    """Notes what the terms of a module took, and keeps it on record once the optimiser has stepped.

    A tower that is called by somebody else (your own `training_step`, `module.space(...)`) is paired with all
    that the batch holds, if gradient that is not zero reached it.
    """

    def __init__(self, space: Space, listed: Sequence[Listed]) -> None:
        self.space = space
        self.sources: dict[str, str] = {}  # manifest path -> its SHA-256
        self.observers = {each.key: Observer(each.names) for each in listed}
        self._terms: list[tuple[Listed, Taken]] = []
        self._batches: list[Batch] = []
        self._others: Reached = {}
        self._inside = 0
        self._owned: Reached = {}
        self._listed = list(listed)
        self._hooks: list[Any] = []

    def watch(self) -> None:
        """A fit begins: calls of towers and terms from outside are observed from here on."""
        for each in self._listed:
            for parameter in each.term.parameters():
                if parameter.requires_grad:
                    self._hooks.append(parameter.register_hook(partial(self._owner, each.key)))
        for name, tower in self.space.towers.items():
            self._hooks.append(tower.register_forward_hook(partial(self._called, name)))

    def unwatch(self) -> None:
        """The fit has ended."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self.discard()

    def source_of(self, batch: Batch) -> str:
        """The SHA-256 of a batch's manifest, or what stands for it."""
        return self.sources.get(batch.source, batch.source)

    def begin(self, batch: Batch) -> None:
        """A batch is about to be trained on."""
        self._batches.append(batch)

    def note(self, listed: Listed, taken: Taken, batch: Batch) -> None:
        """A term has taken its rows of a batch."""
        taken.owned = self._owned.setdefault(listed.key, [])
        self._terms.append((listed, taken))

    @contextmanager
    def accounted(self) -> Iterator[None]:
        """Within the block towers are called for the terms."""
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def unaccounted(self, name: str, z: Tensor) -> Tensor:
        """The tensor, of which a gradient that is not zero goes on record as no term's."""
        return watched(z, name, self._others)

    def discard(self) -> None:
        """A step was skipped: nothing of it goes on record."""
        self._terms, self._batches, self._others, self._owned = [], [], {}, {}

    def commit(self) -> None:
        """The optimiser has stepped. Collective."""
        assert self.space.ledger is not None
        own = [observed(self.observers[listed.key], taken) for listed, taken in self._terms]
        others = names_of(self._others)
        ranks: list[tuple[list[Observed], set[str]]] = gather_lists([(own, others)])
        step = StepRecord(self._trainable)
        for number, (_, taken) in enumerate(self._terms):
            references = list({each.name: each for each in taken.references}.values())
            step.add([seen[number] for seen, _ in ranks], references)
        step.write(self.space.ledger, self.space.pivot)
        found = set().union(*(names for _, names in ranks))
        self._record_others(found | self._silent(step.reached | found))
        self.discard()

    def _trainable(self, name: str) -> bool:
        return any(parameter.requires_grad for parameter in self.space.towers[name].parameters())

    def _silent(self, known: set[str]) -> set[str]:
        """Towers with a gradient that neither a term nor a call of the tower accounts for."""
        return {
            name
            for name, tower in self.space.towers.items()
            if name not in known and any(p.grad is not None and bool(p.grad.any()) for p in tower.parameters())
        }

    def _record_others(self, names: set[str]) -> None:
        """Each of these is paired with all that the batches of the step hold. The media are those of this rank."""
        assert self.space.ledger is not None
        for batch in self._batches if names else ():
            media = {name: digests.cpu().numpy() for name, digests in batch.digests.items()}
            for name in sorted(names & media.keys()):
                for other in sorted(media.keys() - {name}):
                    if other in names and other < name:
                        continue  # the pair is on record from the other side
                    extra: dict[str, Any] = {"groups": batch.groups_of(name, other), "gradient": names}
                    digests: dict[str, np.ndarray] = {name: media[name], other: media[other]}
                    self.space.ledger.record((name, other), self.source_of(batch), digests, **extra)

    def _owner(self, key: str, gradient: Tensor) -> None:
        note(key, self._owned, gradient)

    def _called(self, name: str, tower: nn.Module, args: Any, output: Any) -> Any:
        if self._inside or not torch.is_grad_enabled() or not isinstance(output, Tensor):
            return None
        return self.unaccounted(name, output)
