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
    """One term: its settings, the modalities that it may take, and its label, like `image-text` or `gram/a-b-c`.

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


def build_terms(space: Space, configs: Sequence[TermConfig], frozen: Collection[str]) -> list[Listed]:
    """The terms in order. Raises `PluginError` for one that breaks its contract."""
    found: list[Listed] = []
    for config in configs:
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
        label = _label(space, config)
        taken = [each.label for each in found]
        number = sum(each == label or each.startswith(f"{label}#") for each in taken)
        found.append(Listed(f"{label}#{number + 1}" if number else label, config, term, names))
    return found


def _label(space: Space, config: TermConfig) -> str:
    """A pair's name for a term of two modalities, else the kind of term before its modalities."""
    if len(config.of) == 2 and not config.references():
        return pair_name(config.of[0], config.of[1], space.pivot)
    try:
        kind = registry.implementation(type(config), registry.TERMS)
    except PluginError:  # a library user's own class
        kind = type(config).__name__
    return f"{kind}/{'-'.join(config.of)}"


def _head(space: Space, name: str) -> nn.Module:
    tower = space.towers[name]
    assert isinstance(tower, Tower)
    return tower.head
