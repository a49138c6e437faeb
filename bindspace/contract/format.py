"""The contract of a format plugin, version 1: an entry point in `bindspace.formats`. Standard library only.

A format converts the weights of a third-party model into a space, and a space into such a file. The verbs `bindspace
import` and `bindspace export` manage the paths: a format never writes the folder of a space itself.
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
    """A third-party format. Fields are settings: `bindspace import NAME weights=FILE out=FOLDER setting=value`."""

    contract: ClassVar[int] = 1
    modalities: ClassVar[Sequence[str]]  # what files of this format can hold
    suffixes: ClassVar[Sequence[str]] = ()  # allowed suffixes of a file that `save` writes; none: any

    def load(self, path: Path, modalities: Sequence[str] | None) -> Space:
        """The space of a file (or a folder), in evaluation mode, with a ledger of declarations.

        `modalities`: only these are built; None: all in the file. `path` exists. No code of the file is executed.
        `Ledger.declared` makes the ledger. Raises `UserError` for a file that is damaged or of another format.
        """
        raise NotImplementedError

    def save(self, space: Space, path: Path) -> Path:
        """Writes the file that the original software loads, and returns its path.

        `space` has only modalities of the format. `path` does not exist yet: the verb passes a temporary path beside
        the user's, and renames it when all is written. Raises `UserError` for a space of another architecture.
        """
        raise NotImplementedError
