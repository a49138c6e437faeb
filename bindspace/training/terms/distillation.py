"""Distillation through the pivot: its similarities to vectors of another modality are the student's target."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from bindspace.contract import UserError
from bindspace.losses import info_nce, perplexity, placed, proxies, sampled
from bindspace.modules.heads import MetricHead
from bindspace.training.terms import DistillationConfig, Target
from bindspace.training.terms.batch import TermBatch
from bindspace.training.terms.term import Term, TermContext


class Distillation(Term):
    """InfoNCE of the student's rows with targets: reference vectors, weighted by the similarities of their pivot.

    The rows are aligned with the pivot alone: nothing is known of which reference vector belongs to which row, and none
    of an event of the batch is among them.
    """

    config: DistillationConfig

    def __init__(self, config: DistillationConfig, context: TermContext) -> None:
        super().__init__()
        self.config, self.pivot, self.student = config, context.pivot, config.of[0]
        for name in (context.pivot, config.of[1]):
            if name not in context.frozen:
                raise UserError(
                    f"distillation {'-'.join(config.of)!r}: {name} is trained in the same stage, and a teacher has "
                    "to be frozen: freeze it there (schedule=pivot_first does), or leave the term out"
                )
        head = context.head(self.student)
        self._heads = [head] if isinstance(head, MetricHead) else []  # in a list: it belongs to the space
        self._last: tuple[Tensor, Tensor] | None = None

    def forward(self, batch: TermBatch) -> Tensor:
        """Exact over all ranks."""
        rows = batch.aligned(self.pivot, self.student)
        pivot, student = rows[self.pivot], rows[self.student]
        reference_MD = batch.reference(self.config.of[1], self.config.count)
        q_BM = placed(pivot.z, reference_MD, self.config.temperature)
        z_BD = student.z
        if self.config.target is Target.sample:
            target_BD = sampled(q_BM, reference_MD)
            for head in self._heads:  # a vector of the space, compared there
                z_BD = F.normalize(head.back(z_BD), dim=1)
        else:  # a proxy of the pivot, compared like it
            target_BD = proxies(q_BM, reference_MD)
            for head in self._heads:
                target_BD = head.met(target_BD)
        temperature = self.config.student_temperature or self.config.temperature
        keys, ranks = (student.keys, pivot.keys), batch.ranks(student)
        loss = info_nce(z_BD, target_BD, 1 / temperature, keys_a=keys[0], keys_b=keys[1], ranks=ranks)
        self._last = loss.detach(), q_BM
        return loss

    def figures(self) -> dict[str, float]:
        """The loss, and the mean perplexity of a row's weights over the reference vectors."""
        assert self._last is not None
        loss, q_BM = self._last
        return {"loss": float(loss), "perplexity": float(perplexity(q_BM)) if len(q_BM) else 1.0}
