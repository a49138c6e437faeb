"""The contract of a data set plugin, version 1: an entry point in `bindspace.datasets`. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bindspace.settings import Choice, Source


@dataclass(kw_only=True)
class DatasetConfig:
    """A data set that can write itself as manifests and ordinary files, which are then read like anybody's data."""

    contract: ClassVar[int] = 1

    root: str = "outputs/data"  # where `sources` keeps what it writes

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """The manifest rows of a split (`train`, `val`, `test`), as they would be written."""
        raise NotImplementedError

    def write(self, out: Path) -> Path:
        """Writes one manifest with its files into `out`, and returns the manifest's path."""
        raise NotImplementedError

    def sources(self, pairs: Sequence[tuple[str, str]], modalities: Sequence[str]) -> dict[str, list[Source]]:
        """What a training run over these pairs reads: `train`, `val` and `test` sources, written under `root` once."""
        raise NotImplementedError

    def choices(self) -> list[Choice]:
        """Probes of right answers against tempting ones, written under `root` once; none by default."""
        return []

    def known(self) -> dict[str, list[str]] | None:
        """Which attribute columns each modality can reveal, for the ceiling beside a result; None: not said."""
        return None

    def templates(self) -> dict[str, list[str]]:
        """Prompt templates by attribute column for zero-shot classification, where the defaults do not fit."""
        return {}

    def classes(self) -> dict[str, list[str]]:
        """All classes of an attribute column to choose from, those too that no row has; not said: those of rows."""
        return {}

    def names(self) -> dict[str, dict[str, list[str]]]:
        """By attribute column, the words for a class that has several: its score is that of the best of them."""
        return {}
