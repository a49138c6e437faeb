"""Contrastive terms of two modalities: InfoNCE, SigLIP, and InfoNCE in a learned metric."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from bindspace.contract import UserError
from bindspace.losses import hit_rate, info_nce, mean_negatives, siglip
from bindspace.modules.heads import MetricHead
from bindspace.training.hardware import loss_products
from bindspace.training.ranks import gather_rows
from bindspace.training.terms import InfoNceConfig, SiglipConfig
from bindspace.training.terms.batch import Rows, TermBatch
from bindspace.training.terms.term import Term, TermContext

WATCHED = 1024  # rows


class InfoNce(Term):
    """`bindspace.losses.info_nce` of one pair, with the temperature that the space has for it."""

    config: InfoNceConfig
    learns_metric: ClassVar[bool] = False

    def __init__(self, config: InfoNceConfig, context: TermContext) -> None:
        super().__init__()
        self.config, (self.a, self.b) = config, config.of
        for name in config.of:
            if name not in context.frozen and isinstance(context.head(name), MetricHead) and not self.learns_metric:
                raise UserError(f"modality.{name}: head=metric needs bind.loss=learned_metric: set both, or neither")
        minimum, bias = config.min_temperature, getattr(config, "bias", None)
        context.temperature(self.a, self.b, config.temperature, config.learned, minimum, bias)
        self._metrics: dict[str, float] = {}

    def forward(self, batch: TermBatch) -> Tensor:
        """Exact over all ranks, computed in tiles where that is faster."""
        rows = batch.aligned(self.a, self.b)
        a, b = rows[self.a], rows[self.b]
        z_a, z_b = self.sides(a, b)
        scale = batch.logit_scale(self.a, self.b)
        options: dict[str, Any] = {
            "products": loss_products(self.config.precision, batch.device),
            "ranks": batch.ranks(a),
        }
        if self.config.mask_duplicates:
            options |= {"keys_a": a.keys, "keys_b": b.keys}
        loss = self.loss(batch, z_a, z_b, scale, options)
        if batch.logging:
            self._metrics = self._measured(loss, scale, z_a, z_b, a, b)
        return loss

    def sides(self, a: Rows, b: Rows) -> tuple[Tensor, Tensor]:
        """The vectors (n, D) that are compared."""
        return a.z, b.z

    def loss(self, batch: TermBatch, z_a: Tensor, z_b: Tensor, scale: Tensor, options: dict[str, Any]) -> Tensor:
        """The scalar."""
        return info_nce(z_a, z_b, scale, **options)

    def figures(self) -> dict[str, float]:
        """Loss, temperature, accuracy of the first rows as queries, modality gap, mean number of negatives."""
        return self._metrics

    @torch.no_grad()
    def _measured(self, loss: Tensor, scale: Tensor, z_a: Tensor, z_b: Tensor, a: Rows, b: Rows) -> dict[str, float]:
        """Of the global batch: the same on all ranks."""
        z_a, z_b = (gather_rows(z.detach(), a.counts) for z in (z_a, z_b))
        keys_a, keys_b = (gather_rows(side.keys, a.counts) for side in (a, b))
        masked = self.config.mask_duplicates
        return {
            "loss": float(loss),
            "temperature": float(1 / scale),
            "accuracy": float(hit_rate(z_a[:WATCHED], z_b) + hit_rate(z_b[:WATCHED], z_a)) / 2,
            "gap": float((z_a.mean(0) - z_b.mean(0)).norm()),
            "negatives": mean_negatives(keys_a, keys_b) if masked else len(z_a) - 1,
        }


class Siglip(InfoNce):
    """`bindspace.losses.siglip` of one pair, with the temperature and the bias that the space has for it."""

    config: SiglipConfig

    def loss(self, batch: TermBatch, z_a: Tensor, z_b: Tensor, scale: Tensor, options: dict[str, Any]) -> Tensor:
        """The scalar."""
        return siglip(z_a, z_b, scale, batch.logit_bias(self.a, self.b), **options)


class LearnedMetric(InfoNce):
    """InfoNCE of a modality whose head is a `MetricHead` with a frozen pivot, as that head maps it."""

    learns_metric = True

    def __init__(self, config: InfoNceConfig, context: TermContext) -> None:
        heads = {name: context.head(name) for name in config.of if name not in context.frozen}
        found = {name: head for name, head in heads.items() if isinstance(head, MetricHead)}
        if len(found) != 1 or context.pivot not in config.of or context.pivot not in context.frozen:
            name = next(iter(found), config.of[-1])
            raise UserError(
                f"modality.{name}: bind.loss=learned_metric needs head=metric and a frozen pivot in the pair "
                f"{'-'.join(config.of)}: freeze {context.pivot} in that stage (schedule=pivot_first does), or leave "
                "both out"
            )
        super().__init__(config, context)
        self._heads, self.pivot = list(found.values()), context.pivot  # in a list: they belong to the space

    def sides(self, a: Rows, b: Rows) -> tuple[Tensor, Tensor]:
        """The student's unit vectors (n, K), and the pivot's as the head maps them."""
        head = self._heads[0]
        assert isinstance(head, MetricHead)
        if self.a == self.pivot:
            return head.met(a.z), b.z
        return a.z, head.met(b.z)
