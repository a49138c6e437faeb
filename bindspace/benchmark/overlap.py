"""Overlap of a pool with training, by content hash and near-duplicates, and the events without overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bindspace.contract import Cell

if TYPE_CHECKING:
    from bindspace.benchmark.near_duplicates import Resemblance
    from bindspace.data import Pool
    from bindspace.space import Space


class Overlap:
    """The pool compared with the ledger. Counts are None where the ledger is absent or unknown.

    For the ledger, one changed byte makes another content. `near`: near-duplicates from `find_near`, which needs no
    ledger; None: not searched for.
    """

    def __init__(self, space: Space, pool: Pool, near: Mapping[str, Resemblance] | None = None) -> None:
        self.space, self.pool, self.near = space, pool, near
        ledger = space.ledger
        self.known = ledger is not None and ledger.unknown_reason is None
        self._seen: dict[str, np.ndarray] = {}
        if ledger is None or not self.known:
            return
        for name, items in pool.items.items():
            digests = np.frombuffer(b"".join(item.digest for item in items), np.uint8).reshape(-1, 32)
            self._seen[name] = ledger.seen(name, digests)
        self._groups = ledger.seen_groups(pool.groups)

    def counts(self, query: str, gallery: str) -> dict[str, Any]:
        """Counts of items of either side and of the pivot, and of events by their group, that were seen in training.

        If near-duplicates were searched for, `near` holds their counts, copies included.
        """
        names = {"query": query, "gallery": gallery, "pivot": self.space.pivot}
        counts: dict[str, Any] = {side: _total(self._seen.get(name)) for side, name in names.items()}
        counts["group"] = _total(self._groups) if self.known else None
        if self.near is not None:
            near = {name: found.near for name, found in self.near.items()}
            counts["near"] = {side: _total(near.get(name)) for side, name in names.items()}
        return counts

    def clean_events(self, query: str, gallery: str) -> list[bool] | None:
        """The events without overlap: neither media of the two sides or the pivot nor the group was seen in training.

        Near-duplicates count as seen. Values do not (short captions may coincide): `counts` has their number. None
        if overlap is unknown: no ledger, and near-duplicates were not searched for.
        """
        if not self.known and self.near is None:
            return None
        clean = ~self._groups if self.known else np.ones(len(self.pool.ids), bool)
        near = {name: found.near for name, found in (self.near or {}).items()}
        for name in {query, gallery, self.space.pivot} & set(self.pool.items):
            if self.space.configs[name].cell is Cell.path:
                for touched in (self._seen.get(name), near.get(name)):
                    clean[self._events(name, touched)] = False
        return clean.tolist()

    def _events(self, name: str, touched: np.ndarray | None) -> list[int]:
        """The events of the marked items."""
        if touched is None:
            return []
        return [event for item, mark in zip(self.pool.items[name], touched) if mark for event in item.event]


def _total(marks: np.ndarray | None) -> int | None:
    return None if marks is None else int(marks.sum())


def restrict(events: Sequence[Sequence[int]], keep: Sequence[bool]) -> tuple[list[int], list[list[int]]]:
    """The items that keep an event if only some events are kept: their indices, and the remaining events of each."""
    left = [[event for event in each if keep[event]] for each in events]
    rows = [index for index, each in enumerate(left) if each]
    return rows, [left[index] for index in rows]
