"""Symile for bindspace: contrast by the multilinear inner product of three modalities or more."""

from dataclasses import dataclass
from typing import ClassVar

from bindspace import TermConfig, UserError


@dataclass(kw_only=True)
class SymileConfig(TermConfig):
    """Symile (Saporta et al., NeurIPS 2024): total correlation of all modalities of an event at once."""

    term: ClassVar[str] = "bindspace_symile.term:Symile"
    arity: ClassVar[tuple[int, int | None]] = (3, None)

    temperature: float = 0.07

    def check(self, run):
        if not self.temperature > 0:
            raise UserError(f"symile: expected a temperature above 0, got {self.temperature}")

    def needed(self):
        return len(self.of)
