"""The contract of a format plugin, version 1: an entry point in `bindspace.formats`. Standard library only.

A format turns the weights of somebody else's model into a space, and a space into such a file. `bindspace import` and
`bindspace export` are its verbs; they look after the places: a format never writes a space's folder itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from bindspace.space import Space


@dataclass(kw_only=True)
class FormatConfig:
    """A kind of foreign weights. Fields are settings: `bindspace import NAME weights=FILE out=FOLDER setting=value`."""

    contract: ClassVar[int] = 1
    modalities: ClassVar[Sequence[str]]  # what files of this format can hold
    suffixes: ClassVar[Sequence[str]] = ()  # how the name of a file that `save` writes may end; none: anyhow

    def load(self, path: Path, modalities: Sequence[str] | None) -> Space:
        """The space that a file (or a folder) holds, in evaluation mode, with a ledger that declares what is known.

        `modalities`: only these, and nothing else is built; None: all that the file holds. `path` exists. Nothing in
        the file is run. `Ledger.declared` makes the ledger. Raises `UserError` for a file that is damaged, or holds
        something else.
        """
        raise NotImplementedError

    def save(self, space: Space, path: Path) -> Path:
        """Writes the file that the original software loads, and returns its path.

        `space` has no modality that the format does not name. `path` does not exist yet: the verb hands a place beside
        the one that the user named, and renames it when all is written. Raises `UserError` for a space that was not
        made of this architecture.
        """
        raise NotImplementedError
