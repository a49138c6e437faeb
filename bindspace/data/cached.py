"""Cached vectors of a frozen tower, as a batch looks them up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor


class Store(Protocol):
    """A store of vectors, e.g. a `VectorCache`."""

    def take(self, rows: np.ndarray) -> Tensor:
        """The vectors (n, dim) float32 with these numbers; NaN for -1."""
        ...


@dataclass
class CachedVectors:
    """The vectors of one column's cells, read from the store on demand.

    `rows` (cells,): numbers in the store; -1: none. `digests` (cells, 32): of the contents that the vectors were
    computed from; zeros for a cell that could not be read.
    """

    store: Store
    rows: np.ndarray
    digests: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def look_up(self, cells: np.ndarray) -> Tensor:
        """The vectors (n, dim) of these cells; NaN without a vector."""
        return self.store.take(self.rows[cells])
