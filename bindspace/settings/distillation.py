"""Whether what `teach` and `loss.hubs` ask for makes sense: in a run, and in its stages.

Standard library only.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from bindspace.contract import Head, UserError, unknown
from bindspace.settings.run import Pair, Teach, TrainRun


class Stands(Protocol):
    """What is asked of a stage that is to be run."""

    name: str
    pairs: list[Pair]
    freeze: list[str]

    @property
    def members(self) -> set[str]:
        """The modalities of its pairs."""
        ...


def check_teach(run: TrainRun, pairs: Collection[Pair]) -> None:
    """Raises `UserError` for an item of `teach` that names what it cannot, or has a value out of range."""
    seen: set[tuple[str, ...]] = set()
    for teach in run.teach:
        shown = named(teach)
        _check_sides(shown, teach, run)
        _check_values(shown, teach)
        if (item := (*teach.of, teach.form.name)) in seen:
            raise UserError(f"{shown} is listed twice with the form {teach.form.name}: keep one of the two")
        seen.add(item)
        if not any(teaches(teach, pair, run.pivot) and pair.weight for pair in pairs):
            raise UserError(
                f"{shown}: {teach.of[0]} learns by way of its pair with the pivot, and {run.pivot}-{teach.of[0]} is "
                "not trained: list that pair with a weight above 0, or leave teach out"
            )


def check_hubs(run: TrainRun) -> None:
    """Raises `UserError` for hubs of a modality that has none, or a weight or landmarks out of range.

    Says where no head learns a metric.
    """
    hubs = run.loss.hubs
    if hubs.of is None:
        return
    _check_landmarks("loss.hubs", hubs.of, hubs.landmarks, run)
    if not 0 < hubs.weight <= 1:
        raise UserError(f"loss.hubs.weight: expected more than 0 and at most 1, got {hubs.weight}")
    if not any(config.head is Head.metric for name, config in run.modality.items() if name != hubs.of):
        warnings.warn(
            f"loss.hubs.of={hubs.of} has no effect: no head learns a metric (modality.NAME.head=metric)", stacklevel=2
        )


def _check_landmarks(where: str, of: str, landmarks: int, run: TrainRun) -> None:
    if of not in run.modality:
        raise UserError(unknown(f"modality in {where}.of", of, run.modality))
    if of == run.pivot:
        raise UserError(f"{where}.of={of}: it is the pivot itself: name another modality")
    if landmarks < 0 or landmarks == 1:
        raise UserError(f"{where}.landmarks: expected 2 or more, or 0 for all, got {landmarks}")


def _check_sides(shown: str, teach: Teach, run: TrainRun) -> None:
    if len(teach.of) != 2 or teach.of[0] == teach.of[1]:
        raise UserError(f"{shown}: expected two different modalities, got {len(set(teach.of))}: write {{of: [A,B]}}")
    for name in teach.of:
        if name not in run.modality:
            raise UserError(
                unknown(f"modality in {shown}", name, run.modality, hint=f"select it with +modality={name}")
            )
    if run.pivot in teach.of:
        raise UserError(
            f"{shown}: {run.pivot} is the pivot, by way of which others are taught: name two others, first the one "
            "that learns"
        )


def _check_values(shown: str, teach: Teach) -> None:
    above = {"weight": teach.weight, "temperature": teach.temperature, "learner_temperature": teach.learner_temperature}
    for name, value in above.items():
        if value is not None and not value > 0:
            raise UserError(f"{shown}: expected {name} to be more than 0, got {value}")
    if teach.landmarks < 0 or teach.landmarks == 1:
        raise UserError(f"{shown}: expected 2 landmarks or more, or 0 for all, got {teach.landmarks}")


def landmark_modalities(run: TrainRun) -> list[str]:
    """Modalities whose training cells a run reads as landmarks, whether it trains a pair of theirs or not."""
    names = [teach.of[1] for teach in run.teach if len(teach.of) == 2]
    asked = [run.loss.hubs.of] if run.loss.hubs.of else []
    return list(dict.fromkeys([*names, *asked]))


def named(teach: Teach) -> str:
    """How an item is told to people."""
    return f"teach {'-'.join(map(str, teach.of))!r}"


def teaches(teach: Teach, pair: Pair, pivot: str) -> bool:
    """Whether the pair is the one by way of which `teach` works: that of its learner with the pivot."""
    return set(pair.of) == {pivot, teach.of[0]}


def check_stages(
    shown: str, learner: str, other: str, pivot: str, stages: Sequence[Stands], known: Collection[str]
) -> None:
    """Raises `UserError` where the learner's pair with the pivot is trained while the pivot or the other one moves, or
    before these two have learned anything. `shown`: the setting that asks for it. `known`: what learned before the run.
    """
    learned = set(known)
    for stage in stages:
        moved = stage.members - set(stage.freeze)
        if any(set(pair.of) == {pivot, learner} for pair in stage.pairs):
            _check_stage(shown, (pivot, other), stage.name, moved, learned)
        learned |= moved


def _check_stage(shown: str, names: Iterable[str], stage: str, moved: set[str], learned: set[str]) -> None:
    for name in names:
        if name in moved:
            raise UserError(
                f"{shown}: {name} is trained in stage {stage!r} as well, and what teaches has to stand still: freeze it"
                " there (schedule=pivot_first does), or leave this out"
            )
        if name not in learned:
            raise UserError(
                f"{shown}: before stage {stage!r} {name} has learned nothing that it could teach: train it in an "
                "earlier stage, or leave this out"
            )
