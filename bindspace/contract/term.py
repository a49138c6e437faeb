"""The contract of a term of the loss, version 1: an entry point in `bindspace.terms`. Standard library only.

A term is two classes: its settings, a dataclass that is found by name and composed by Hydra, and the `nn.Module`
(`bindspace.Term`) that these settings build, which is imported when it is built.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import nn


@dataclass(kw_only=True)
class TermConfig:
    """Settings of one kind of term. Fields are settings: `terms=[{use: NAME, of: [A,B], setting: value}]`."""

    contract: ClassVar[int] = 1
    term: ClassVar[str]  # the class that these settings build, as `module:Class`; called with them and the context
    arity: ClassVar[tuple[int, int | None]] = (2, 2)  # how many modalities it takes; None: any number

    of: list[str] = field(default_factory=list)  # which modalities; [] as the loss: each pair of the run
    weight: float = 1.0  # factor on the term; 0: it is not called
    stages: list[str] | None = None  # names of the stages that have it; None: all that read its modalities

    def check(self, run: Any) -> None:
        """Raises `UserError` for settings that do not fit the run (a `TrainRun`), before anything slow happens."""

    def takes(self, pivot: str) -> list[str]:
        """The modalities of which the term may take aligned rows; `of` by default."""
        return list(self.of)

    def needed(self) -> int:
        """How many of them an event has to hold to be read for the term; two by default."""
        return min(2, len(self.of))

    def references(self) -> dict[str, int]:
        """Modalities of which the term asks for reference vectors, and how many (0: all); none by default."""
        return {}

    def build(self, context: Any) -> nn.Module:
        """The term (a `bindspace.Term`), at the start of a stage. `context`: a `TermContext` of bindspace.training."""
        module, _, name = self.term.partition(":")
        built: nn.Module = getattr(import_module(module), name)(self, context)
        return built
