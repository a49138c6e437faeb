"""Heads that learn a metric with their pair: which of a stage do, and what they need."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from bindspace.contract import Head, ModalityConfig, UserError
from bindspace.modules.heads import MetricHead
from bindspace.settings import Pair, TrainRun
from bindspace.space import Space
from bindspace.training.stages import Stage


def metric_learners(
    configs: Mapping[str, ModalityConfig], pairs: Iterable[Pair], pivot: str, still: Collection[str]
) -> list[str]:
    """The modalities of these pairs that move and have a head `metric`.

    Raises `UserError` for one whose other side is no pivot that stands still: there is no space to bring it back to.
    """
    found = [(name, pair) for pair in pairs for name in pair.of if configs[name].head is Head.metric]
    learners = [(name, pair) for name, pair in found if name not in still]
    for name, pair in learners:
        if pivot not in pair.of or pivot not in still:
            raise UserError(
                f"modality.{name}.head=metric: {name} learns to meet a pivot that stands still, and in the pair "
                f"{'-'.join(pair.of)} none does: bind it in a later stage that freezes {pivot} (schedule=pivot_first), "
                f"or choose modality.{name}.head=linear"
            )
    return [name for name, _ in learners]


def metric_heads(space: Space, pairs: Iterable[Pair], still: Collection[str]) -> dict[str, MetricHead]:
    """The heads of the modalities that learn a metric in these pairs."""
    heads = {name: space.towers[name].head for name in metric_learners(space.configs, pairs, space.pivot, still)}
    return {name: head for name, head in heads.items() if isinstance(head, MetricHead)}


def check_metric(run: TrainRun, stages: Iterable[Stage]) -> None:
    """Raises `UserError` where a stage trains a metric without a pivot that stands still."""
    for stage in stages:
        metric_learners(run.modality, stage.pairs, run.pivot, stage.freeze)
