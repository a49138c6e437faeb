"""How a space stands before its first step: its temperatures, and what its ledger can say by then."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from bindspace.ledger import Ledger
from bindspace.settings import LossKind, LossSettings, Pair
from bindspace.space import Space


def add_temperatures(space: Space, pairs: Iterable[Pair], loss: LossSettings) -> None:
    """Gives each pair its temperature, or the loss's, unless it has one already."""
    for pair in pairs:
        temperature = loss.temperature if pair.temperature is None else pair.temperature
        learned = loss.learned if pair.learned is None else pair.learned
        bias = loss.bias if loss.kind is LossKind.siglip else None
        space.add_temperature(pair.of[0], pair.of[1], temperature, learned, loss.min_temperature, bias)


def new_ledger(space: Space) -> Ledger:
    """The ledger of a space before its first step: a tower is random, or began from weights, declared or unknown."""
    said = {name: config.declares() for name, config in space.configs.items() if config.weights is not None}
    began = {
        name: "random" if name not in said else "weights" if said[name] is None else "declared"
        for name in space.configs
    }
    ledger = Ledger.new(began)
    for a, b in combinations(said, 2):
        words = (said[a] or {}).get(b)
        if words is not None and words == (said[b] or {}).get(a):
            ledger.declare((a, b), words)
    return ledger
