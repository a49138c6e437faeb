"""Which pairs a run trains: those it lists, or the star round the pivot. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from bindspace.contract import ModalityConfig, UserError, unknown
from bindspace.settings.run import Pair, TrainRun

METRIC = re.compile(r"val/(?P<a>\w+)-(?P<b>\w+)/(?P<k>r(1|5|10))")


def pair_name(a: str, b: str, pivot: str) -> str:
    """The one name of an unordered pair: the pivot stands first, others by alphabet."""
    first, second = sorted((a, b), key=lambda name: (name != pivot, name))
    return f"{first}-{second}"


def resolve_pairs(run: TrainRun) -> list[Pair]:
    """The pairs of a run: `run.pairs`, or the star round the pivot with each modality's `bind` settings.

    Raises `UserError` for fewer than two modalities, a pivot or a side that is not selected, and a pair listed twice.
    """
    names = list(run.modality)
    if len(names) < 2:
        raise UserError(
            f"expected two modalities or more, got {', '.join(names) or 'none'}: choose some, e.g. '+modality=NAME' or "
            "'modality=[A,B]' (`bindspace plugins` lists what is installed)"
        )
    if run.pivot not in names:
        hint = "choose one of them with pivot=NAME, or select it in 'modality=[...]'"
        raise UserError(unknown("pivot", run.pivot, names, hint=hint))
    if run.pairs is None:
        return star(run, [name for name in names if name != run.pivot])
    if not run.pairs:
        raise UserError(
            "pairs is empty, so there is nothing to train: list some, or pairs=null for the star round the pivot"
        )
    check_pairs(run.pairs, names)
    return list(run.pairs)


def star(run: TrainRun, names: Iterable[str]) -> list[Pair]:
    """The pairs of these modalities with the pivot, with their `bind` settings."""
    pairs = [_bound(run, name) for name in names]
    check_pairs(pairs, list(run.modality))
    return pairs


def check_pairs(pairs: Collection[Pair], names: Collection[str]) -> None:
    """Raises `UserError` for a pair that is not of two of these modalities, is out of range, or is listed twice."""
    for pair in pairs:
        _check(pair, names)
    _check_distinct(pairs)


def frozen(configs: Mapping[str, ModalityConfig]) -> set[str]:
    """Modalities whose `tune` freezes the whole tower from the first step to the last."""
    return {name for name, config in configs.items() if config.tune.freeze and not config.tune.unfreeze_last}


def trainable_pairs(pairs: Collection[Pair], frozen_names: Collection[str]) -> list[Pair]:
    """The pairs of which a tower is trainable. Raises `UserError` where there is none."""
    found = [pair for pair in pairs if not set(pair.of) <= set(frozen_names)]
    if not found:
        names = ", ".join("-".join(pair.of) for pair in pairs)
        raise UserError(f"both towers of every pair are frozen ({names}): nothing is left to train; unfreeze one")
    return found


def unpaired(run: TrainRun, pairs: Collection[Pair]) -> list[str]:
    """Selected modalities that are in no pair: they are built, but not trained."""
    paired = {name for pair in pairs for name in pair.of}
    return [name for name in run.modality if name not in paired]


def check_validation(run: TrainRun, pairs: Collection[Pair]) -> None:
    """Raises `UserError` for a pair that cannot be measured, and a metric that should not choose the weights."""
    for name in run.trainer.val_pairs:
        sides = str(name).split("-")
        for side in sides:
            if side not in run.modality:
                raise UserError(unknown(f"modality in trainer.val_pairs {name!r}", side, run.modality))
        if len(sides) != 2 or sides[0] == sides[1]:
            raise UserError(f"trainer.val_pairs: expected two modalities joined by -, like A-B, got {name!r}")
    if run.trainer.keep_best is None:
        return
    trained = ["-".join(pair.of) for pair in pairs]
    if (found := METRIC.fullmatch(run.trainer.keep_best)) is None:
        raise UserError(
            f"trainer.keep_best: expected val/PAIR/r1, r5 or r10, got {run.trainer.keep_best!r}: "
            f"write e.g. val/{trained[0]}/r10"
        )
    sides = [found["a"], found["b"]]
    if any(set(pair.of) == set(sides) for pair in pairs):
        return
    name = "-".join(sides)
    if not run.trainer.keep_best_untrained:
        raise UserError(
            f"trainer.keep_best={run.trainer.keep_best}: this run does not train {name}, and weights selected by "
            f"its metric are no evidence for it: choose a pair that is trained ({', '.join(trained)}), or set "
            "trainer.keep_best_untrained=true, which the ledger records"
        )
    if set(sides) not in [set(str(other).split("-")) for other in run.trainer.val_pairs]:
        raise UserError(f"trainer.keep_best={run.trainer.keep_best} is not measured: add trainer.val_pairs=[{name}]")


def _bound(run: TrainRun, name: str) -> Pair:
    bind = run.modality[name].bind
    return Pair([run.pivot, name], bind.weight, bind.temperature, bind.learned, bind.loss)


def _check(pair: Pair, names: Collection[str]) -> None:
    shown = f"pair {'-'.join(map(str, pair.of))!r}"
    for name in pair.of:
        if name not in names:
            raise UserError(unknown(f"modality in {shown}", name, names, hint=f"select it with +modality={name}"))
    if len(pair.of) != 2 or pair.of[0] == pair.of[1]:
        raise UserError(f"{shown}: expected two different modalities, got {len(set(pair.of))}: write {{of: [A,B]}}")
    if pair.weight < 0:
        raise UserError(f"{shown}: expected a weight of 0 or more, got {pair.weight}")
    if pair.temperature is not None and pair.temperature <= 0:
        raise UserError(f"{shown}: expected a temperature above 0, got {pair.temperature}")


def _check_distinct(pairs: Collection[Pair]) -> None:
    seen: set[frozenset[str]] = set()
    for pair in pairs:
        if frozenset(pair.of) in seen:
            raise UserError(
                f"pair {'-'.join(pair.of)!r} is listed twice: keep one of the two (a pair has no direction)"
            )
        seen.add(frozenset(pair.of))
