"""What of a pool the weights have met in training, by content hash, and which of its events are clean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bindspace.modality import Cell

if TYPE_CHECKING:
    from bindspace.data.pool import Pool
    from bindspace.space import Space


class Overlap:
    """The pool against the ledger. Counts are None where the ledger is absent or unknown: nothing can be said then.

    Near-duplicates are not covered: one changed byte is another content.
    """

    def __init__(self, space: Space, pool: Pool) -> None:
        self.space, self.pool = space, pool
        ledger = space.ledger
        self.known = ledger is not None and ledger.unknown_reason is None
        self._seen: dict[str, np.ndarray] = {}
        if ledger is None or not self.known:
            return
        for name, items in pool.items.items():
            digests = np.frombuffer(b"".join(item.digest for item in items), np.uint8).reshape(-1, 32)
            self._seen[name] = ledger.seen(name, digests)
        self._groups = ledger.seen_groups(pool.groups)

    def counts(self, query: str, gallery: str) -> dict[str, int | None]:
        """Items of either side and of the pivot, and events by their group, that were in training."""
        if not self.known:
            return dict.fromkeys(("query", "gallery", "pivot", "group"))
        seen = {"query": query, "gallery": gallery, "pivot": self.space.pivot}
        counts: dict[str, int | None] = {
            side: int(self._seen[name].sum()) if name in self._seen else None for side, name in seen.items()
        }
        return {**counts, "group": int(self._groups.sum())}

    def clean_events(self, query: str, gallery: str) -> list[bool] | None:
        """Which events have neither media of the two sides or the pivot, nor a group, that was in training.

        Values do not count (short captions are alike without being copied): their number stands in `counts`.
        """
        if not self.known:
            return None
        clean = ~self._groups
        for name in {query, gallery, self.space.pivot} & set(self._seen):
            if self.space.configs[name].cell is Cell.path:
                touched = [
                    event for item, seen in zip(self.pool.items[name], self._seen[name]) if seen for event in item.event
                ]
                clean[touched] = False
        return clean.tolist()


def restrict(events: Sequence[Sequence[int]], keep: Sequence[bool]) -> tuple[list[int], list[list[int]]]:
    """Items that still have an event when only some are kept: their indices, and the events left to each."""
    left = [[event for event in each if keep[event]] for each in events]
    rows = [index for index, each in enumerate(left) if each]
    return rows, [left[index] for index in rows]
