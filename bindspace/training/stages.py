"""The schedule: stages resolved against the pairs and sources of a run, and the learning rate within one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from bindspace.contract import TermConfig, UserError, unknown
from bindspace.settings import Pair, StageSettings, pair_name


@dataclass
class Stage:
    """A stage as it is run: its pairs and further terms, what is frozen, the sources it reads by index, its steps."""

    name: str
    pairs: list[Pair]
    freeze: list[str]
    sources: list[int]
    steps: int
    lr: float
    batch: int | None = None  # overrides data.batch
    terms: list[TermConfig] = field(default_factory=list)
    pivot: str = ""

    @property
    def members(self) -> set[str]:
        """The modalities of its pairs and terms."""
        paired = {name for pair in self.pairs for name in pair.of}
        return paired | {name for term in self.terms for name in term.takes(self.pivot)}


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
    frozen: Collection[str] = (),
    terms: Sequence[TermConfig] = (),
) -> list[Stage]:
    """The stages of a run. `holds[i]`: the modalities that source i offers; `weights[i]`: its weight.

    `frozen`: modalities that are frozen in every stage. `terms`: further terms of the loss. A pair is left out, with a
    warning, of a stage in which both of its sides are frozen.

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
        own = [term for term in terms if _has(stage, term, members, pivot)]
        members |= {name for term in own for name in term.takes(pivot)}
        freeze = sorted({*_frozen(stage, members, trained), *(members & set(frozen))})
        chosen = _trainable(stage, chosen, by_name, {*freeze, *frozen})
        read = [i for i, held in enumerate(holds) if any(set(by_name[name].of) <= held for name in chosen)]
        read = sorted({*read, *(i for i, held in enumerate(holds) if any(_reads(term, held, pivot) for term in own))})
        steps = round(stage.steps * sum(weights[i] for i in read))
        kept = [by_name[name] for name in chosen]
        resolved.append(Stage(stage.name, kept, freeze, read, steps, stage.lr, stage.batch, own, pivot))
        trained |= members - set(freeze)
        used |= set(chosen)
    if missing := [name for name in by_name if name not in used]:
        raise UserError(f"no stage trains {', '.join(missing)}: let one have pairs: [rest]")
    return resolved


def _has(stage: StageSettings, term: TermConfig, members: Collection[str], pivot: str) -> bool:
    """Whether a stage has a further term: as it says, or where all of its modalities are in the stage's pairs."""
    return stage.name in term.stages if term.stages is not None else set(term.takes(pivot)) <= set(members)


def _reads(term: TermConfig, held: Collection[str], pivot: str) -> bool:
    """Whether a source that holds these modalities has rows for a term."""
    return len(set(term.takes(pivot)) & set(held)) >= term.needed()


def check_sources_of(terms: Sequence[TermConfig], holds: Sequence[set[str]], pivot: str) -> None:
    """Raises `UserError` for a further term that no source has rows for."""
    for term in terms:
        if not any(_reads(term, held, pivot) for held in holds):
            names = ", ".join(term.takes(pivot))
            raise UserError(
                f"no source in data.train holds {term.needed()} of {names}, which a term of {'-'.join(term.of)} needs: "
                "add one with these columns, or leave the term out"
            )


def check_teachers(
    shown: str, student: str, teachers: Sequence[str], pivot: str, stages: Sequence[Stage], known: Collection[str]
) -> None:
    """Raises `UserError` where the student's pair with the pivot is trained while a teacher is, or before one is.

    `shown`: the setting that asks for it. `known`: modalities that are trained before the run.
    """
    pretrained = set(known)
    for stage in stages:
        trained = stage.members - set(stage.freeze)
        if any(set(pair.of) == {pivot, student} for pair in stage.pairs):
            _check_stage(shown, teachers, stage.name, trained, pretrained)
        pretrained |= trained


def _check_stage(shown: str, names: Sequence[str], stage: str, trained: set[str], pretrained: set[str]) -> None:
    for name in names:
        if name in trained:
            raise UserError(
                f"{shown}: {name} is trained in stage {stage!r} as well, and a teacher has to be frozen: freeze it "
                "there (schedule=pivot_first does), or leave this out"
            )
        if name not in pretrained:
            raise UserError(
                f"{shown}: {name} is untrained before stage {stage!r}, and a teacher has to be trained: train it in an "
                "earlier stage, or leave this out"
            )


def _trainable(stage: StageSettings, chosen: list[str], by_name: dict[str, Pair], frozen: set[str]) -> list[str]:
    """Those of the chosen pairs of which a tower is trainable."""
    untrained = [name for name in chosen if set(by_name[name].of) <= frozen]
    if len(untrained) == len(chosen):
        raise UserError(
            f"in stage {stage.name!r} both towers of {', '.join(untrained)} are frozen: nothing is left to train"
        )
    for name in untrained:
        warnings.warn(f"in stage {stage.name!r} both towers of {name} are frozen: the pair is left out", stacklevel=3)
    return [name for name in chosen if name not in untrained]


def _chosen(stage: StageSettings, by_name: dict[str, Pair], used: set[str], pivot: str) -> list[str]:
    """Names of the listed pairs that a stage trains, in the order of the list."""
    listed: set[str] = set()
    for item in stage.pairs:
        if item in ("all", "rest"):
            listed |= {name for name in by_name if item == "all" or name not in used}
        elif item.count("-") == 1:
            first, second = item.split("-")
            listed.add(pair_name(first, second, pivot))
        else:
            raise UserError(unknown(f"pair of stage {stage.name!r}", item, [*by_name, "all", "rest"]))
    return [name for name in by_name if name in listed]


def _frozen(stage: StageSettings, members: set[str], trained: set[str]) -> list[str]:
    """Modalities of the stage that are frozen: those named, and with `done` those already trained."""
    names = {name for name in stage.freeze if name != "done"}
    return sorted(members & (names | (trained if "done" in stage.freeze else set())))
