"""The terms of a run's loss: one for each pair, and those that are listed beside them. Standard library only."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from bindspace.contract import TermConfig, UserError, registry, unknown
from bindspace.settings.codec import from_primitives, to_primitives
from bindspace.settings.run import Pair, TrainRun

USE = "use"  # names the plugin in settings that are written down


def to_named(config: Any, group: str) -> dict[str, Any]:
    """A plugin's settings as JSON values, with the name of the plugin under `use`."""
    return {USE: registry.implementation(type(config), group), **to_primitives(config)}


def from_named(values: Any, group: str, where: str) -> Any:
    """The settings that `to_named` wrote, or that a user wrote so. Raises `UserError`."""
    if not isinstance(values, Mapping) or not isinstance(values.get(USE), str):
        kind = registry.KINDS[group]
        raise UserError(f"{where}: expected the name of a {kind} and its settings, write {{use: NAME, setting: value}}")
    settings = {key: value for key, value in values.items() if key != USE}
    return from_primitives(registry.load(values[USE], group), settings, where, trusted=True)


def pair_term(pair: Pair, loss: TermConfig) -> TermConfig:
    """The term of one pair: the run's `loss`, or that which the pair names, with the pair's own settings.

    Raises `UserError` for a setting that the term does not have.
    """
    base = loss if pair.loss is None else registry.load(pair.loss, registry.TERMS)()
    own = {"temperature": pair.temperature, "learned": pair.learned}
    given = {name: value for name, value in own.items() if value is not None}
    known = {item.name for item in fields(base)}
    for name in given:
        if name not in known:
            shown = "-".join(pair.of)
            raise UserError(f"pair {shown!r}: its loss has no setting {name!r}: leave it out, or choose another loss")
    return replace(base, of=list(pair.of), weight=pair.weight, **given)


def check_terms(run: TrainRun, pairs: Sequence[Pair]) -> None:
    """Raises `UserError` for a loss or a further term that does not fit the run."""
    run.loss.check(run)
    for pair in pairs:
        _check(pair_term(pair, run.loss), run, f"pair {'-'.join(pair.of)!r}")
    for number, term in enumerate(run.terms):
        shown = f"terms.{number} ({registry.implementation(type(term), registry.TERMS)})"
        _check(term, run, shown)
        term.check(run)
        for name in term.stages or []:
            if name not in (stages := [stage.name for stage in run.stages]):
                raise UserError(unknown(f"stage in {shown}", name, stages))


def _check(term: TermConfig, run: TrainRun, shown: str) -> None:
    least, most = term.arity
    if len(set(term.of)) != len(term.of) or len(term.of) < least or (most is not None and len(term.of) > most):
        wanted = f"{least} modalities" if least == most else f"{least} modalities or more"
        raise UserError(
            f"{shown}: expected {wanted}, each once, got {', '.join(term.of) or 'none'}: write of: [A,B,...]"
        )
    for name in {*term.of, *term.takes(run.pivot), *term.references()}:
        if name not in run.modality:
            hint = f"select it with +modality={name}"
            raise UserError(unknown(f"modality in {shown}", name, run.modality, hint=hint))
    if term.weight < 0:
        raise UserError(f"{shown}: expected a weight of 0 or more, got {term.weight}")


def referenced(run: TrainRun) -> list[str]:
    """Modalities whose training cells a run reads as reference vectors, whether it trains a pair of theirs or not."""
    named = [name for term in run.terms for name in term.references()]
    named += [name for config in run.callbacks.values() for name in getattr(config, "references", dict)()]
    return list(dict.fromkeys(named))


def members_of(terms: Iterable[TermConfig], pivot: str) -> set[str]:
    """The modalities that some term takes aligned rows of."""
    return {name for term in terms for name in term.takes(pivot)}


def reads(terms: Collection[TermConfig], pivot: str) -> list[tuple[list[str], int]]:
    """What the data of a stage is read for: names, and how many of them an event has to hold."""
    return [(term.takes(pivot), term.needed() if term.takes(pivot) == term.of else 2) for term in terms]
