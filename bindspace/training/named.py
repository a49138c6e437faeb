"""Callbacks that come with bindspace: their settings. Standard library and the contract only, as for terms."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bindspace.contract import CallbackConfig, Head, UserError, unknown

if TYPE_CHECKING:
    from lightning import Callback

    from bindspace.training.session import CallbackContext


@dataclass(kw_only=True)
class HubnessConfig(CallbackConfig):
    """Hubness correction of heads that learn a metric, by vectors of another modality (decision 25)."""

    of: str = "???"  # the modality of the reference vectors, which is frozen
    weight: float = 0.65  # the score, as a cosine of training, of a relevant reference vector
    count: int = 4096  # reference vectors, drawn by the seed; 0: all

    def references(self) -> dict[str, int]:
        """The reference vectors that it needs."""
        return {self.of: self.count}

    def check(self, run: Any) -> None:
        """Raises `UserError` for a modality that has no such vectors, or a value out of range."""
        if self.of not in run.modality:
            raise UserError(unknown("modality in callbacks.hubness.of", self.of, run.modality))
        if self.of == run.pivot:
            raise UserError(f"callbacks.hubness.of={self.of}: it is the pivot itself: name another modality")
        if self.count < 0 or self.count == 1:
            raise UserError(f"callbacks.hubness.count: expected 2 or more, or 0 for all, got {self.count}")
        if not 0 < self.weight <= 1:
            raise UserError(f"callbacks.hubness.weight: expected more than 0 and at most 1, got {self.weight}")
        if not any(config.head is Head.metric for name, config in run.modality.items() if name != self.of):
            hint = "no head learns a metric (modality.NAME.head=metric)"
            warnings.warn(f"callbacks.hubness has no effect: {hint}", stacklevel=2)

    def build(self, context: CallbackContext) -> Callback | None:
        """For a stage in which a head learns a metric."""
        from bindspace.modules.heads import MetricHead
        from bindspace.training.hubness import Hubness

        heads = {name: context.space.towers[name].head for name in context.trained if name != self.of}
        learned = {name: head for name, head in heads.items() if isinstance(head, MetricHead)}
        if not learned:
            return None
        references = context.references(self.of, self.count)
        return Hubness(context.run.pivot, references, learned, self.weight)
