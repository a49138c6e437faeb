"""The schedule: stages resolved against the pairs and sources of a run, and the learning rate within one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from bindspace.contract import UserError, unknown
from bindspace.settings import Pair, StageSettings, pair_name


@dataclass
class Stage:
    """A stage as it will be run: its pairs, what stands still, the sources it reads by index, and its steps."""

    name: str
    pairs: list[Pair]
    freeze: list[str]
    sources: list[int]
    steps: int
    lr: float
    batch: int | None = None  # in the place of data.batch

    @property
    def members(self) -> set[str]:
        """The modalities of its pairs."""
        return {name for pair in self.pairs for name in pair.of}


def warmup_cosine(steps: int, warmup: float) -> Callable[[int], float]:
    """The factor on the learning rate: linear over the first share of the steps, then half a cosine to zero."""
    first = max(1, round(steps * warmup))

    def factor(step: int) -> float:
        if step < first:
            return (step + 1) / first
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - first) / max(1, steps - first))))

    return factor


def resolve(
    stages: Sequence[StageSettings],
    pairs: Sequence[Pair],
    pivot: str,
    holds: Sequence[set[str]],
    weights: Sequence[float],
    still: Collection[str] = (),
) -> list[Stage]:
    """The stages of a run. `holds[i]`: the modalities that source i offers; `weights[i]`: its weight.

    `still`: modalities that stand still in every stage. A pair is left out, with a warning, of a stage in which both of
    its sides do.

    A stage's `steps` count for a source of weight 1: the stage has steps x the sum of its sources' weights, so that a
    pair gets its steps however many others are trained beside it. A stage of which no pair is listed is left out.
    Raises `UserError` for a pair that no stage trains or no source holds.
    """
    by_name = {pair_name(pair.of[0], pair.of[1], pivot): pair for pair in pairs}
    for name, pair in by_name.items():
        if not any(set(pair.of) <= held for held in holds):
            raise UserError(
                f"no source in data.train holds both sides of the pair {name}: add one with the columns "
                f"{pair.of[0]} and {pair.of[1]}, or leave the pair out with pairs=..."
            )
    resolved: list[Stage] = []
    trained: set[str] = set()
    used: set[str] = set()
    for stage in stages:
        chosen = _chosen(stage, by_name, used, pivot)
        if not chosen:
            continue
        members = {member for name in chosen for member in by_name[name].of}
        freeze = sorted({*_frozen(stage, members, trained), *(members & set(still))})
        chosen = _moving(stage, chosen, by_name, {*freeze, *still})
        read = [i for i, held in enumerate(holds) if any(set(by_name[name].of) <= held for name in chosen)]
        steps = round(stage.steps * sum(weights[i] for i in read))
        kept = [by_name[name] for name in chosen]
        resolved.append(Stage(stage.name, kept, freeze, read, steps, stage.lr, stage.batch))
        trained |= members - set(freeze)
        used |= set(chosen)
    if missing := [name for name in by_name if name not in used]:
        raise UserError(f"no stage trains {', '.join(missing)}: let one have pairs: [rest]")
    return resolved


def _moving(stage: StageSettings, chosen: list[str], by_name: dict[str, Pair], still: set[str]) -> list[str]:
    """Those of the chosen pairs of which a tower moves."""
    idle = [name for name in chosen if set(by_name[name].of) <= still]
    if len(idle) == len(chosen):
        raise UserError(
            f"in stage {stage.name!r} both towers of {', '.join(idle)} stand still: nothing is left to train"
        )
    for name in idle:
        warnings.warn(f"in stage {stage.name!r} both towers of {name} stand still: the pair is left out", stacklevel=3)
    return [name for name in chosen if name not in idle]


def _chosen(stage: StageSettings, by_name: dict[str, Pair], used: set[str], pivot: str) -> list[str]:
    """Names of the listed pairs that a stage trains, in the order of the list."""
    asked: set[str] = set()
    for item in stage.pairs:
        if item in ("all", "rest"):
            asked |= {name for name in by_name if item == "all" or name not in used}
        elif item.count("-") == 1:
            first, second = item.split("-")
            asked.add(pair_name(first, second, pivot))
        else:
            raise UserError(unknown(f"pair of stage {stage.name!r}", item, [*by_name, "all", "rest"]))
    return [name for name in by_name if name in asked]


def _frozen(stage: StageSettings, members: set[str], trained: set[str]) -> list[str]:
    """Modalities of the stage's pairs that stand still: those named, and with `done` those already trained."""
    names = {name for name in stage.freeze if name != "done"}
    return sorted(members & (names | (trained if "done" in stage.freeze else set())))
