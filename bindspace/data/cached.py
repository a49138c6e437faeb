"""What a batch looks up of a tower that stands still."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor


class Store(Protocol):
    """Where vectors lie, e.g. a `VectorCache`."""

    def take(self, rows: np.ndarray) -> Tensor:
        """The vectors (n, dim) float32 of these numbers; NaN for -1."""
        ...


@dataclass
class CachedVectors:
    """The vectors of one column's cells, left where they are stored.

    `rows` (cells,): numbers in the store; -1: there is none. `digests` (cells, 32): of the contents that the vectors
    were computed from; zeros where a cell could not be had.
    """

    store: Store
    rows: np.ndarray
    digests: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def look_up(self, cells: np.ndarray) -> Tensor:
        """The vectors (n, dim) of these cells; NaN where there is none."""
        return self.store.take(self.rows[cells])
