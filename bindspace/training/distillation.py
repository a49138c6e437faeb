"""Terms of `teach`: a modality learns where its pivot stands among the vectors of another that it shares no event with.

They are `unpaired`. What correspondence they use is that of the learner's row with its pivot, which is on record as the
paired term of that pair; none of the learner with the landmarks is known to them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bindspace.contract import UserError
from bindspace.data import Batch, Manifest
from bindspace.losses import content_keys, info_nce, perplexity, placed, proxies, sampled
from bindspace.modules.heads import MetricHead
from bindspace.settings import Pair, Teach, TeachForm, TrainRun, check_stages, named, pair_name, teaches
from bindspace.training.metric import metric_heads, metric_learners
from bindspace.training.ranks import ProcessRanks, gather_counts, gather_rows
from bindspace.training.references import Landmarks, landmarks_of
from bindspace.training.session import Session
from bindspace.training.sides import Side
from bindspace.training.stages import Stage
from bindspace.training.unpaired import UnpairedTerm


class Teacher(UnpairedTerm):
    """One item of `teach`, with its landmarks.

    `metric`: the learner's head, where it learns one: proxies are met in it, and landmarks themselves in the space.
    """

    def __init__(self, teach: Teach, pivot: str, landmarks: Landmarks, metric: MetricHead | None = None) -> None:
        super().__init__(teach.of[0], pivot, landmarks)
        self.teach, self.metric = teach, metric
        self.name = f"{pair_name(teach.of[0], teach.of[1], pivot)}/{teach.form.name}"
        self._last: tuple[Tensor, Tensor] | None = None  # the last batch's loss and q, for `figures`

    def of(self, pair: Pair) -> bool:
        """Whether this is the pair by way of which it teaches."""
        return teaches(self.teach, pair, self.pivot)

    def loss(self, sides: Mapping[str, Side], batch: Batch, counts: list[int]) -> Tensor:
        """The weighted loss of this rank's rows of the pair; the mean over ranks is that of the whole batch.

        `counts`: how many rows each rank has. Collective.
        """
        anchor, learner = sides[self.pivot], sides[self.learner]
        device = learner.z_BD.device
        with torch.autocast(device.type, enabled=False):
            if self.metric is not None and self.teach.form is not TeachForm.proxy:
                learner = replace(learner, z_BD=F.normalize(self.metric.back(learner.z_BD), dim=1))
            landmarks_MD = self.landmarks.on(device)
            excluded_BM = self._excluded(anchor, batch, device)
            q_BM = placed(anchor.z_BD, landmarks_MD, self.teach.temperature, excluded_BM)
            loss = self._form(q_BM, landmarks_MD, anchor, learner, counts)
        if loss.requires_grad:
            self.note(batch, gather_rows(learner.digests_B32, counts))
        self._last = loss.detach(), q_BM
        return self.teach.weight * loss

    def _form(self, q_BM: Tensor, landmarks_MD: Tensor, anchor: Side, learner: Side, counts: list[int]) -> Tensor:
        temperature = self.teach.learner_temperature or self.teach.temperature
        keys: dict[str, Any] = {
            "keys_a": content_keys(learner.digests_B32),
            "keys_b": content_keys(anchor.digests_B32),
        }
        if self.teach.form is TeachForm.sample:
            aims_BD = sampled(q_BM, landmarks_MD)
        else:  # a stand-in for the pivot, which is met like it
            aims_BD = proxies(q_BM, landmarks_MD)
            aims_BD = aims_BD if self.metric is None else self.metric.met(aims_BD)
        ranks = ProcessRanks(counts) if len(counts) > 1 else None
        return info_nce(learner.z_BD, aims_BD, 1 / temperature, **keys, ranks=ranks)

    def _excluded(self, anchor: Side, batch: Batch, device: torch.device) -> Tensor | None:
        """Which landmarks are of the row's own event, if any are. Raises `UserError` where a row has no other."""
        events = _common(batch, self.pivot, self.learner)
        ids = [batch.ids[event] for event in events]
        groups = [batch.groups[event] if batch.groups else None for event in events]
        mask_BM = self.landmarks.excluded(ids, groups, anchor.digests_B32)
        if mask_BM is None:
            return None
        if bool((none := mask_BM.all(1)).any()):
            raise UserError(
                f"{named(self.teach)}: event {ids[int(none.nonzero()[0])]!r} has no landmark but its own:"
                " raise landmarks, or add events to the source that they come from"
            )
        return mask_BM.to(device)

    def figures(self, counts: list[int]) -> dict[str, float]:
        """What is logged of the last batch, over all ranks. Collective."""
        assert self._last is not None
        loss, q_BM = self._last
        share = len(q_BM) * len(counts) / sum(counts)
        spread = share * perplexity(q_BM) if len(q_BM) else torch.zeros_like(loss)
        taught, divided = gather_counts(torch.stack([loss, spread])).mean(0)
        return {f"train/{self.name}/taught": float(taught), f"train/{self.name}/perplexity": float(divided)}


def _common(batch: Batch, a: str, b: str) -> list[int]:
    """The events of a batch that hold both."""
    if a not in batch.rows or b not in batch.rows:
        return []
    rows: list[int] = batch.rows[a][torch.isin(batch.rows[a], batch.rows[b])].tolist()
    return rows


def check_teachers(run: TrainRun, stages: Sequence[Stage], train: Sequence[Manifest], still: Collection[str]) -> None:
    """Raises `UserError` where a stage cannot teach what is asked, or no source holds landmarks.

    `still`: the modalities of a space that is extended, which have learned before.
    """
    known = {name for name, config in run.modality.items() if config.weights is not None} | set(still)
    bound: list[tuple[str, str, str]] = []
    if (other := run.loss.hubs.of) is not None:
        for stage in stages:
            heads = metric_learners(run.modality, stage.pairs, run.pivot, stage.freeze)
            bound += [("loss.hubs", name, other) for name in heads if name != other]
    for shown, learner, other in [*((named(teach), *teach.of) for teach in run.teach), *bound]:
        check_stages(shown, learner, other, run.pivot, stages, known)
        if not any(each.uses(other) and each.uses(run.pivot) for each in train):
            raise UserError(
                f"{shown}: landmarks come from sources of {run.pivot} and {other}, and no source in data.train holds "
                "both: add one, or leave this out"
            )


def teachers_of(session: Session, stage: Stage) -> list[Teacher]:
    """The teachers of a stage, with landmarks from the training sources of the run."""
    pivot, metrics = session.run.pivot, metric_heads(session.space, stage.pairs, stage.freeze)
    return [
        Teacher(teach, pivot, landmarks_of(session, teach.of[1], teach.landmarks), metrics.get(teach.of[0]))
        for teach in session.run.teach
        if any(teaches(teach, pair, pivot) for pair in stage.pairs)
    ]
