"""What a pivot that stands still can do for the losses of its pairs: masks, soft targets, noise, a part of itself.

Masks, targets and noise are functions of the pivot's own vectors: no other column of an event is asked. The shared part
is that which the vectors of one modality can reach, so it is an unpaired term of each of the others with it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from bindspace.data.batch import Batch
from bindspace.errors import UserError
from bindspace.heads import MetricHead
from bindspace.losses.contrastive import PAYS
from bindspace.losses.plain import not_negative
from bindspace.losses.soft import jittered, near, soft_targets
from bindspace.settings import LossKind, LossSettings, Pair, Precision, TrainRun
from bindspace.training.subspace import SharedPart
from bindspace.training.unpaired import UnpairedTerm

if TYPE_CHECKING:
    from bindspace.training.module import Side
    from bindspace.training.schedule import Phase


class Shaping:
    """What a loss asks of the pivot, for the pairs of a stage. `anchored`: whether the pivot stands still.

    `metrics`: by modality, the heads that learn one with the pivot.
    """

    def __init__(self, loss: LossSettings, pivot: str, anchored: bool, metrics: Mapping[str, MetricHead]) -> None:
        self.loss, self.pivot, self.anchored, self.metrics = loss, pivot, anchored, metrics
        self.part: SharedPart | None = None  # that others bind to
        self.terms: dict[str, UnpairedTerm] = {}  # by modality that binds to it

    def _of(self, pair: Pair) -> bool:
        return self.anchored and self.pivot in pair.of

    def shaped_by(self, pair: Pair) -> list[str]:
        """The columns that shape masks or targets of the pair: the pivot, or none."""
        return [self.pivot] if self._of(pair) and shapes(self.loss) else []

    def asked(self, pair: Pair, a: Side, b: Side, keys: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the pair's loss is asked beside the rows: mask and targets. `keys`: of equal content, or none.

        The mask holds the rows of equal content too.
        """
        if not self.shaped_by(pair):
            return {}
        anchor_BD, found = (a if pair.of[0] == self.pivot else b).z_BD, {}
        left_out = not_negative(keys["keys_a"], keys["keys_b"]) if keys else None
        if self.loss.mask_above is not None:
            near_BB = near(anchor_BD, self.loss.mask_above)
            found["near_BB"] = left_out = near_BB if left_out is None else left_out | near_BB
        if self.loss.soft.weight:
            soft = self.loss.soft
            found["soft_BB"] = soft_targets(anchor_BD, soft.weight, soft.temperature, left_out)
        return found

    def moved(self, pair: Pair, a: Side, b: Side) -> tuple[Side, Side]:
        """Both sides; the pivot's within the shared part, with noise and as a metric has it, where these are asked for.

        Random numbers are those of the step.
        """
        if not self._of(pair):
            return a, b
        first, second = (
            replace(side, z_BD=self._moved(pair, side.z_BD)) if name == self.pivot else side
            for name, side in zip(pair.of, (a, b), strict=True)
        )
        return first, second

    def _moved(self, pair: Pair, z_BD: Tensor) -> Tensor:
        if self.part is not None and self.part.learner(pair) is not None:
            z_BD = self.part.project(z_BD)
        if self.loss.noise:
            z_BD = jittered(z_BD, self.loss.noise)
        metric = next((self.metrics[name] for name in pair.of if name in self.metrics), None)
        return z_BD if metric is None else metric.met(z_BD)

    def note(self, pair: Pair, batch: Batch, digests: Mapping[str, Tensor]) -> None:
        """A pair has contributed gradient, with these contents of each side over all ranks."""
        learner = None if self.part is None else self.part.learner(pair)
        if self.part is not None and learner is not None:
            term = self.terms.setdefault(learner, UnpairedTerm(learner, self.pivot, self.part.landmarks))
            term.note(batch, digests[learner])


def shapes(loss: LossSettings) -> bool:
    """Whether the pivot shapes masks or targets."""
    return loss.mask_above is not None or loss.soft.weight > 0


def check_shaping(run: TrainRun, phases: Iterable[Phase]) -> None:
    """Raises `UserError` where a loss cannot be shaped; says where the settings have no effect."""
    loss = run.loss
    if not shapes(loss) and not loss.noise:
        return
    anchored = [phase for phase in phases if run.pivot in phase.freeze and run.pivot in phase.members]
    if not anchored:
        warnings.warn(
            "loss.soft, loss.mask_above and loss.noise have no effect: they need a pivot that stands still, and none "
            "does in any stage (schedule=pivot_first has one)",
            stacklevel=3,
        )
    if not shapes(loss):
        return
    if loss.soft.weight and loss.kind is not LossKind.info_nce:
        raise UserError(f"loss.soft: the targets of {loss.kind.name} are no distribution: choose loss=learned")
    if loss.bank:
        raise UserError(
            f"loss.bank={loss.bank}: loss.soft and loss.mask_above know the pivots of the batch, not those of past "
            "rows: leave one of them out"
        )
    of_stages = [phase.batch or run.data.batch for phase in anchored] or [run.data.batch]
    batch = max([*of_stages, *(source.batch or 0 for source in run.data.train)])
    ranks = run.trainer.devices * run.trainer.nodes
    if batch >= PAYS or ranks > 1 or loss.precision is not Precision.float32:
        raise UserError(
            f"loss.soft and loss.mask_above need the whole matrix of similarities, on one device in float32 and with "
            f"fewer than {PAYS} rows: got {ranks} ranks, {loss.precision.name} and a batch of {batch}: set "
            "trainer.devices, loss.precision and data.batch, or leave them out"
        )
