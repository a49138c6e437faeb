"""The order of sources and events: pure functions of seed and position, so that any step can be computed without the
steps before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BLOCK = 64
_SOURCES, _EVENTS, _SEEDS = range(3)  # distinct random streams of one seed


def source_schedule(weights: Sequence[float], steps: int, seed: int) -> np.ndarray:
    """The source of each step (steps,) int64, in exact proportion: every count is within 1 of its share of the steps.

    The steps are assigned by Tijdeman's algorithm (The chairman assignment problem, 1980), which keeps every prefix in
    proportion, and then shuffled within blocks, so that sources are not periodic. A longer schedule starts like a
    shorter one, up to the last block.
    """
    shares = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    order = np.zeros(steps, dtype=np.int64)
    if len(shares) == 1:
        return order
    slack = 1 / (2 * len(shares) - 2)
    due = np.zeros(len(shares))
    active = shares > 0
    for step in range(steps):
        due += shares
        ready = active & (due >= slack - 1e-9)
        late = np.where(ready, (1 - slack - due) / np.where(active, shares, 1), np.inf)
        order[step] = np.argmin(late)
        due[order[step]] -= 1
    for block, start in enumerate(range(0, steps, BLOCK)):
        np.random.default_rng([seed, _SOURCES, block]).shuffle(order[start : start + BLOCK])
    return order


def event_seeds(seed: int, step: int, count: int) -> np.ndarray:
    """A seed for each event of a step's global batch (count,) int64, not negative."""
    return np.random.default_rng([seed, _SEEDS, step]).integers(0, 2**63 - 1, size=count)


def pick(seeds: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The alternative of each event to read (n,): by seed alone, so that lists of equal length have the same choice."""
    mixed = seeds.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed >> np.uint64(33)) % counts.astype(np.uint64)).astype(np.int64)


class EventOrder:
    """Endless epochs over `count` events: successive permutations, cut into batches without a repeated event.

    If a batch spans two epochs, the second epoch starts with events that are not among the last of the first.
    """

    def __init__(self, count: int, batch: int, seed: int, source: int) -> None:
        assert count > 0
        self.count = count
        self.batch = min(batch, count)
        self._stream = [seed, _EVENTS, source]
        self._epochs: dict[int, np.ndarray] = {}

    def __getitem__(self, index: int) -> np.ndarray:
        """The events of the source's batch number `index` (batch,)."""
        epoch, start = divmod(index * self.batch, self.count)
        events = self._epoch(epoch)[start : start + self.batch]
        if len(events) == self.batch:
            return events
        return np.concatenate([events, self._epoch(epoch + 1)[: self.batch - len(events)]])

    def _epoch(self, epoch: int) -> np.ndarray:
        if epoch not in self._epochs:
            first = epoch - 1
            if self.count < 2 * self.batch:  # a short epoch's end depends on its start: go back to an aligned one
                while first > 0 and self._carried(first) and first not in self._epochs:
                    first -= 1
            before = self._epochs.get(first, self._raw(first)) if first >= 0 else None
            for number in range(first + 1, epoch + 1):
                before = self._after(before, number)
            assert before is not None
            self._epochs = {number: order for number, order in self._epochs.items() if number == epoch - 1}
            self._epochs[epoch] = before
        return self._epochs[epoch]

    def _carried(self, epoch: int) -> int:
        """How many events of this epoch's first batch are from the previous epoch."""
        return epoch * self.count % self.batch

    def _after(self, before: np.ndarray | None, epoch: int) -> np.ndarray:
        order, carried = self._raw(epoch), self._carried(epoch)
        if before is None or not carried:
            return order
        taken = np.zeros(self.count, dtype=bool)
        taken[before[-carried:]] = True
        head = np.flatnonzero(~taken[order])[: self.batch - carried]
        return np.concatenate([order[head], np.delete(order, head)])

    def _raw(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([*self._stream, epoch]).permutation(self.count)
