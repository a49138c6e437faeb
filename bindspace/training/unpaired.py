"""What the ledger is told of a term between a modality and landmarks of another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from bindspace.data import Batch
from bindspace.ledger import Ledger
from bindspace.training.ranks import gather_lists
from bindspace.training.references import Landmarks

SourceOf = Callable[[Batch], str]  # the SHA-256 of the manifest that a batch is from
NONE = np.empty((0, 32), np.uint8)


class UnpairedTerm:
    """Notes what has contributed gradient until the ledger is told. `learner`: the modality that gets it."""

    def __init__(self, learner: str, pivot: str, landmarks: Landmarks) -> None:
        self.learner, self.pivot, self.landmarks = learner, pivot, landmarks
        self._contributed: list[tuple[Batch, Tensor]] = []

    def note(self, batch: Batch, digests_n32: Tensor) -> None:
        """Rows of the learner have taken part, with these contents over all ranks."""
        self._contributed.append((batch, digests_n32))

    def record(self, ledger: Ledger, source: SourceOf) -> None:
        """The ledger's word, after `backward`. Collective."""
        marks, pair = self.landmarks, (self.learner, self.landmarks.name)
        for batch, digests in self._contributed:
            ledger.record(
                pair,
                source(batch),
                {self.learner: digests, marks.name: NONE},
                kind="unpaired",
                shaped_by=[self.pivot],
                groups=gather_lists(batch.groups_of(self.pivot, self.learner)),
            )
        if self._contributed:
            ledger.record_landmarks(pair, marks.name, marks.digests_M32, marks.sources, marks.groups)
        self._contributed.clear()
