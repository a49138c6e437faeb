"""The part of the space that the vectors of one modality, the landmarks, can reach, for others to bind to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from bindspace.losses.subspace import principal, projected
from bindspace.settings import Pair, TrainRun
from bindspace.training.landmarks import Landmarks, landmarks_of

if TYPE_CHECKING:
    from bindspace.training.run import Session
    from bindspace.training.schedule import Phase


class SharedPart:
    """The subspace of so many dimensions that is nearest to the landmarks. Whoever is no landmark binds to it."""

    def __init__(self, pivot: str, landmarks: Landmarks, dim: int) -> None:
        self.pivot, self.landmarks = pivot, landmarks
        self.basis_DK = principal(landmarks.z_MD, dim)

    def learner(self, pair: Pair) -> str | None:
        """The modality that binds to the part in this pair; None: none does."""
        return learner_of(pair, self.pivot, self.landmarks.name)

    def project(self, z_BD: Tensor) -> Tensor:
        """The vectors' part in it, normalised."""
        self.basis_DK = self.basis_DK.to(z_BD.device)
        return projected(z_BD, self.basis_DK)


def learner_of(pair: Pair, pivot: str, landmarks: str | None) -> str | None:
    """The other side of a pair of the pivot, unless that gives the landmarks; None where there is none."""
    if landmarks is None or pivot not in pair.of or landmarks in pair.of:
        return None
    return pair.of[1] if pair.of[0] == pivot else pair.of[0]


def learners(run: TrainRun, phases: Sequence[Phase]) -> list[str]:
    """The modalities that bind to the part in some phase."""
    found = [learner_of(pair, run.pivot, run.loss.subspace.of) for phase in phases for pair in phase.pairs]
    return [name for name in dict.fromkeys(found) if name is not None]


def part_of(session: Session, phase: Phase) -> SharedPart | None:
    """The part that others bind to in a phase; None where none does."""
    subspace = session.run.loss.subspace
    if subspace.of is None or not learners(session.run, [phase]):
        return None
    return SharedPart(session.run.pivot, landmarks_of(session, subspace.of, subspace.landmarks), subspace.dim)
