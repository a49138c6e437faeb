"""The terms of a module: built from their settings, each with its name in the logs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from torch import nn

from bindspace.contract import PluginError, TermConfig, registry
from bindspace.settings import pair_name
from bindspace.space import Space, Tower
from bindspace.training.terms.term import Term, TermContext


@dataclass
class Listed:
    """One term: its settings, the modalities that it may take, and its label: a pair's name, or like `gram/a-b-c`.

    `key`: its name among the module's submodules.
    """

    label: str
    config: TermConfig
    term: Term
    names: list[str]

    @property
    def key(self) -> str:
        """The label as a name of a submodule."""
        return self.label.replace("/", "_").replace("-", "_").replace(".", "_")


def build_terms(
    space: Space, pairs: Sequence[TermConfig], further: Sequence[TermConfig], frozen: Collection[str]
) -> list[Listed]:
    """The terms of the pairs, then further ones. Raises `PluginError` for one that breaks its contract."""
    found: list[Listed] = []
    labels = [pair_name(config.of[0], config.of[1], space.pivot) for config in pairs]
    labels += [f"{_kind(config)}/{'-'.join(config.of)}" for config in further]
    for label, config in zip(labels, [*pairs, *further]):
        names = config.takes(space.pivot)
        context = TermContext(
            dim=space.dim,
            pivot=space.pivot,
            frozen=frozenset(frozen),
            temperature=space.add_temperature,
            head=lambda name: _head(space, name),
            names=names,
        )
        term = config.build(context)
        kind = type(config).__qualname__
        if not isinstance(term, Term):
            raise PluginError(f"{kind}.build: expected a bindspace.Term, got {type(term).__name__}")
        taken = [each.label for each in found]
        number = sum(each == label or each.startswith(f"{label}#") for each in taken)
        found.append(Listed(f"{label}#{number + 1}" if number else label, config, term, names))
    return found


def _kind(config: TermConfig) -> str:
    try:
        return registry.implementation(type(config), registry.TERMS)
    except PluginError:  # a library user's own class
        return type(config).__name__


def _head(space: Space, name: str) -> nn.Module:
    tower = space.towers[name]
    assert isinstance(tower, Tower)
    return tower.head
