"""A space before its first step: its temperatures and its ledger."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from bindspace.contract import TermConfig
from bindspace.ledger import Ledger
from bindspace.space import Space


def add_temperatures(space: Space, terms: Iterable[TermConfig]) -> None:
    """Gives each pair of a term that has one its temperature, unless it has one already: in every stage the same."""
    for term in terms:
        if len(term.of) == 2 and (temperature := getattr(term, "temperature", None)) is not None:
            learned, minimum = getattr(term, "learned", False), getattr(term, "min_temperature", 0.01)
            space.add_temperature(term.of[0], term.of[1], temperature, learned, minimum, getattr(term, "bias", None))


def new_ledger(space: Space) -> Ledger:
    """The ledger of a space before its first step: a tower is random, or pretrained, declared or unknown."""
    declared = {name: config.declares() for name, config in space.configs.items() if config.weights is not None}
    origins = {
        name: "random" if name not in declared else "weights" if declared[name] is None else "declared"
        for name in space.configs
    }
    ledger = Ledger.new(origins)
    for a, b in combinations(declared, 2):
        data = (declared[a] or {}).get(b)
        if data is not None and data == (declared[b] or {}).get(a):
            ledger.declare((a, b), data)
    return ledger
